"""The report's sections on what was not done twice, what failed and by what cause, and what trials warned of."""

from collections import Counter
from collections.abc import Iterable
from functools import partial

from plastsearch.analysis.causes import Cause, causes
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.analysis.sharing import shared
from plastsearch.documents import Block, Heading, Points, Table, Text
from plastsearch.spec.constraints import TIMES
from plastsearch.words import duration

NAMED = 12  # warnings, or causes, that are spelt out
took = partial(duration, units_from=1.5)  # 75 s are read more quickly than 1 min 15 s


def savings(results: Results) -> dict[str, float]:
    """Seconds spent, saved and waited, over all trials; stages and steps that were shared."""
    every = results.every
    names = ("reused_seconds", "reused_gpu_seconds", "waited_seconds")
    found = {name: sum(row.metrics.get(name, 0.0) for row in every) for name in names}
    found["seconds"] = sum(row.record.seconds for row in every)
    found["gpu_seconds"] = sum(row.record.gpu_seconds for row in every)
    stages = shared(every)
    found["stages_shared"] = float(sum(one.reused for one in stages))
    found["stages_computed"] = float(sum(one.computed for one in stages))
    found["steps_saved"] = float(sum(one.steps for one in stages))
    return found


def saved(results: Results) -> list[Block]:
    """What sharing stages and activations spared."""
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
    stages = shared(results.every)
    listed = ", ".join(f"`{one.stage}` {one.reused} times" for one in stages if one.reused)
    words = f"{line}."
    if listed:
        steps = f", and {totals['steps_saved']:,.0f} optimiser steps" if totals["steps_saved"] else ""
        words += f" Taken from the store: {totals['stages_shared']:,.0f} stages ({listed}){steps}."
    taken = sum(row.record.state == "reused" for row in results.every)
    if taken:
        words += f" {taken} trials took over the whole result of another."
    rows = tuple(
        (one.stage, str(one.computed), str(one.reused), f"{100 * one.reused / one.asked:.0f} %", f"{one.steps:,}",
         took(one.seconds))
        for one in stages
    )  # fmt: skip
    columns = ("stage", "computed", "shared", "share", "steps saved", "time saved")
    return [Heading("Work not done twice"), Text(words), Table(columns, rows, frozenset({"stage"}))]


def losses(results: Results) -> list[Block]:
    """Who failed, by cause; who has no place in the front, and why."""
    every = results.every
    failed = [row for row in every if row.record.state == "failed"]
    blocks: list[Block] = []
    if failed:
        found = causes((row.record.reason or "no reason recorded", row.number) for row in failed)
        rows = tuple((one.words, str(one.count), one.which) for one in found)
        blocks += [Heading("Failures"), Table(("reason", "trials", "which"), rows, frozenset({"reason", "which"}))]
    incomplete = [row for row in results.rows if row.record.state == "done" and not row.complete]
    if incomplete:
        missing = ", ".join(f"{row.label} ({_missing(results, row)})" for row in incomplete[:20])
        blocks.append(Text(f"Finished without every objective, so outside the front: {missing}{_more(incomplete)}."))
    halted = results.in_state("halted")
    if halted:
        shares = ", ".join(f"{row.label} at {100 * row.record.fidelity:.0f} %" for row in halted[:20])
        blocks.append(Text(f"Halted early, and never in the front: {shares}{_more(halted)}."))
    retried = [(reason, row.number) for row in every for reason in row.record.reasons]
    if retried:
        faults = "; ".join(f"{one.words} ({_counted(one)})" for one in causes(retried)[:NAMED])
        blocks.append(Text(f"Tried again after a fault: {faults}."))
    return blocks


def _more(rows: list[TrialRow]) -> str:
    return f" and {len(rows) - 20} more" if len(rows) > 20 else ""


def _missing(results: Results, row: TrialRow) -> str:
    return "no " + ", ".join(one.metric for one in results.objectives if one.metric not in row.metrics)


def warnings(results: Results) -> list[Block]:
    """What trials themselves found worth a warning, those that say the same in one line."""
    seen = causes(_said(results))
    lines = [f"{one.words} ({_counted(one)})" for one in seen[:NAMED]] + _kinds_of_device(results)
    if not lines:
        return []
    more = [f"… and {len(seen) - NAMED} other warnings"] if len(seen) > NAMED else []
    return [Heading("Warnings"), Points((*lines, *more))]


def _said(results: Results) -> Iterable[tuple[str, int]]:
    for row in results.every:
        for text in dict.fromkeys(row.record.details.get("warnings") or []):
            yield str(text), row.number
        if row.record.details.get("unequal_budget"):
            yield "stopped early: its budget does not equal the others'", row.number


def _counted(one: Cause) -> str:
    """How many trials said so, and which."""
    count = len(one.trials)
    return f"{count} {'trial' if count == 1 else 'trials'}: {one.which}"


def _kinds_of_device(results: Results) -> list[str]:
    """Milliseconds of unlike devices; a part of a GPU (MIG) carries its size in its name, and is a kind of its own."""
    times = [one.metric for one in results.objectives if one.metric in TIMES]
    devices = [row.record.details.get("device") for row in results.plotted]
    names = Counter(str(device["name"]) for device in devices if isinstance(device, dict) and "name" in device)
    if not times or len(names) < 2:
        return []
    kinds = ", ".join(f"{name}: {count}" for name, count in names.most_common())
    return [f"{' and '.join(times)} of unlike devices ({kinds}) do not compare; backward_ratio does"]
