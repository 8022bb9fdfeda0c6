"""`plastsearch sweep`: the whole search, from a space's file to the front; also how it shows itself."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from plastsearch.addresses import address_of
from plastsearch.cli import sweep_options as given

if TYPE_CHECKING:
    from plastsearch.spec.sweep import SweepSpec
    from plastsearch.sweep.options import Outcome
    from plastsearch.sweep.state import Closing
    from plastsearch.sweep.view import View

TRACKER_S = 120.0  # for the mirror to catch up at the end


def sweep(
    space: given.Space,
    sets: given.Sets = None,
    trials: given.Trials = None,
    name: given.Name = None,
    out: given.Out = Path("plastsearch-runs"),
    resume: given.Resume = False,
    dry_run: given.DryRun = False,
    final: given.Final = True,
    parallel: given.Parallel = None,
    executor: given.Executor = "tune",
    address: given.Address = None,
    store: given.Store = None,
    cache: given.Cache = None,
    cache_max_gb: given.CacheMaxGb = None,
    store_max_gb: given.StoreMaxGb = None,
    checkpoint_s: given.CheckpointS = None,
    mlflow: given.Mlflow = None,
    deterministic: given.Deterministic = False,
    quiet: given.Quiet = False,
    as_json: given.AsJson = False,
    json_lines: given.JsonLines = False,
) -> None:
    """Search: run trials of a space until its budget is spent, and show which are not dominated.

    An interrupted sweep goes on with --resume and loses nothing. Exit status: 0 done, 2 bad input, 3 the cluster cannot
    fit a trial, 4 too many failures, 130 interrupted.
    """
    if mlflow:
        address_of(mlflow)  # a variable that is not set shows before anything runs
    overrides = [*(sets or []), *_short(trials, parallel)]
    spec, notes = _load(space, overrides, executor, final)
    if dry_run:
        from plastsearch.cli.check import print_dry_run

        asked = spec.finalists if final else spec.finalists.model_copy(update={"top": 0})
        print_dry_run(spec.model_copy(update={"finalists": asked}), as_json, cache or out / "cache", cache_max_gb)
        return
    from plastsearch.cli.sweep_ending import report
    from plastsearch.sweep.options import Options
    from plastsearch.sweep.session import run_sweep

    options = Options(
        root=out, name=name, resume=resume, executor=executor, address=address, store=store, cache=cache,
        finalists=final, space_file=space, overrides=overrides, mlflow=mlflow, cache_max_gb=cache_max_gb,
        store_max_gb=store_max_gb, checkpoint_s=checkpoint_s, deterministic=deterministic,
    )  # fmt: skip
    if not (quiet or as_json or json_lines):
        _opening(spec)
    if not quiet:
        for text in notes:
            sys.stderr.write(f"Note: {text}.\n")

    def tell(outcome: "Outcome") -> None:
        report(outcome, mlflow, as_json=as_json, json_lines=json_lines, quiet=quiet)
        sys.stdout.flush()
        sys.stderr.flush()

    try:
        outcome = run_sweep(spec, options, _listeners(mlflow, quiet or as_json, json_lines), tell)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped before any trial had begun; the same command starts again\n")
        raise typer.Exit(130) from None
    tell(outcome)
    if outcome.stuck:  # a dead Ray would hold back the interpreter's end, and then end the process with its own status
        os._exit(outcome.exit_code)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _short(trials: int | None, parallel: int | None) -> list[str]:
    given = {"search.trials": trials, "search.parallel": parallel}
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def _load(space: Path, overrides: Sequence[str], executor: str, final: bool) -> "tuple[SweepSpec, list[str]]":
    """The spec, with everything it names found to exist, and what is worth knowing about it."""
    from plastsearch.errors import PlastsearchError
    from plastsearch.spec.load import load_sweep
    from plastsearch.sweep.preflight import preflight

    if executor not in {"tune", "inline"}:
        raise PlastsearchError(f"--executor {executor}: unknown; known: tune, inline")
    spec = load_sweep(space, overrides)
    found = preflight(spec, evaluation=final)
    return spec, found.notes


def _opening(spec: "SweepSpec") -> None:
    from plastsearch.cli.output import console

    names = ", ".join(one.metric for one in spec.objectives)
    out = console(stderr=True)
    if spec.question:
        out.print(spec.question, markup=False)
    out.print(f"{spec.name}: {spec.search.trials} trials, objectives {names}; starting", markup=False)


def _listeners(mlflow: str | None, quiet: bool, json_lines: bool) -> "Callable[[Path, View], Sequence[Closing]]":
    def listen(folder: Path, view: "View") -> "Sequence[Closing]":
        display = _display(view, quiet, json_lines)
        return [display] if mlflow == "none" else [display, _Mirror(folder, mlflow, display)]

    return listen


def _display(view: "View", quiet: bool, json_lines: bool) -> "Closing":
    from plastsearch.cli.output import console
    from plastsearch.sweep import display

    if json_lines:
        return display.JsonLines()
    if quiet:
        return display.Silent()
    if sys.stderr.isatty():
        from plastsearch.sweep.live import Live

        return Live(view, console(stderr=True))
    return display.Lines(view)


class _Mirror:
    """MLflow, given time at the end."""

    def __init__(self, folder: Path, uri: str | None, display: "Closing") -> None:
        from plastsearch.analysis.apart import render
        from plastsearch.tracking.events import note
        from plastsearch.tracking.mlflow_tracker import MlflowTracker

        self._tracker = MlflowTracker(folder, uri, render=render, on_trouble=lambda text: display.feed(note(text)))
        self.feed = self._tracker.feed

    def close(self) -> str | None:
        return self._tracker.close(TRACKER_S)
