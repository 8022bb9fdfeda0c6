"""A drift report in words and tables, its pictures' content, and its page."""

import math

import numpy as np

from plastsearch.compare.drift import FEATURES, Drift, Shift
from plastsearch.compare.figure import COLOURS
from plastsearch.compare.hearing import FACTS
from plastsearch.documents import Block, Heading, Points, Table, Text, as_html
from plastsearch.report.page import PLAIN_SCRIPT, Object, page

BINS = 30
STRIP = 170  # pixels of each property's drawing
NAMED_BAD = 5


def document(found: Drift) -> list[Block]:
    """Everything that is said of it."""
    old, new = found.reference, found.new
    bad = [*old.bad, *new.bad]
    blocks: list[Block] = [
        Heading("Drift", 1),
        Text(
            f"{found.model} on {len(new.paths):,} clips of {new.folder}, against {len(old.paths):,} of {old.folder}."
        ),
        Text(_verdict(found)),
        _table(found),
        Text(
            f"Taken for spoofs, under the model's threshold: {100 * found.below[0]:.1f} % of the reference, "
            f"{100 * found.below[1]:.1f} % of the new clips. {100 * found.outside:.1f} % of the new clips lie farther "
            "from the reference than 95 % of its own clips do from each other."
        ),
        Heading("New clips least like the reference"),
        Text("Distance of features to the nearest reference clips, in the distance that is usual among those."),
        Table(
            ("clip", "distance", "score"),
            tuple((one.path, f"{one.times:.2f}", f"{one.score:+.2f}") for one in found.farthest), frozenset({"clip"}),
        ),
    ]  # fmt: skip
    if bad:
        more = (f"and {len(bad) - NAMED_BAD} more",) if len(bad) > NAMED_BAD else ()
        blocks += [Heading("Files that could not be read"), Points((*bad[:NAMED_BAD], *more))]
    return blocks


def _verdict(found: Drift) -> str:
    shown = [_words(one.name) for one in found.shifts if one.shown]
    if not shown:
        return "No drift is shown: in none of these properties do the two samples differ by more than chance would."
    advice = {
        "score": "its scores shift, so a threshold or calibration chosen on the reference does not hold here",
        FEATURES: "what the network computes shifts, so its error rates on the reference say little of these clips",
    }
    told = [advice[one.name] for one in found.shifts if one.shown and one.name in advice]
    why = f": {'; '.join(told)}" if told else ": the audio differs, though the model does not answer otherwise"
    return f"Drift is shown in {', '.join(shown)}{why}."


def _table(found: Drift) -> Table:
    rows = tuple(
        (
            _words(one.name), _number(one.reference), _number(one.new), f"{one.distance:.3f}", f"{one.p_corrected:.3g}",
            "differs" if one.shown else "no difference shown",
        )
        for one in found.shifts
    )  # fmt: skip
    columns = ("property", "median, reference", "median, new", "distance", "p", "finding")
    return Table(columns, rows, frozenset({"property", "finding"}))


def _words(name: str) -> str:
    return FACTS.get(name, name)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"


def plain(found: Drift) -> dict[str, object]:
    """As JSON says it."""
    return {
        "model": found.model, "reference": str(found.reference.folder), "new": str(found.new.folder),
        "clips": {"reference": len(found.reference.paths), "new": len(found.new.paths)},
        "shifts": [{**vars(one), "shown": one.shown} for one in found.shifts],
        "farthest": [vars(one) for one in found.farthest], "outside": found.outside,
        "below_threshold": {"reference": found.below[0], "new": found.below[1]}, "drift": found.shown,
        "unreadable": [*found.reference.bad, *found.new.bad],
    }  # fmt: skip


def drift_html(found: Drift) -> str:
    """One page without outside requests: words, tables, a strip for each property."""
    blocks = document(found)
    return page(f"Drift of {found.new.folder.name}", _figure(found), PLAIN_SCRIPT, as_html(blocks[1:4]),
                as_html(blocks[4:]))  # fmt: skip


def strips(found: Drift) -> list[tuple[Shift, np.ndarray, np.ndarray, np.ndarray]]:
    """Of each property both samples as percent of their clips over the same bins."""
    rows = []
    for one in found.shifts:
        if one.name not in FACTS:
            continue
        old, new = found.reference.facts[one.name], found.new.facts[one.name]
        edges = np.histogram_bin_edges(np.concatenate([old, new]), BINS)
        shares = [100 * np.histogram(values, edges)[0] / len(values) for values in (old, new)]
        rows.append((one, edges, shares[0], shares[1]))
    return rows


def _figure(found: Drift) -> Object:
    rows = strips(found)
    total = len(rows) * (STRIP + 60)
    data: list[Object] = []
    layout: Object = {
        "height": total, "barmode": "overlay", "margin": {"l": 60, "r": 20, "t": 30, "b": 50},
        "legend": {"orientation": "h", "y": 1, "yanchor": "bottom"},
    }  # fmt: skip
    for at, (one, edges, *shares) in enumerate(rows):
        axis = "" if at == 0 else str(at + 1)
        top = 1 - at * (STRIP + 60) / total
        centres = ((edges[:-1] + edges[1:]) / 2).tolist()
        for values, colour, name in zip(shares, COLOURS, ("reference", "new"), strict=False):
            data.append(
                {
                    "type": "bar", "name": name, "legendgroup": name, "showlegend": at == 0, "x": centres,
                    "y": values.tolist(), "marker": {"color": colour, "opacity": 0.55}, "xaxis": f"x{axis}",
                    "yaxis": f"y{axis}", "hovertemplate": "%{y:.1f} % of " + name + "<extra></extra>",
                }
            )  # fmt: skip
        layout[f"xaxis{axis}"] = {"anchor": f"y{axis}", "title": {"text": _words(one.name)}, "zeroline": False}
        layout[f"yaxis{axis}"] = {"domain": [max(0.0, top - STRIP / total), top], "title": {"text": "clips (%)"}}
    return {"data": data, "layout": layout}
