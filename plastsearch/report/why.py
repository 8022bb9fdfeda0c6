"""Why a trial won, as blocks of a report and as files: what `plastsearch ablate` tells."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from plastsearch.analysis.ablations import DATA, PAGE, PICTURE, TABLE, Ablation, Change, Step, Way, save
from plastsearch.analysis.figure import number, title
from plastsearch.analysis.why_figure import change, signed, step_words
from plastsearch.documents import Block, Heading, Points, Table, Text, as_html
from plastsearch.files import whole_file

HEADING = "Why did it win?"
NAMED = 4  # disagreements, or notes, that are spelt out
SELECTED = (
    "Each step is the best of several on the very clips that judge it, so forward steps look better than they are; "
    "an interval that keeps clear of zero after Holm's correction is the least to ask for."
)


class Order(NamedTuple):
    """How the two directions go together."""

    agree: bool
    words: str


def why_blocks(ablations: Sequence[Ablation]) -> list[Block]:
    """The section with a part for each ablation; nothing where there is none."""
    parts = [block for one in ablations for block in _part(one)]
    return [Heading(HEADING), *parts] if parts else []


def publish_ablation(ablation: Ablation, folder: Path) -> dict[str, Path]:
    """Write data, table, picture and page; the files by name."""
    from plastsearch.report.picture import ablation_png
    from plastsearch.report.why_page import ablation_html

    save(ablation, folder)
    blocks = why_blocks([ablation])
    outro = [Text("Pale: no difference shown after Holm's correction. Lines: 95 % intervals of single steps.")]
    page = ablation_html(ablation, as_html(blocks[2:4]), as_html([*outro, *blocks[4:]]))
    for name, text in ((TABLE, ablation_csv(ablation)), (PAGE, page)):
        with whole_file(folder / name) as draft:
            draft.write_text(text, encoding="utf-8")
    with whole_file(folder / PICTURE) as draft:
        ablation_png(ablation, draft)
    return {name: folder / name for name in (DATA, TABLE, PICTURE, PAGE)}


def ablation_csv(ablation: Ablation) -> str:
    """One line for each step of each direction."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["direction", "step", "fields", "along", "change", "metric", "value", "points", "low", "high", "p",
                     "p_holm", "seeds"])  # fmt: skip
    for way in ablation.paths:
        writer.writerow([way.direction, 0, "", "", "", ablation.metric, way.start, *[""] * 5, len(ablation.seeds)])
        for at, step in enumerate(way.steps, 1):
            writer.writerow([
                way.direction, at, " ".join(step.fields), " ".join(step.along), step.words, ablation.metric,
                step.value, step.points, step.low, step.high, step.p, step.p_corrected, len(ablation.seeds),
            ])  # fmt: skip
    return out.getvalue()


def order(ablation: Ablation) -> Order:
    """Whether both directions put the fields in one order, in a sentence."""
    if not ablation.complete:
        return Order(False, "A path is not whole, so their orders cannot be compared.")
    if len(ablation.backward.steps) == 1 and len(ablation.forward.steps) > 1:
        return Order(
            False, "Backward gives up growth in its first step, and all else with it, so there is no order to compare."
        )
    if not ablation.conflicts:
        return Order(True, f"Both directions put the fields in the same order{_gap(ablation)}.")
    pairs = [f"{ablation.words(one)} before {ablation.words(other)}" for one, other in ablation.conflicts]
    more = f", and {len(pairs) - NAMED} more pairs" if len(pairs) > NAMED else ""
    return Order(
        False,
        f"The two directions disagree: forward puts {'; '.join(pairs[:NAMED])}{more}, backward the other way round. "
        "What a field is worth then depends on the others that are there, or noise decides; both paths are shown.",
    )


def _gap(ablation: Ablation) -> str:
    """How far the worth of one step differs between the ways, over steps that both take whole."""
    back = {frozenset((*step.fields, *step.along)): step for step in ablation.backward.steps}
    both = [
        (abs(step.points + back[fields].points), step)
        for step in ablation.forward.steps
        if (fields := frozenset((*step.fields, *step.along))) in back
    ]
    if not both:
        return ""
    gap, step = max(both, key=lambda one: one[0])
    size = signed(gap, ablation.metric)
    if not size.startswith("+"):
        return ", and each step that both take is worth the same: nothing speaks for an interaction"
    return f"; what one is worth differs by up to {size.removeprefix('+')} between the ways ({step_words(step)[2:]})"


def _part(ablation: Ablation) -> list[Block]:
    seeds = f"{len(ablation.seeds)} {'seed' if len(ablation.seeds) == 1 else 'seeds'}, the same for all"
    text = (
        f"Trial {ablation.trial} against the baseline in {title(ablation.metric)} ({ablation.goal}), one field at a "
        f"time, by {ablation.runs} runs with {seeds}. {_whole(ablation)}"
    )
    shown = [_table(ablation, way) for way in ablation.paths]
    blocks: list[Block] = [
        Heading(f"Trial {ablation.trial}", 3),
        Text(text),
        Points((order(ablation).words, *_notes(ablation))),
        Text("Forward, from the baseline: at each step what helps most."),
        shown[0],
        Text("Backward, from the trial: at each step what costs least."),
        shown[1],
        Text(
            "What each field is worth, above zero where it helps: added alone to the baseline, added or taken away "
            "on the way, left out of the trial alone. Equal numbers in a line: it does not depend on the others."
        ),
        _changes(ablation),
        Text(SELECTED),
    ]
    return blocks


def _whole(ablation: Ablation) -> str:
    whole = ablation.whole
    if whole is None:
        return ""
    ends = (whole.value - whole.points, whole.value)
    baseline, trial = (number(value, ablation.metric) for value in ends)
    said = f"The baseline has {baseline}, the trial {trial}: {change(whole, ablation.metric)}"
    return f"{said}{'' if whole.p is None else f', p {_p(whole.p)}'}."


def _notes(ablation: Ablation) -> list[str]:
    missing = dict.fromkeys(step.missing for way in ablation.paths for step in way.steps if step.missing)
    every = [*(f"No interval: {why}." for why in missing), *(f"{_capital(note)}." for note in ablation.notes)]
    more = [f"… and {len(every) - NAMED} more notes in {DATA}."] if len(every) > NAMED else []
    return every[:NAMED] + more


def _table(ablation: Ablation, way: Way) -> Table:
    metric = ablation.metric
    start = "baseline" if way.direction == "forward" else f"trial {ablation.trial}"
    rows = [(start, number(way.start, metric), "", "", "")]
    rows += [
        (_label(ablation, step), number(step.value, metric), change(step, metric), _p(step.p_corrected), _finding(step))
        for step in way.steps
    ]
    if not way.complete:
        rows.append(("… stopped here", "", "", "", ""))
    columns = ("step", title(metric), "change [95 %]", f"p, Holm over {ablation.family}", "shown")
    return Table(columns, tuple(rows), frozenset({"step", "shown"}))


def _label(ablation: Ablation, step: Step) -> str:
    along = f" (with it: {', '.join(ablation.words(name) for name in step.along)})" if step.along else ""
    return step_words(step) + along


def _finding(step: Step) -> str:
    if step.p_corrected is None:
        return "–"
    return "yes" if step.clear else "no difference shown"


def _changes(ablation: Ablation) -> Table:
    columns: tuple[tuple[str, Callable[[Change], float | None]], ...] = (
        ("alone", lambda one: one.alone), ("forward", lambda one: one.forward),
        ("backward", lambda one: one.backward), ("left out", lambda one: one.left_out),
    )  # fmt: skip
    rows = tuple(
        (
            one.words,
            *(_worth(worth(one), ablation.metric) for _, worth in columns),
            ", ".join(ablation.words(name) for name in one.together),
        )
        for one in ablation.changes
    )
    names = ("field", *(name for name, _ in columns), "measured together with")
    return Table(names, rows, frozenset({"field", "measured together with"}))


def _worth(value: float | None, metric: str) -> str:
    return "" if value is None else signed(value, metric)


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
