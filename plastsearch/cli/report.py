"""`plastsearch report`: the front, what it is worth, and the files that show it."""

from collections.abc import Sequence
from typing import Annotated

import typer

from plastsearch.cli import options
from plastsearch.cli.output import console, print_blocks, print_error, print_json
from plastsearch.documents import Block, Heading


def report(
    folder: options.SweepFolder,
    as_json: options.AsJson = False,
    under: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=NUMBER",
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
) -> None:
    """Print a sweep's Pareto front and write its report: Markdown, HTML, interactive figure, table of all trials."""
    from plastsearch.analysis.importance import HEADING as IMPORTANCE
    from plastsearch.analysis.importance import refresh
    from plastsearch.analysis.results import load_results
    from plastsearch.report.front_section import parse_budget
    from plastsearch.report.publish import publish, render, report_json
    from plastsearch.report.sections import opening
    from plastsearch.report.sections import report as report_blocks
    from plastsearch.report.trust import HEADING
    from plastsearch.report.why import HEADING as WHY

    budgets = [parse_budget(text) for text in under or ()]
    results = load_results(folder)
    if trouble := refresh(results):
        print_error(trouble)
    files = {name: str(path) for name, path in publish(results).items()}
    if mlflow is not None:
        from plastsearch.tracking.mlflow_tracker import sync

        sync(folder, mlflow, render)
    if as_json:
        print_json(report_json(results, budgets) | {"files": files})
        return
    out = console()
    wanted = {
        "Pareto front", HEADING, "Did growth pay?", "Finalists", WHY, IMPORTANCE, "Work not done twice", "Failures",
        "Warnings",
    }  # fmt: skip
    print_blocks(out, opening(results))
    print_blocks(out, _sections(report_blocks(results, budgets), wanted))
    out.print(f"\nReport: {files['report.md']}\nFigure: {files['pareto.html']}", markup=False)
    out.print(f"MLflow: plastsearch ui {folder}", markup=False)


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
