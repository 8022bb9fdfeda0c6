"""What a terminal is told when a sweep ends: front, verdict, places, and how to go on.

Apart from sweep.py, which loads it then: statistics and drawing take longer to import than a small sweep to begin.
"""

import shlex
import sys
from contextlib import suppress
from pathlib import Path

from plastsearch.addresses import typed
from plastsearch.analysis.importance import refresh
from plastsearch.analysis.results import Results, load_results
from plastsearch.cli.output import console, print_blocks, print_error, print_json
from plastsearch.cli.sessions.sweep import Showing
from plastsearch.documents import Text
from plastsearch.errors import PlastsearchError
from plastsearch.report.front_section import brackets, front_table, gain_words
from plastsearch.report.publish import publish, report_json
from plastsearch.report.sections import opening
from plastsearch.report.verdict import verdict
from plastsearch.sweep.options import Outcome
from plastsearch.tracking.journal import read
from plastsearch.tracking.records import trials
from plastsearch.words import typed_again


def show_finished(folder: Path, showing: Showing) -> None:
    """What there is of a sweep whose folder cannot be written any more."""
    with suppress(PlastsearchError):  # nothing, if it had not begun
        _print_tables(load_results(folder), showing.quiet)


def tell_end(outcome: Outcome, mlflow: str | None, showing: Showing) -> None:
    """Write the report's files and show what was found."""
    results = load_results(outcome.folder)
    files: dict[str, str] = {}
    try:
        if trouble := refresh(results):
            print_error(trouble)
        files = {name: str(path) for name, path in publish(results).items()}
    except OSError as error:  # a full disk: what was found is in the journal, and shown
        print_error(
            f"{error.filename or outcome.folder}: the report cannot be written ({error.strerror or error}); once there "
            f"is room, `plastsearch report {shlex.quote(str(outcome.folder))}` writes it"
        )
    show = _ui_command(outcome.folder, mlflow)
    if showing.as_json:
        ending = {"status": outcome.status, "reason": outcome.reason, "folder": str(outcome.folder), "ui": show}
        print_json(report_json(results) | ending | {"files": files, "resume": _resume(outcome)})
    elif showing.tables and not showing.json_lines:
        _print_tables(results, showing.quiet)
        print_openings(outcome.folder)
        _print_places(outcome, files, show)
    for text in outcome.notes:
        print_error(text)
    if outcome.status == "failures":
        print_error(f"{outcome.reason}\nmend that and run the same command again: finished stages are kept")
    if outcome.status == "interrupted" and outcome.reason:
        print_error(f"{outcome.reason}\nno trial was lost: it runs again with the command below")
    if outcome.status == "interrupted" and not showing.as_json:
        sys.stderr.write(f"go on with: {outcome.command}\n")


def _resume(outcome: Outcome) -> str | None:
    return outcome.command if outcome.status == "interrupted" else None


def _ui_command(folder: Path, mlflow: str | None) -> str | None:
    if mlflow == "none":
        return None
    return typed_again(["plastsearch", "ui", str(folder), *(["--mlflow", typed(mlflow)] if mlflow else [])])


def _print_tables(results: Results, quiet: bool) -> None:
    out = console()
    around = [Text(text) for text in (brackets(results), gain_words(results)) if text and results.front]
    print_blocks(out, [front_table(results)] if quiet else [*opening(results), front_table(results), *around])
    if not quiet:
        for line in verdict(results):
            out.print(line, markup=False)


def print_openings(folder: Path) -> None:
    """How often the evaluation split has been looked at, as the last finalist counted."""
    said = [
        (record.details["eval_openings"], record.details["eval_openings_said"])
        for record in trials(read(folder)).values()
        if "eval_openings" in record.details
    ]
    if said:
        text = max(said)[1]  # counted on: the largest is the last
        console().print(text[0].upper() + text[1:], markup=False, soft_wrap=True)


def _print_places(outcome: Outcome, files: dict[str, str], show: str | None) -> None:
    out = console()
    if outcome.status == "budget":
        out.print(f"Ended early: {outcome.reason}", markup=False)
    rows = {"Results": str(outcome.folder)}
    named = {"Report": "report.md", "Figure": "pareto.html", "Choose": "choose.html"}
    rows |= {name: files[file] for name, file in named.items()} if files else {}
    for name, text in {**rows, **({"MLflow": show} if show else {})}.items():
        out.print(f"{name + ':':9}{text}", markup=False, soft_wrap=True)
