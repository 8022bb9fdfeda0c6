"""`plastsearch trial`: one configuration in this process, without Ray, MLflow or a search."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from plastsearch.spec.config import Report, TrialConfig

SHOWN = (
    "dev_eer", "dev_eer_low", "dev_eer_high", "dev_eer_baseline", "dev_eer_grown", "dev_eer_pruned", "turnover",
    "eval_eer", "eval_eer_low", "eval_eer_high", "eval_min_tdcf", "backward_ratio", "backward_ms", "forward_ms",
    "optimizer_ms", "params_total", "params_final", "params_trainable", "params_added", "peak_memory_mb",
    "seconds", "reused_seconds", "bad_clips", "eval_bad_clips",
)  # fmt: skip


def trial(
    source: Annotated[
        Path | None, typer.Argument(help="A configuration, or a search space (its `base` is run); none: the defaults.")
    ] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="path=value, e.g. --set train.steps=100.")] = None,
    out: Annotated[Path, typer.Option(help="Where finished stages and decoded clips are kept.")] = Path(
        "plastsearch-runs"
    ),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of one operation on a CPU.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Threads that prepare batches; else by device and --threads.")
    ] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Equal runs on one GPU agree to the last bit; slower.")
    ] = False,
    share: Annotated[bool, typer.Option("--share/--no-share", help="Reuse stages that other trials finished.")] = True,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep activations below the frozen part.")] = True,
    cache_max_gb: Annotated[
        float | None, typer.Option(min=0.001, metavar="GB", help="Kept activations; else half of what is free.")
    ] = None,
    store_max_gb: Annotated[
        float | None, typer.Option(min=0.001, metavar="GB", help="Finished stages: beyond it the least useful go.")
    ] = None,
    checkpoint_s: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Least time between checkpoints inside a stage.")
    ] = 60.0,
    evaluation: Annotated[
        bool, typer.Option("--final", help="A finalist: score the evaluation split once, at the end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document at the end instead of a table.")] = False,
) -> None:
    """Run one trial: its stages, its error rate, its costs. Interrupted, it goes on where it stood."""
    from plastsearch.cli.output import print_json

    config = read_config(source, sets or [])
    from plastsearch.spec.config import RunSettings

    settings = RunSettings(
        device=device, threads=threads, loader_workers=workers, store=out / "store", cache=out / "cache",
        share_stages=share, cache_prefix=cache, data_progress=True, cache_max_gb=cache_max_gb,
        store_max_gb=store_max_gb, checkpoint_s=checkpoint_s, deterministic=deterministic,
    )  # fmt: skip
    final = _run(config, settings, evaluation)
    if as_json:
        plain = config.model_dump(mode="json", by_alias=True)
        print_json({"id": config.trial_id(), "config": plain, "metrics": final.metrics, "details": final.details})
    else:
        _print(config, final)


def read_config(source: Path | None, sets: list[str]) -> "TrialConfig":
    """A configuration from a file, or from the defaults; in a space, a path may be given with or without `base.`"""
    from plastsearch.spec.config import TrialConfig
    from plastsearch.spec.document import Document, override, read_document
    from plastsearch.spec.load import load_trial, parse_trial

    if source is None:
        document = Document("command line", {})
        for text in sets:
            override(document, text, [])
        return parse_trial(document.data, "command line")
    data = read_document(source).data
    if "base" in data or "space" in data:
        fields = TrialConfig.model_fields
        sets = [f"base.{text}" if text.partition("=")[0].split(".")[0] in fields else text for text in sets]
    return load_trial(source, sets)


def _run(config: "TrialConfig", settings: Any, evaluation: bool) -> "Report":
    """Say on standard error how it goes; the last report is the result."""
    from plastsearch.cli.output import console
    from plastsearch.errors import TrialError

    if evaluation:
        from plastsearch.trial.finalist import run_finalist

        reports = run_finalist(config, settings)
    else:
        from plastsearch.trial.run import run_trial

        reports = run_trial(config, settings)
    err = console(stderr=True)
    for report in reports:
        if report.final:
            return report
        found = "  ".join(f"{name} {value:.3f}" for name, value in report.metrics.items())
        err.print(f"{report.stage:12} {report.step:5}/{report.steps_total}  {found}", markup=False)
    raise TrialError("the trial ended without a result")


def _print(config: "TrialConfig", final: "Report") -> None:
    from plastsearch.analysis.document import Table
    from plastsearch.cli.output import console
    from plastsearch.cli.tables import print_table

    out = console()
    out.print(f"trial {config.trial_id()}: {config.model.name} {config.model.preset}, {config.method}", markup=False)
    rows = tuple((name, _number(final.metrics[name])) for name in SHOWN if name in final.metrics)
    print_table(out, Table(("metric", "value"), rows, frozenset({"metric"})))
    for stage in final.details["stages"]:
        out.print(f"{stage['stage']:12} {stage['from']:9} {stage['seconds']:8.1f} s  {stage['key']}", markup=False)
    if "eval_openings_said" in final.details:
        out.print(final.details["eval_openings_said"], markup=False, soft_wrap=True)
    for split, name in (("train and search-dev", "bad_clips"), ("evaluation", "eval_bad_clips")):
        if final.metrics.get(name):
            text = f"{final.metrics[name]:,.0f} {split} clips could not be used and were left out"
            listed = "`plastsearch data prepare … --on-bad skip` lists them"
            console(stderr=True).print(f"warning: {text}; {listed}", markup=False)
    for warning in final.details["warnings"]:
        console(stderr=True).print(f"warning: {warning}", markup=False)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}"
