"""The report of a sweep: the front, whether growth paid, finalists, savings, failures, how to do it again."""

import shlex
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean

from plastsearch.analysis.ablations import load_ablations
from plastsearch.analysis.figure import column, number
from plastsearch.analysis.importance import importance_blocks, load
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import Finalist, TrialRow
from plastsearch.documents import Block, Code, Heading, Points, Table, Text
from plastsearch.report.foretold import foretelling
from plastsearch.report.front_section import WORDS, front_section, front_table
from plastsearch.report.learnt import learnt
from plastsearch.report.trust import trust
from plastsearch.report.verdict import table as comparison_table
from plastsearch.report.verdict import verdict
from plastsearch.report.why import why_blocks
from plastsearch.spec.config import DataConfig
from plastsearch.spec.constraints import TIMES
from plastsearch.tracking.events import State
from plastsearch.words import duration

PAIRED = (
    "Differences in points of EER, below zero where the trial has the lower one. Paired: the same clips, resampled by "
    "speaker where speakers are known, and the same seeds; intervals are single, p-values also after Holm's correction "
    "over all comparisons on a split."
)
SPACE_FILE = "space.yaml"
NAMED = 12  # warnings that are spelt out
took = partial(duration, units_from=1.5)  # 75 s are read more quickly than 1 min 15 s
STATUS = {
    "running": "still running, or its driver was killed",
    "done": "finished",
    "budget": "finished: its budget was used up",
    "interrupted": "interrupted; `--resume` continues it",
    "failures": "stopped: too many trials failed",
}


def report(results: Results, under: Sequence[tuple[str, float]] = ()) -> list[Block]:
    """Everything a reader of the sweep should know, in the order of interest; `under`: budgets that were asked for."""
    return [
        *opening(results),
        *front_section(results, under),
        *trust(results),
        *foretelling(results),
        *_growth(results),
        *learnt(results),
        *_finalists(results),
        *why_blocks(load_ablations(results.folder)),
        *importance_blocks(load(results), results),
        *_savings(results),
        *_losses(results),
        *_warnings(results),
        *_data(results),
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
        for row in _every(results)
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


def _finalists(results: Results) -> list[Block]:
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
    return str(done) if done == len(one.rows) else f"{done} of {len(one.rows)}"


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


def _savings(results: Results) -> list[Block]:
    totals = savings(results)
    if not totals["reused_seconds"]:
        return []
    whole = totals["reused_seconds"] + totals["seconds"]
    line = (
        f"Sharing finished stages and cached activations saved {took(totals['reused_seconds'])} of {took(whole)} "
        f"of work ({100 * totals['reused_seconds'] / whole:.0f} %)"
    )
    if totals["waited_seconds"] >= 1:
        line += f"; trials waited {took(totals['waited_seconds'])} for each other's stages"
    stages: Counter[str] = Counter()
    for row in _every(results):
        taken = row.record.details.get("stages") or []
        stages.update(stage["stage"] for stage in taken if stage.get("from") == "reused")
    listed = ", ".join(f"`{stage}` {count} times" for stage, count in stages.most_common())
    return [Heading("Work not done twice"), Text(f"{line}."), *([Text(f"Reused: {listed}.")] if listed else [])]


def _every(results: Results) -> list[TrialRow]:
    return results.every


def savings(results: Results) -> dict[str, float]:
    """Seconds spent, saved and waited, over all trials."""
    every = _every(results)
    names = ("reused_seconds", "reused_gpu_seconds", "waited_seconds")
    found = {name: sum(row.metrics.get(name, 0.0) for row in every) for name in names}
    found["seconds"] = sum(row.record.seconds for row in every)
    found["gpu_seconds"] = sum(row.record.gpu_seconds for row in every)
    return found


def _losses(results: Results) -> list[Block]:
    every = _every(results)
    failed = [row for row in every if row.record.state == "failed"]
    blocks: list[Block] = []
    if failed:
        reasons = Counter(row.record.reason or "no reason recorded" for row in failed)
        rows = tuple((reason, str(count), _which(failed, reason)) for reason, count in reasons.most_common())
        blocks += [Heading("Failures"), Table(("reason", "trials", "which"), rows, WORDS)]
    incomplete = [row for row in results.rows if row.record.state == "done" and not row.complete]
    if incomplete:
        missing = ", ".join(f"{row.label} ({_missing(results, row)})" for row in incomplete)
        blocks.append(Text(f"Finished without every objective, so outside the front: {missing}."))
    halted = results.in_state("halted")
    if halted:
        shares = ", ".join(f"{row.label} at {100 * row.record.fidelity:.0f} %" for row in halted[:20])
        more = f" and {len(halted) - 20} more" if len(halted) > 20 else ""
        blocks.append(Text(f"Halted early, and never in the front: {shares}{more}."))
    retried = [row for row in every if row.record.reasons]
    if retried:
        faults = ", ".join(f"{row.label} ({row.record.reasons[-1]})" for row in retried[:20])
        blocks.append(Text(f"Tried again after a fault: {faults}."))
    return blocks


def _warnings(results: Results) -> list[Block]:
    """What trials themselves found worth a warning, alike ones together."""
    seen: Counter[str] = Counter()
    for row in _every(results):
        seen.update({str(text) for text in row.record.details.get("warnings") or []})
        if row.record.details.get("unequal_budget"):
            seen["stopped early: its budget does not equal the others'"] += 1
    seen.update(_kinds_of_device(results))
    if not seen:
        return []
    lines = tuple(f"{text} ({count} {'trial' if count == 1 else 'trials'})" for text, count in seen.most_common(NAMED))
    more = (f"… and {len(seen) - NAMED} other warnings",) if len(seen) > NAMED else ()
    return [Heading("Warnings"), Points(lines + more)]


def _kinds_of_device(results: Results) -> list[str]:
    """Milliseconds of unlike devices; a part of a GPU (MIG) carries its size in its name, and is a kind of its own."""
    times = [one.metric for one in results.objectives if one.metric in TIMES]
    devices = [row.record.details.get("device") for row in results.plotted]
    names = Counter(str(device["name"]) for device in devices if isinstance(device, dict) and "name" in device)
    if not times or len(names) < 2:
        return []
    kinds = ", ".join(f"{name}: {count}" for name, count in names.most_common())
    return [f"{' and '.join(times)} of unlike devices ({kinds}) do not compare; backward_ratio does"]


def _which(failed: list[TrialRow], reason: str) -> str:
    numbers = [str(row.number) for row in failed if (row.record.reason or "no reason recorded") == reason]
    return ", ".join(numbers[:12]) + (" …" if len(numbers) > 12 else "")


def _missing(results: Results, row: TrialRow) -> str:
    return "no " + ", ".join(one.metric for one in results.objectives if one.metric not in row.metrics)


def _data(results: Results) -> list[Block]:
    base = results.spec.get("base")
    data = DataConfig.model_validate((base.get("data") if isinstance(base, dict) else None) or {})
    text = f"Corpus `{data.corpus}`. The search saw train and search-dev clips only."
    text += f" In every arm alike, {_crops(data.crops)}."
    rows = _every(results)
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
