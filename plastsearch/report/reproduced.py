"""The report's section on published figures: what a paper says, what came out here, and whether that is the same."""

from plastsearch.analysis.aims import Judged, judged
from plastsearch.analysis.results import Results
from plastsearch.documents import Block, Heading, Points, Table, Text

NOTE = (
    "EER (%) on evaluation splits. Reproduced: the 95 % interval of the mean over seeds reaches down to the published "
    "mean (to the best, where no mean was published). The finalist is the one that the search-dev set names; the best "
    "of many runs is luck as well as skill, and is shown beside the mean only."
)


def reproduced(results: Results) -> list[Block]:
    """One row for each figure that the space aims at."""
    found = judged(results)
    if not found:
        return []
    rows = tuple(_row(one) for one in found)
    columns = ("published", "corpus", "mean", "best", "here: mean", "best", "95 % interval", "verdict")
    why = Points(tuple(f"{one.aim.system}, {one.aim.corpus}: {one.verdict}; {one.why}" for one in found))
    return [
        Heading("Published figures"),
        Text(NOTE),
        Table(columns, rows, frozenset({"published", "corpus", "verdict"})),
        why,
    ]


def _row(one: Judged) -> tuple[str, ...]:
    aim = one.aim
    between = "–" if one.interval is None else f"{one.interval[0]:.2f} to {one.interval[1]:.2f}"
    return (
        f"{aim.system} (arXiv {aim.source})", aim.corpus, _percent(aim.mean), _percent(aim.best), _percent(one.mean),
        _percent(min(one.values, default=None)), between, one.verdict,
    )  # fmt: skip


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
