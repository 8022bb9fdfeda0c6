"""The report of a sweep: the front, whether growth paid, finalists, savings, failures, how to do it again."""

import shlex
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from plastsearch.analysis import importance
from plastsearch.analysis.ablations import FOLDER, PAGE, PICTURE, load_ablations
from plastsearch.analysis.columns import corpus
from plastsearch.analysis.figure import column, number
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import Finalist
from plastsearch.documents import Block, Code, Figure, Heading, Points, Table, Text
from plastsearch.report.foretold import foretelling
from plastsearch.report.front_section import WORDS, front_section, front_table
from plastsearch.report.learnt import learnt
from plastsearch.report.losses import losses, saved, took, warnings
from plastsearch.report.methods import data_of, methods
from plastsearch.report.newborns import newborns
from plastsearch.report.paper_section import Gathered, attacks, criteria, gather, paper, placing, ranks_blocks
from plastsearch.report.reproduced import reproduced
from plastsearch.report.trust import trust
from plastsearch.report.verdict import table as comparison_table
from plastsearch.report.verdict import verdict
from plastsearch.report.why import why_blocks
from plastsearch.tracking.events import State

PAIRED = (
    "Differences in points of EER, below zero where the trial has the lower one. Paired: the same clips, resampled by "
    "speaker where speakers are known, and the same seeds; intervals are single, p-values also after Holm's correction "
    "over all comparisons on a split."
)
SPACE_FILE = "space.yaml"
STATUS = {
    "running": "still running, or its driver was killed",
    "done": "finished",
    "budget": "finished: its budget was used up",
    "interrupted": "interrupted; `--resume` continues it",
    "failures": "stopped: too many trials failed",
}


def report(results: Results, under: Sequence[tuple[str, float]] = (), gathered: Gathered | None = None) -> list[Block]:
    """Everything a reader of the sweep should know, in the order of interest; `under`: budgets that were asked for."""
    found = gathered or gather(results)
    return [
        *opening(results),
        *front_section(results, under),
        *trust(results),
        *foretelling(results),
        *_growth(results),
        *newborns(results),
        *learnt(results),
        *finalist_blocks(results),
        *reproduced(results),
        *attacks(results, found.attacks),
        *paper(found.table),
        *placing(found.layers, found.cells),
        *criteria(found.prefixes),
        *(ranks_blocks(found.ranks, found.blocks, "attacks") if found.blocks else []),
        *_why(results),
        *_importances(results),
        *saved(results),
        *losses(results),
        *warnings(results),
        *_apart(results),
        *_data(results),
        *methods(results),
        *_again(results),
    ]


def opening(results: Results) -> list[Block]:
    """What was asked, and how far it got."""
    counts = Counter(row.record.state for row in results.rows)
    states: tuple[State, ...] = ("done", "reused", "halted", "failed", "running", "proposed")
    parts = [f"{counts[state]} {state}" for state in states if counts[state]]
    controls = len(results.controls)
    seeds = sum(len(one.rows) for one in results.finalists)
    line = f"Trials: {', '.join(parts) or 'none yet'} ({controls} of them controls)"
    repeats = sum(len(row.again) + len(row.lost) for row in results.rows)
    more = [f"{repeats} runs with further seeds"] * bool(repeats) + [f"{seeds} finalist runs"] * bool(seeds)
    line += f", and {' and '.join(more)}" if more else ""
    line += f". Started {when(results.started_at)}, took {took(results.seconds)}, {STATUS[results.status]}."
    question = [Text(results.question)] if results.question else []
    return [Heading(f"Sweep {results.name}", 1), *question, Text(line)]


def _growth(results: Results) -> list[Block]:
    blocks: list[Block] = [Heading("Did growth pay?"), Points(tuple(verdict(results)))]
    numbers = comparison_table(results)
    if numbers.rows:
        blocks += [Text(PAIRED), numbers]
    controls = [row for row in results.controls if row.allowed is not None]
    if controls:
        blocks += [Text("Controls of equal budget, run beside the search:"), front_table(results, controls)]
    lost = [row for row in results.controls if row.record.state == "failed"]
    blocks += [Text(f"{row.label} failed: {row.record.reason or 'no reason recorded'}") for row in lost]
    found = incoming(results)
    return [*blocks, Text(found)] if found else blocks


def incoming(results: Results) -> str | None:
    """How often training led to nothing better than the state it began with; each stage counts once, however shared."""
    trained = {
        stage["key"]: stage
        for row in results.every
        for stage in row.record.details.get("stages") or []
        if "incoming_won" in stage
    }
    if not trained:
        return None
    every = Counter(str(stage["stage"]) for stage in trained.values())
    won = Counter(str(stage["stage"]) for stage in trained.values() if stage["incoming_won"])
    where = ", ".join(f"`{name}` {count} of {every[name]}" for name, count in won.most_common())
    return (
        f"The state that enters a stage is a candidate of it: in {won.total()} of {every.total()} stages that trained "
        f"it scored best on the search-dev set and was kept{f' ({where})' if where else ''}."
    )


def finalist_blocks(results: Results) -> list[Block]:
    """Members of the front run again, the only ones to see the evaluation split; nothing where there are none."""
    if not results.finalists:
        return []
    labels = {row.number: row.label for row in results.rows}
    shown = ("eval_eer", "eval_min_tdcf", "dev_eer", "backward_ratio")
    metrics = [name for name in shown if any(one.values(name) for one in results.finalists)]
    columns = ["trial", "seeds", *(part for name in metrics for part in (column(name), "best", "worst"))]
    rows = tuple(
        (labels.get(one.of, f"trial {one.of}"), _seeds(one), *(cell for name in metrics for cell in _spread(one, name)))
        for one in results.finalists
    )
    note = (
        "Members of the front, run again with other seeds and timed in turn: mean, best and worst. "
        "Only these were scored on the evaluation split."
    )
    return [Heading("Finalists"), Text(note), Table(tuple(columns), rows, WORDS), *_intervals(results, labels)]


def _seeds(one: Finalist) -> str:
    done = sum(row.record.state == "done" for row in one.rows)
    return str(done) if done == one.asked else f"{done} of {one.asked}"


def _spread(one: Finalist, metric: str) -> list[str]:
    values = one.values(metric)
    return [number(f(values), metric) for f in (mean, min, max)] if values else ["–"] * 3


def _intervals(results: Results, labels: dict[int, str]) -> list[Block]:
    lines = []
    for one in results.finalists:
        bounds = [within for row in one.rows if (within := row.interval("eval_eer")) is not None]
        if bounds:
            low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
            label = labels.get(one.of, f"trial {one.of}")
            lines.append(f"{label}: 95 % intervals of its eval EER lie within [{low:.2f}, {high:.2f}] % over all seeds")
    return [Points(tuple(lines))] if lines else []


def _why(results: Results) -> list[Block]:
    """What ablations told, each with its figure and the page where it can be looked at closely."""
    found = load_ablations(results.folder)
    blocks = why_blocks(found)
    for one in found:
        at = f"../{FOLDER}/{one.trial}"
        where = f"Interactive: `{FOLDER}/{one.trial}/{PAGE}`; every number: `ablation.csv` beside it."
        blocks += [Figure(f"{at}/{PICTURE}", f"Why trial {one.trial} won"), Text(where)]
    return blocks


def _importances(results: Results) -> list[Block]:
    found = importance.load(results)
    blocks = importance.importance_blocks(found, results)
    if found is not None:
        where = f"Interactive: `report/{importance.PAGE}`; every number: `report/{importance.TABLE}`."
        blocks += [Figure(importance.PICTURE, "What mattered"), Text(where)]
    return blocks


def _apart(results: Results) -> list[Block]:
    """Trials of a merged sweep that were run on other data than its head asks about."""
    if not results.apart:
        return []
    corpora = Counter(str(corpus(row.record.config)) for row in results.apart)
    told = ", ".join(f"{count} on {name}" for name, count in corpora.most_common())
    return [Heading("Set apart"), Text(
        f"{len(results.apart)} runs were made on other data than the sweep's first ({told}). EERs of different clips "
        "have no common order, so they are in no front, mean or comparison here; `Sweeps joined`, at the end, has them."
    )]  # fmt: skip


def _data(results: Results) -> list[Block]:
    data = data_of(results)
    if data is None:
        return [Heading("Data"), Text("What the journal says of the data is not understood by this version.")]
    text = f"Corpus `{data.corpus}`. The search saw train and search-dev clips only."
    text += f" In every arm alike, {_crops(data.crops)}."
    rows = results.every
    for name, of in (("bad_clips", "train and search-dev"), ("eval_bad_clips", "evaluation")):
        bad = max((int(row.metrics.get(name, 0)) for row in rows), default=0)
        if bad:
            text += f" {bad:,} {of} clips or lines could not be used and were left out."
    if "left out" in text:
        text += " `plastsearch data prepare` with `--on-bad skip` lists them."
    return [Heading("Data"), Text(text)]


def _crops(policy: int | str) -> str:
    if policy == "fresh":
        return "each training clip was cut at a fresh random place per epoch"
    if policy == 1:
        return "training saw the head of each clip"
    return f"each training clip was cut at {policy} fixed places in turn, its head among them"


def _again(results: Results) -> list[Block]:
    space = results.folder / "report" / SPACE_FILE
    lines = [f"plastsearch sweep {shlex.quote(str(space))} --name {shlex.quote(results.name + '-again')}"]
    lines.append(f"plastsearch ui {shlex.quote(str(results.folder))}")
    note = f"The space as it was run, overrides included, is `report/{SPACE_FILE}` (content {results.spec_hash})."
    if results.overrides:
        note += f" Overrides given: {', '.join(f'`{one}`' for one in results.overrides)}."
    note += " Every configuration, seed and reported number is in `trials.jsonl`."
    return [Heading("How to do it again"), Text(note), Code("\n".join(lines))]


def folder_of(results: Results) -> Path:
    """Where the report of a sweep lies."""
    return results.folder / "report"


def when(at: float) -> str:
    """A moment in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
