"""`plastsearch trial`: one configuration in this process, without Ray, MLflow or a search."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from plastsearch.cli import completing, options
from plastsearch.cli.output import console, print_json, print_table
from plastsearch.documents import Table
from plastsearch.spec.limits import MOST_AT_ONCE, MOST_REPEATS

SHOWN = (
    "dev_eer", "dev_eer_low", "dev_eer_high", "dev_eer_baseline", "dev_eer_grown", "dev_eer_pruned", "turnover",
    "spikes_per_inference", "spike_rate",
    "eval_eer", "eval_eer_low", "eval_eer_high", "eval_min_tdcf", "backward_ratio", "backward_ms", "forward_ms",
    "optimizer_ms", "params_total", "params_final", "params_trainable", "params_added", "peak_memory_mb",
    "seconds", "reused_seconds", "bad_clips", "eval_bad_clips",
)  # fmt: skip


def trial(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="A configuration, or a search space (its `base` is run); none: the defaults.",
            autocompletion=completing.spaces,
        ),
    ] = None,
    sets: options.Sets = None,
    out: options.Out = Path("plastsearch-runs"),
    device: options.Device = "auto",
    threads: Annotated[int, typer.Option(min=1, max=MOST_AT_ONCE, help="Threads of one operation on a CPU.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(min=0, max=MOST_REPEATS, help="Threads that prepare batches; else by device and --threads."),
    ] = None,
    deterministic: options.Deterministic = False,
    share: Annotated[bool, typer.Option("--share/--no-share", help="Reuse stages that other trials finished.")] = True,
    activations: Annotated[
        bool,
        typer.Option("--activations/--no-activations", " /--no-cache", help="Keep activations below the frozen part."),
    ] = True,
    store: options.Store = None,
    cache: options.Cache = None,
    clips: options.Clips = None,
    cache_max_gb: options.CacheMaxGb = None,
    store_max_gb: options.StoreMaxGb = None,
    checkpoint_s: options.CheckpointS = None,
    evaluation: Annotated[
        bool, typer.Option("--final", help="A finalist: score the evaluation split once, at the end.")
    ] = False,
    as_json: options.JsonAtEnd = False,
) -> None:
    """Run one trial: its stages, its error rate, its costs. Interrupted, it goes on where it stood.

    Example: plastsearch trial search_spaces/smoke.yaml --set method=dropin --set neurons=8
    """
    from plastsearch.errors import TrialError
    from plastsearch.spec.load import read_trial
    from plastsearch.spec.running import RunSettings

    config = read_trial(source, sets or [])
    from plastsearch.trial.finalist import run_finalist  # torch takes seconds: a mistake is told before
    from plastsearch.trial.run import run_trial

    settings = RunSettings(
        device=device, threads=threads, loader_workers=workers, store=store or out / "store",
        cache=cache or out / "cache", clips=clips, share_stages=share, cache_prefix=activations, data_progress=True,
        cache_max_gb=cache_max_gb, store_max_gb=store_max_gb, deterministic=deterministic,
        **({} if checkpoint_s is None else {"checkpoint_s": checkpoint_s}),
    )  # fmt: skip
    err = console(stderr=True)
    # Progress goes to standard error, so that `--json` leaves one document on standard output.
    for report in run_finalist(config, settings) if evaluation else run_trial(config, settings):
        if report.final:
            break
        found = "  ".join(f"{name} {value:.3f}" for name, value in report.metrics.items())
        err.print(f"{report.stage:12} {report.step:5}/{report.steps_total}  {found}", markup=False)
    else:
        raise TrialError("the trial ended without a result")
    metrics, details = report.metrics, report.details
    if as_json:
        plain = config.model_dump(mode="json", by_alias=True)
        print_json({"id": config.trial_id(), "config": plain, "metrics": metrics, "details": details})
        return
    stages = [f"{one['stage']:12} {one['from']:9} {one['seconds']:8.1f} s  {one['key']}" for one in details["stages"]]
    _print(f"trial {config.trial_id()}: {config.model.name} {config.model.preset}, {config.method}", metrics, stages)
    if "eval_openings_said" in details:
        console().print(details["eval_openings_said"], markup=False, soft_wrap=True)
    _warn(metrics, details["warnings"])


def _print(title: str, metrics: Mapping[str, float], stages: Iterable[str]) -> None:
    out = console()
    out.print(title, markup=False)
    rows = tuple((name, _number(metrics[name])) for name in SHOWN if name in metrics)
    print_table(out, Table(("metric", "value"), rows, frozenset({"metric"})))
    for text in stages:
        out.print(text, markup=False)


def _warn(metrics: Mapping[str, float], warnings: Iterable[str]) -> None:
    err = console(stderr=True)
    for split, name in (("train and search-dev", "bad_clips"), ("evaluation", "eval_bad_clips")):
        if metrics.get(name):
            text = f"{metrics[name]:,.0f} {split} clips could not be used and were left out"
            listed = "`plastsearch data prepare … --on-bad skip` lists them"
            err.print(f"warning: {text}; {listed}", markup=False)
    for warning in warnings:
        err.print(f"warning: {warning}", markup=False)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}"
