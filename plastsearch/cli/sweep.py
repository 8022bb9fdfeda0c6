"""`plastsearch sweep`: the whole search, from a space's file to the front; also how it shows itself."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from plastsearch.search.display import View
    from plastsearch.search.session import Closing, Options, Outcome
    from plastsearch.spec.sweep import SweepSpec

TRACKER_S = 120.0  # for the mirror to catch up at the end
DRIVER_OPTIONS = "Where and how it runs"
OUTPUT = "Output"


def sweep(
    space: Annotated[Path, typer.Argument(help="A search space, e.g. search_spaces/w2v_layers.yaml.")],
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change the space, e.g. --set base.train.steps=100."),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="How many, short for --set search.trials=N.")] = None,
    name: Annotated[str | None, typer.Option(help="The sweep's folder below --out; else the space's name.")] = None,
    out: Annotated[Path, typer.Option(help="Root of all sweeps, of their shared stages and of decoded clips.")] = Path(
        "plastsearch-runs"
    ),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the sweep in that folder, if there is one.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, sample and predict; run nothing.")] = False,
    final: Annotated[
        bool, typer.Option("--finalists/--no-finalists", help="Run the front again with fresh seeds at the end.")
    ] = True,
    parallel: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time; else as many as fit.", rich_help_panel=DRIVER_OPTIONS)
    ] = None,
    executor: Annotated[
        str, typer.Option(help="tune (Ray) or inline (this process).", rich_help_panel=DRIVER_OPTIONS)
    ] = "tune",
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; else a local one.", rich_help_panel=DRIVER_OPTIONS)
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Finished stages; else OUT/store.", envvar="PLASTSEARCH_STORE", rich_help_panel=DRIVER_OPTIONS
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Decoded clips; else OUT/cache.", envvar="PLASTSEARCH_CACHE", rich_help_panel=DRIVER_OPTIONS),
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="MLflow store or server; else one in the sweep's folder. 'none' for none.",
            envvar="MLFLOW_TRACKING_URI",
            rich_help_panel=DRIVER_OPTIONS,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Nothing but the result.", rich_help_panel=OUTPUT)] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document at the end.", rich_help_panel=OUTPUT)
    ] = False,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Every event as a line of JSON, as it happens.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Search: run trials of a space until its budget is spent, and show which are not dominated.

    An interrupted sweep goes on with --resume and loses nothing. Exit status: 0 done, 2 bad input, 3 the cluster cannot
    fit a trial, 4 too many failures, 130 interrupted.
    """
    overrides = [*(sets or []), *_short(trials, parallel)]
    spec, notes = _load(space, overrides, executor, final)
    if dry_run:
        from plastsearch.cli.check import print_dry_run

        print_dry_run(spec, as_json)
        return
    from plastsearch.search.session import Options, run_sweep

    options = Options(
        root=out, name=name, resume=resume, executor=executor, address=address, store=store, cache=cache,
        finalists=final, space_file=space, overrides=overrides, mlflow=mlflow,
    )  # fmt: skip
    if not (quiet or as_json or json_lines):
        _opening(spec)
    if not quiet:
        for text in notes:
            sys.stderr.write(f"Note: {text}.\n")
    try:
        outcome = run_sweep(spec, options, _listeners(mlflow, quiet or as_json, json_lines))
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped before any trial had begun; the same command starts again\n")
        raise typer.Exit(130) from None
    _report(outcome, options, mlflow, as_json=as_json, json_lines=json_lines, quiet=quiet)
    if outcome.stuck:
        _leave_at_once(outcome.exit_code)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _leave_at_once(code: int) -> None:
    """A dead Ray would hold back the interpreter's end, and then end the process with a status of its own."""
    import os

    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _short(trials: int | None, parallel: int | None) -> list[str]:
    given = {"search.trials": trials, "search.parallel": parallel}
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def _load(space: Path, overrides: Sequence[str], executor: str, final: bool) -> "tuple[SweepSpec, list[str]]":
    """The spec, with everything it names found to exist, and what is worth knowing about it."""
    from plastsearch.errors import PlastsearchError
    from plastsearch.search.preflight import preflight
    from plastsearch.spec.load import load_sweep

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
    from plastsearch.search import display

    if json_lines:
        return display.JsonLines()
    if quiet:
        return display.Silent()
    if sys.stderr.isatty():
        return display.Live(view, console(stderr=True))
    return display.Lines(view)


class _Mirror:
    """MLflow, given time at the end."""

    def __init__(self, folder: Path, uri: str | None, display: "Closing") -> None:
        from plastsearch.analysis.publish import render
        from plastsearch.search.display import note
        from plastsearch.tracking.mlflow_tracker import MlflowTracker

        self._tracker = MlflowTracker(folder, uri, render=render, on_trouble=lambda text: display.feed(note(text)))
        self.feed = self._tracker.feed

    def close(self) -> str | None:
        return self._tracker.close(TRACKER_S)


def _report(
    outcome: "Outcome", options: "Options", mlflow: str | None, *, as_json: bool, json_lines: bool, quiet: bool
) -> None:
    from plastsearch.analysis.publish import publish
    from plastsearch.analysis.report import document
    from plastsearch.analysis.results import load_results
    from plastsearch.cli.output import print_error, print_json

    results = load_results(outcome.folder)
    files = {name: str(path) for name, path in publish(results).items()}
    show = _ui_command(outcome.folder, mlflow)
    if as_json:
        ending = {"status": outcome.status, "reason": outcome.reason, "folder": str(outcome.folder), "ui": show}
        print_json(document(results) | ending | {"files": files, "resume": _resume(outcome)})
    elif not json_lines:
        _print_tables(results, quiet)
        _print_places(outcome, files, show)
    for note in outcome.notes:
        print_error(note)
    if outcome.status == "failures":
        print_error(f"{outcome.reason}\nmend that and run the same command again: finished stages are kept")
    if outcome.status == "interrupted" and not as_json:
        sys.stderr.write(f"go on with: {outcome.command}\n")


def _resume(outcome: "Outcome") -> str | None:
    return outcome.command if outcome.status == "interrupted" else None


def _ui_command(folder: Path, mlflow: str | None) -> str | None:
    import shlex

    if mlflow == "none":
        return None
    return shlex.join(["plastsearch", "ui", str(folder), *(["--mlflow", mlflow] if mlflow else [])])


def _print_tables(results: Any, quiet: bool) -> None:
    from plastsearch.analysis.report import front_table, opening
    from plastsearch.analysis.verdict import verdict
    from plastsearch.cli.output import console
    from plastsearch.cli.tables import print_blocks

    out = console()
    print_blocks(out, [front_table(results)] if quiet else [*opening(results), front_table(results)])
    if not quiet:
        for line in verdict(results):
            out.print(line, markup=False)


def _print_places(outcome: "Outcome", files: dict[str, str], show: str | None) -> None:
    from plastsearch.cli.output import console

    out = console()
    if outcome.status == "budget":
        out.print(f"Ended early: {outcome.reason}", markup=False)
    rows = {"Results": str(outcome.folder), "Report": files["report.md"], "Figure": files["pareto.html"]}
    for name, text in {**rows, **({"MLflow": show} if show else {})}.items():
        out.print(f"{name + ':':9}{text}", markup=False, soft_wrap=True)
