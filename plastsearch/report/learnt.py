"""What a sweep learnt from earlier ones: how much each counted while it went on, and what its openings came to."""

import numpy as np

from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.documents import Block, Heading, Table, Text
from plastsearch.errors import PlastsearchError
from plastsearch.tracking.earlier import LEARNING, Earlier, kept

MARKS = (10, 20, 50, 100, 200, 500, 1000)


def learnt(results: Results) -> list[Block]:
    """The section of the report; none where no earlier sweep was named."""
    asked = results.spec.get("search")
    if not isinstance(asked, dict) or not asked.get("warm_start"):
        return []
    try:
        earlier = kept(results.folder)
    except PlastsearchError as error:
        return [Heading("Learnt from earlier sweeps"), Text(str(error))]
    finished = [row for row in results.rows if row.record.role == "search" and row.allowed is not None]
    sampler = str(asked.get("sampler", "auto"))
    columns, rows = _table(results, earlier, finished, weighed=sampler in LEARNING)
    text = (
        "An earlier sweep's trials stand beside this one's in what the sampler learns from, weighed from 0 to 1 "
        "by how well they foretell the rank of this sweep's own results, in the objective where they do so worst. The "
        "more own results there are, the less it counts: by 30 of them half."
        if sampler in LEARNING
        else f"Sampler {sampler} took openings from earlier sweeps and nothing more."
    )
    said = [Text(f"{sweep.said}.") for sweep in earlier.sweeps]
    return [Heading("Learnt from earlier sweeps"), *said, Table(columns, rows, frozenset({"from"})), Text(text)]


def _table(
    results: Results, earlier: Earlier, finished: list[TrialRow], *, weighed: bool
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    front = {row.number for row in results.front}
    marks = [mark for mark in MARKS if mark < len(finished)] + [len(finished)] if weighed and finished else []
    params = earlier.rows([row.record.params for row in finished])
    losses = earlier.losses([row.values for row in finished])
    openings = earlier.rows([one.params for one in earlier.openings])
    found = []
    for at, (sweep, foretelling) in enumerate(zip(earlier.sweeps, earlier.foretellings(), strict=True)):
        own = openings[[one.of == at for one in earlier.openings]]
        opened = [row for row, place in zip(finished, params, strict=True) if row.record.origin == "warm_start"
                  and any(np.array_equal(place, one, equal_nan=True) for one in own)]  # fmt: skip
        foretold = foretelling.of(params) if len(params) else losses
        weights = [f"{foretelling.weight(foretold[:mark], losses[:mark]):.2f}" for mark in marks]
        inside = sum(row.number in front for row in opened)
        found.append((sweep.name, str(len(sweep.trials)), str(len(opened)), str(inside), *weights))
    return ("from", "trials", "openings", "in the front", *(f"weight after {mark}" for mark in marks)), tuple(found)
