"""The card's drawing: a bar for each site, what it had, what was added and stayed, what was taken away again."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plastsearch.export.grown import GrownSite

BASE, KEPT, GONE = "#9a9a9a", "#0072b2", "#d55e00"
ROW = 0.27  # inches
MOST_ROWS = 40


def grown_picture(sites: Sequence[GrownSite], name: str, path: Path) -> None:
    """From the first site at the top to the last; hatched is what is not in the model any more."""
    if len(sites) > MOST_ROWS:  # sites of a kind that did not grow anywhere say nothing
        kinds = {_kind(one) for one in sites if one.added}
        sites = [one for one in sites if _kind(one) in kinds] or sites
    figure = Figure(figsize=(6.4, 1.3 + ROW * len(sites)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rows = range(len(sites))
    old = [one.before - one.removed_old for one in sites]
    kept = [one.kept for one in sites]
    gone = [one.removed_old + one.removed_new for one in sites]
    axes.barh(rows, old, color=BASE, label="of the original network")
    if any(kept):
        axes.barh(rows, kept, left=old, color=KEPT, label="added and kept")
    cut = [row for row in rows if gone[row]]
    if cut:
        ends, lengths = [old[row] + kept[row] for row in cut], [gone[row] for row in cut]
        axes.barh(
            cut, lengths, left=ends, facecolor="none", edgecolor=GONE, hatch="////", lw=0.8, label="taken away again"
        )
    for row, one in enumerate(sites):
        if one.added or gone[row]:
            change = f"+{one.added}" + (f" - {gone[row]}" if gone[row] else "")
            place = (one.before + one.added, row)
            axes.annotate(change, place, xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(list(rows), [one.name for one in sites], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("neurons")
    axes.set_title(f"Where {name} grew", fontsize=11, loc="left")
    axes.margins(x=0.12)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", dpi=130, metadata={"Software": None})


def _kind(site: GrownSite) -> str:
    return site.name.rpartition(".")[2] if site.name.startswith("encoder.") else ""
