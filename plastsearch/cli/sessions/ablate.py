"""An ablation as a terminal sees it: what it will run, the runs, the answer, and where that was written."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plastsearch.ablation.forecast import forecast
from plastsearch.ablation.session import AblationOptions, Question, answer, ask, run, store_of
from plastsearch.analysis.results import load_results
from plastsearch.cli.output import console, print_blocks, print_error, print_json
from plastsearch.cli.sessions.sweep import display_of
from plastsearch.errors import PlastsearchError
from plastsearch.report.why import publish_ablation, why_blocks
from plastsearch.sweep.options import Outcome
from plastsearch.sweep.state import Closing
from plastsearch.sweep.view import SweepView
from plastsearch.tracking.journal import driver_lives
from plastsearch.tracking.mlflow_store import database_of
from plastsearch.words import duration


@dataclass(frozen=True)
class Asked:
    """The question as it was typed."""

    sweep: Path
    trial: str
    seeds: int
    metric: str | None
    most: int | None


def question_of(asked: Asked) -> Question:
    """The question, with everything it names found to exist."""
    return ask(load_results(asked.sweep), asked.trial, seeds=asked.seeds, metric=asked.metric, most=asked.most)


def print_forecast(asked: Asked, as_json: bool) -> None:
    """Runs, shared stages, time."""
    question = question_of(asked)
    found = forecast(question)
    if as_json:
        print_json({"sweep": question.results.name, "trial": question.row.number, **found.plain()})
        return
    out = console()
    plan = question.plan
    out.print(f"{question.row.label} of {question.results.name} differs from the baseline in:", markup=False)
    for one in plan.contrast.fields:
        out.print(f"- {one.words}", markup=False)
    seeds = f" with {plan.seeds} seeds each" if plan.seeds > 1 else ""
    done = f", {found.done} of them done" if found.done else ""
    lines = [f"runs: {found.most} at most{seeds}{done}; {found.runs} if all of them come out alike"]
    new = found.stages - found.shared - found.of_sweep
    lines.append(
        f"stages: {found.stages} in these {found.runs} runs, {found.shared} shared among them, "
        f"{found.of_sweep} kept from the sweep, {new} to be computed"
    )
    took = "not known, for the sweep does not say how long its trials took"
    lines.append(f"time: {took if found.seconds is None else 'about ' + duration(found.seconds)}, one after the other")
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)


def attempt(
    asked: Asked, where: AblationOptions, *, quiet: bool, as_json: bool
) -> Outcome:  # fmt: skip
    """Run what is missing and tell what it says."""
    if where.executor not in {"tune", "inline"}:
        raise PlastsearchError(f"--executor {where.executor}: unknown; known: tune, inline")
    question = question_of(asked)
    # Typed again after its end it takes up what is there: with more seeds, say, only those are run.
    where = replace(
        where,
        name=str(question.row.number),
        resume=where.resume or question.finished,
        store=where.store or store_of(question),
        cache=where.cache or question.results.folder.parent / "cache",
    )
    if question.answered:  # no cluster is started to look at it again
        sys.stderr.write("every run is there; nothing runs\n")
        _tell(question, where.mlflow, as_json=as_json)
        return Outcome(question.folder, "done", where.command(question.folder))
    if not (quiet or as_json):
        names = ", ".join(one.words for one in question.plan.contrast.fields)
        sys.stderr.write(f"Why did {question.row.label} of {question.results.name} win? {names}\n")
        sys.stderr.write(f"at most {question.plan.bound} runs; starting\n")

    def listen(_folder: Path, view: SweepView) -> Sequence[Closing]:
        return [display_of(view, quiet=quiet or as_json)]

    outcome = run(question, where, listen)
    for text in outcome.notes:
        print_error(text)
    if outcome.status == "failures":
        print_error(f"{outcome.reason}\nmend that and run the same command again: finished stages are kept")
    elif outcome.status == "interrupted":
        sys.stderr.write(f"go on with: {outcome.command}\n")
    else:
        _tell(question, where.mlflow, as_json=as_json)
    return outcome


def _tell(question: Question, mlflow: str | None, *, as_json: bool) -> None:
    """Write the answer and the sweep's report, which has a section on it now, and show it."""
    found = answer(question)
    files = {name: str(path) for name, path in publish_ablation(found, question.folder).items()}
    mirrored = _publish(question, mlflow)
    if as_json:
        print_json(found.model_dump(mode="json") | {"files": files, "mlflow": mirrored})
        return
    out = console()
    print_blocks(out, why_blocks([found]))
    for name, key in (("Table", "ablation.csv"), ("Figure", "ablation.html")):
        out.print(f"{name + ':':9}{files[key]}", markup=False, soft_wrap=True)
    if mirrored:
        out.print("MLflow:  among the artifacts of the sweep's run", markup=False)


def _publish(question: Question, mlflow: str | None) -> bool:
    """The sweep's report, and the run of the sweep in MLflow if there is one; True if that has it now."""
    from plastsearch.report.publish import publish, render

    folder = question.results.folder
    publish(load_results(folder))
    if mlflow == "none" or driver_lives(folder) or not (mlflow or database_of(folder).exists()):
        return False  # a sweep that still runs mirrors its folder by itself
    from plastsearch.tracking.mlflow_sync import sync

    try:
        sync(folder, mlflow, render)
    except PlastsearchError as error:  # the answer is on the disk, which is more than a mirror
        print_error(f"{error}\nthe answer itself is written; bring MLflow up to it with `plastsearch report --mlflow`")
        return False
    return True
