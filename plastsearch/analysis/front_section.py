"""The report's section on the front: its table, how sure its members are, what it gains, the best within a budget."""

from collections.abc import Sequence

from plastsearch.analysis import budgets
from plastsearch.analysis.figure import column, main_settings, number, title
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.documents import Block, Heading, Table, Text
from plastsearch.pareto.membership import CERTAIN
from plastsearch.spec.methods import YARDSTICK

WORDS = frozenset({"trial", "layers", "criterion", "regime", "method", "reason", "which"})
GAIN = (
    "It is the volume that the search dominates beyond the baseline, as a share of all that the baseline leaves up to "
    "an error of zero at no cost: 0 % is no better than the baseline."
)
GAIN_ALONE = (
    "It is the share that the search dominates of the room between the references and an error of zero at no cost."
)


def front_table(results: Results, rows: list[TrialRow] | None = None) -> Table:
    """The front, best in the first objective first; other rows may be given."""
    members = results.front if rows is None else rows
    texts = [_cells(results, row) for row in members]
    names = [name for name in _columns(results) if any(text.get(name) for text in texts) or name == "trial"]
    return Table(tuple(names), tuple(tuple(text.get(name, "") for name in names) for text in texts), WORDS)


def _columns(results: Results) -> list[str]:
    known = ["trial", "method", "layers", "neurons", "criterion", "regime", "rank", "last layers", "layers kept"]
    return [*known, *(column(one.metric) for one in results.objectives), "runs", "membership"]


def _cells(results: Results, row: TrialRow) -> dict[str, str]:
    found = {"trial": row.label, **main_settings(row)}
    if results.knee is not None and row.number == results.knee.number:
        found["trial"] += " (knee)"
    for at, (one, value) in enumerate(zip(results.objectives, row.values, strict=True)):
        within = results.interval(row, at)
        spread = f" [{number(within[0], one.metric)}, {number(within[1], one.metric)}]" if within else ""
        found[column(one.metric)] = number(value, one.metric) + spread
    if results.repeated:
        found["runs"] = str(len(row.runs))
        if row.membership is not None:
            found["membership"] = f"{row.membership:.2f}" + (" certain" if row.certain else "")
    return found


def front_section(results: Results, under: Sequence[tuple[str, float]]) -> list[Block]:
    """Members, what they gain over the baseline, and who is best within a budget."""
    head = Heading("Pareto front")
    if not results.front:
        return [head, Text("No trial has finished with every objective measured, so there is no front.")]
    goals = ", ".join(f"{title(one.metric)} ({one.goal})" for one in results.objectives)
    notes = f"{len(results.front)} of {len(results.plotted)} finished trials are not dominated in {goals}."
    if results.repeated:
        sure = sum(row.certain for row in results.front)
        notes += f" Certain (two runs or more, in the front with at least {100 * CERTAIN:.0f} %): {sure} of them."
    refused = [row for row in results.plotted if not row.allowed]
    if refused:
        notes += f" {len(refused)} finished trials break a constraint and are left out."
    after = [Text(note) for note in (brackets(results), gain_words(results)) if note]
    return [head, Text(notes), front_table(results), *after, *budgets.blocks(results, under)]


def gain_words(results: Results) -> str:
    """How far the front is beyond the baseline, and what that number means."""
    if results.gain is None:
        return ""
    of = "the baseline" if results.control(YARDSTICK) is not None else "the references"
    text = f"Gain over {of}: {percent(results.gain)} as measured"
    likely = results.likely_gain
    if likely is not None and results.certainty is not None:
        middle, low, high = likely
        text += (
            f"; {percent(middle)} [{percent(low)}, {percent(high)}] allowing for luck of {results.certainty.sources}"
        )
    return f"{text}. {GAIN if of == 'the baseline' else GAIN_ALONE}"


def brackets(results: Results) -> str:
    """What the intervals in the table hold."""
    if results.repeated:
        sources = results.certainty.sources if results.certainty is not None else "clips"
        return (
            "Numbers are means over each trial's runs, as if all had run with the same seeds; brackets hold 95 % "
            f"intervals of these by {sources}."
        )
    alone = "" if results.certainty is None or results.certainty.seeds else " How far seeds scatter is not known."
    return f"Brackets hold 95 % intervals over clips, of one run each.{alone}"


def percent(share: float) -> str:
    """A share as percent, with one digit behind the point where it is small."""
    return f"{100 * share:.1f} %" if share < 0.995 else "100 %"
