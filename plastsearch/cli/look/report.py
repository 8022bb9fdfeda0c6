"""`plastsearch report`: the front, what it is worth, and the files that show it."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plastsearch.cli import completing, options
from plastsearch.cli.output import console, print_blocks, print_error, print_json
from plastsearch.documents import Block, Heading
from plastsearch.errors import PlastsearchError
from plastsearch.files import typed_path
from plastsearch.words import shown

if TYPE_CHECKING:
    from plastsearch.analysis.results import Results
    from plastsearch.joining.joined import Joined
    from plastsearch.report.paper_section import Gathered


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="SWEEP...",
            help="A sweep's folder, also one that still runs; several are joined.",
            autocompletion=completing.sweeps,
        ),
    ],
    as_json: options.AsJson = False,
    under: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=NUMBER",
            autocompletion=completing.budgets,
            help="Name the best trial within this budget, e.g. params_total=1e6; may be given several times.",
        ),
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Also bring this MLflow store or server up to the sweep's records; env:NAME if it has a password.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the files there, and nothing into the sweep's folder.")
    ] = None,
    skip_bad_lines: Annotated[
        bool, typer.Option("--skip-bad-lines", help="Show what the sound lines of a damaged journal say.")
    ] = False,
) -> None:
    """Print a sweep's Pareto front and write its report: Markdown, HTML, LaTeX, figures, CSV and Parquet of all runs.

    Example: plastsearch report plastsearch-runs/w2v_layers --under params_total=1e6

    Several sweeps (seeds, machines, corpora) stand side by side, with means over them; --out keeps that as files.
    """
    out = None if out is None else typed_path(str(out))  # one place for `~` in it, whoever writes there
    if len(folders) > 1:
        if under or mlflow is not None or skip_bad_lines:
            raise PlastsearchError("--under, --mlflow and --skip-bad-lines are of one sweep; name a single folder")
        _join(folders, out, as_json=as_json)
        return
    folder = folders[0]
    from plastsearch.analysis.figure import axis_pairs, bands
    from plastsearch.analysis.importance import refresh
    from plastsearch.analysis.results import load_results, results_of
    from plastsearch.joining.blocks import joined_blocks
    from plastsearch.report.front_section import parse_budget
    from plastsearch.report.paper_section import gather
    from plastsearch.report.publish import render, report_json

    budgets = [parse_budget(text) for text in under or ()]
    if skip_bad_lines:
        from plastsearch.cli.data.journal import print_left_out
        from plastsearch.tracking.repair import read_around

        events, left_out = read_around(folder)
        print_left_out(folder, left_out, console(stderr=True))
        results = results_of(folder, events)
    else:
        results = load_results(folder)
    # Weighing parameters is another process's work: what else takes long goes on beside it.
    with ThreadPoolExecutor(1) as beside:
        weighed = beside.submit(refresh, results) if out is None else None
        gathered = gather(results)
        for pair in axis_pairs(results):
            bands(results, pair)
    if weighed is not None and (trouble := weighed.result()):
        print_error(trouble)
    parts = _parts(results)
    files = _write(results, out, gathered, parts)
    more = joined_blocks(parts, level=2, narrow=True) if parts is not None else []
    if mlflow is not None:
        from plastsearch.tracking.mlflow_sync import sync

        sync(folder, mlflow, render)
    if as_json:
        print_json(report_json(results, budgets, gathered) | {"files": files})
        return
    _show(results, budgets, gathered, more)
    if files:
        places = {"Report": "report.md", "Figure": "pareto.html", "Choose": "choose.html"}
        lines = [f"{name}: {shown(files[file])}" for name, file in places.items()]
        console().print("\n" + "\n".join(lines), markup=False)
    console().print(f"MLflow: plastsearch ui {shown(folder)}", markup=False)


def _show(
    results: "Results", budgets: "Sequence[tuple[str, float]]", gathered: "Gathered", more: Sequence[Block]
) -> None:
    """Those sections that a terminal has room for."""
    from plastsearch.analysis.importance import HEADING as IMPORTANCE
    from plastsearch.report.sections import opening
    from plastsearch.report.sections import report as report_blocks
    from plastsearch.report.trust import HEADING
    from plastsearch.report.why import HEADING as WHY

    wanted = {
        "Pareto front", HEADING, "Did growth pay?", "Finalists", WHY, IMPORTANCE, "Work not done twice",
        "Failures", "Warnings", "Set apart",
    }  # fmt: skip
    said = console()
    print_blocks(said, opening(results))
    print_blocks(said, _sections(report_blocks(results, budgets, gathered), wanted))
    print_blocks(said, more)


def _parts(results: "Results") -> "Joined | None":
    """Of a merged sweep: the sweeps that it was merged from, side by side."""
    from plastsearch.joining.joined import joined
    from plastsearch.joining.sweeps import Sweep

    sweep = Sweep(results.folder, results.name, results.events)
    if not sweep.head.merged:
        return None
    try:
        return joined([sweep])
    except PlastsearchError as error:  # the sweep itself is shown all the same
        print_error(f"its parts cannot be set side by side: {error}")
        return None


def _join(folders: list[Path], out: Path | None, *, as_json: bool) -> None:
    """Several sweeps side by side; nothing is written into any of them."""
    from plastsearch.files import told
    from plastsearch.joining.blocks import joined_blocks
    from plastsearch.joining.files import publish_joined
    from plastsearch.joining.joined import join

    found = join(folders)
    files: dict[str, str] = {}
    if out is not None:
        with told(out):
            files = {name: str(path) for name, path in publish_joined(found, out).items()}
    if as_json:
        print_json(found.plain() | {"files": files})
        return
    said = console()
    print_blocks(said, joined_blocks(found, narrow=True))
    said.print(f"\nReport: {shown(files['joined.html'])}" if files else "\nFiles: with --out FOLDER.", markup=False)


def _write(results: "Results", out: Path | None, gathered: "Gathered", parts: "Joined | None") -> dict[str, str]:
    """The report's files; of a sweep that belongs to others, or on a full disk, what it says is shown all the same."""
    from plastsearch.joining.blocks import joined_blocks
    from plastsearch.joining.files import publish_joined
    from plastsearch.report.publish import publish
    from plastsearch.report.sections import folder_of

    try:
        found: dict[str, Path] = {}
        more: list[Block] = []
        if parts is not None:
            found, more = publish_joined(parts, out or folder_of(results)), joined_blocks(parts, level=2)
        found |= publish(results, out, gathered, more)
        return {name: str(path) for name, path in found.items()}
    except OSError as error:
        where = error.filename or out or results.folder
        why = f"{where}: cannot be written ({error.strerror or error})"
        if out is not None:
            raise PlastsearchError(f"{why}; name another folder with --out") from None
        sys.stderr.write(f"Note: {shown(why)}; no file of the report was written. With --out FOLDER it goes there.\n")
        return {}


def _sections(blocks: Sequence[Block], wanted: set[str]) -> list[Block]:
    """The blocks under headings of these names."""
    found: list[Block] = []
    inside = False
    for block in blocks:
        if isinstance(block, Heading) and block.level < 3:
            inside = block.text in wanted
        if inside:
            found.append(block)
    return found
