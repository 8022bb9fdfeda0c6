"""How `plastsearch sweep` ends: tables or one document, where everything lies, what to type next."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastsearch.addresses import typed

if TYPE_CHECKING:
    from plastsearch.sweep.options import Outcome


def report(outcome: "Outcome", mlflow: str | None, *, as_json: bool, json_lines: bool, quiet: bool) -> None:
    """Write the report's files and show what was found."""
    from plastsearch.analysis.publish import publish, report_json
    from plastsearch.analysis.results import load_results
    from plastsearch.cli.output import print_error, print_json

    results = load_results(outcome.folder)
    files = {name: str(path) for name, path in publish(results).items()}
    show = _ui_command(outcome.folder, mlflow)
    if as_json:
        ending = {"status": outcome.status, "reason": outcome.reason, "folder": str(outcome.folder), "ui": show}
        print_json(report_json(results) | ending | {"files": files, "resume": _resume(outcome)})
    elif not json_lines:
        _print_tables(results, quiet)
        _print_openings(outcome.folder)
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
    if mlflow == "none":
        return None
    return shlex.join(["plastsearch", "ui", str(folder), *(["--mlflow", typed(mlflow)] if mlflow else [])])


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


def _print_openings(folder: Path) -> None:
    """How often the evaluation split has been looked at, as the last finalist counted."""
    from plastsearch.cli.output import console
    from plastsearch.tracking.journal import read, trials

    said = [
        (record.details["eval_openings"], record.details["eval_openings_said"])
        for record in trials(read(folder)).values()
        if "eval_openings" in record.details
    ]
    if said:
        text = max(said)[1]
        console().print(text[0].upper() + text[1:], markup=False, soft_wrap=True)


def _print_places(outcome: "Outcome", files: dict[str, str], show: str | None) -> None:
    from plastsearch.cli.output import console

    out = console()
    if outcome.status == "budget":
        out.print(f"Ended early: {outcome.reason}", markup=False)
    rows = {"Results": str(outcome.folder), "Report": files["report.md"], "Figure": files["pareto.html"]}
    for name, text in {**rows, **({"MLflow": show} if show else {})}.items():
        out.print(f"{name + ':':9}{text}", markup=False, soft_wrap=True)
