"""A comparison in words and tables, as blocks that the terminal, Markdown and HTML share."""

from plastsearch.compare.comparison import Comparison, Versus
from plastsearch.documents import Block, Heading, Points, Table, Text

UNITS = {"EER": " points", "minDCF": "", "Cllr": " bits"}


def document(comparison: Comparison) -> list[Block]:
    """Everything that is said of it."""
    clips = comparison.clips
    bona = int(clips.is_bona.sum())
    return [
        Heading("Comparison", 1),
        Text(
            f"On {clips.source}: {bona:,} bona fide, {len(clips.ids) - bona:,} spoofed. Higher scores mean bona fide."
        ),
        _table(comparison),
        Heading("Differences"),
        Text(_how(comparison)),
        _differences(comparison),
        Points(tuple(_said(one) for one in comparison.versus if one.measure.name == "EER")),
        *_attacks(comparison),
        *_unlike(comparison),
    ]


def _table(comparison: Comparison) -> Table:
    rows = tuple(
        (
            arm.short, f"{one.eer:.2f} [{one.eer_low:.2f}, {one.eer_high:.2f}]", f"{one.min_dcf:.3f}",
            f"{one.act_dcf:.3f}", f"{one.cllr:.3f}", f"{one.auc:.4f}",
        )
        for arm, one in zip(comparison.arms, comparison.summaries, strict=True)
    )  # fmt: skip
    return Table(("detector", "EER %", "minDCF", "actDCF", "Cllr", "AUC"), rows, frozenset({"detector"}))


def _how(comparison: Comparison) -> str:
    first = comparison.versus[0].answer
    over = (
        f"{first.speakers:,} speakers with all their clips"
        if first.speakers
        else "clips, since too few speakers are named to be drawn"
    )
    return (
        f"Each pair scored the same clips. Intervals (95 %) are drawn over {over}; p-values are Holm's, over all pairs "
        "of a measure. Below zero, the first is the better."
    )


def _differences(comparison: Comparison) -> Table:
    rows = tuple(
        (
            f"{one.one.short} - {one.other.short}", one.measure.name, f"{one.answer.points:+.3f}",
            f"[{one.answer.low:+.3f}, {one.answer.high:+.3f}]", f"{one.p_corrected:.3g}", one.finding,
        )
        for one in comparison.versus
    )  # fmt: skip
    columns = ("pair", "measure", "difference", "95 % interval", "p", "finding")
    return Table(columns, rows, frozenset({"pair", "measure", "finding"}))


def _said(one: Versus) -> str:
    unit = UNITS[one.measure.name]
    if one.finding == "no difference shown":
        reach = max(abs(one.answer.low), abs(one.answer.high))
        return (
            f"{one.one.short} and {one.other.short}: no difference in {one.measure.name} is shown; one of up to "
            f"{reach:.2f}{unit} would fit these clips."
        )
    return (
        f"{one.one.short} is {one.finding} than {one.other.short} by {abs(one.answer.points):.2f}{unit} of "
        f"{one.measure.name} (p {one.p_corrected:.2g})."
    )


def _attacks(comparison: Comparison) -> list[Block]:
    if not comparison.attacks:
        return []
    names = tuple(arm.short for arm in comparison.arms)
    order = sorted(range(len(comparison.attacks)), key=lambda at: -comparison.per_attack[at, 0])
    rows = tuple((comparison.attacks[at], *(f"{v:.2f}" for v in comparison.per_attack[at])) for at in order)
    return [Heading("EER % by attack"), Table(("attack", *names), rows, frozenset({"attack"}))]


def _unlike(comparison: Comparison) -> list[Block]:
    if not comparison.unlike:
        return []
    names = tuple(arm.short for arm in comparison.arms)
    rows = tuple(
        (one.clip, "bona fide" if one.is_bona else one.attack, one.speaker, *(f"{v:+.2f}" for v in one.stands))
        for one in comparison.unlike
    )
    said = "Scores in spreads of each detector from its own threshold; above zero it takes the clip for bona fide."
    columns = ("clip", "truth", "speaker", *names)
    return [
        Heading("Clips judged least alike"), Text(said), Table(columns, rows, frozenset({"clip", "truth", "speaker"})),
    ]  # fmt: skip
