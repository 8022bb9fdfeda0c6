"""`plastsearch ls`: the sweeps below a folder, where each stands, and how good its best trial is."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plastsearch.cli import options
from plastsearch.cli.output import console, print_json, print_table
from plastsearch.documents import Table
from plastsearch.errors import PlastsearchError
from plastsearch.files import typed_path
from plastsearch.words import duration, shown

if TYPE_CHECKING:
    from plastsearch.tracking.standing import Standing

PATIENCE_S = 10.0
DAY_S = 86_400


def ls(
    folder: Annotated[Path, typer.Argument(help="Where to look; by default where sweeps are put.")] = Path(
        "plastsearch-runs"
    ),
    whole: Annotated[
        bool, typer.Option("--whole", help="Read every journal to its end, however long that takes.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """List the sweeps below a folder, newest first: state, trials, best objective, age.

    Example: plastsearch ls plastsearch-runs

    A sweep that has ended is told by the ends of its journal, so hundreds of them take a second.
    """
    from plastsearch.sweep.folder import SHARED
    from plastsearch.tracking.standing import sweeps_below

    root = typed_path(str(folder))
    if not root.is_dir():
        why = "is a file" if root.exists() else "there is no such folder"
        raise PlastsearchError(f"{root}: {why}; name a folder that holds sweeps, e.g. what --out was")
    found = sweeps_below(root, SHARED, float("inf") if whole else PATIENCE_S)
    now = time.time()
    for text in found.unread:
        sys.stderr.write(f"Note: {shown(text)}\n")
    if as_json:
        print_json({
            "folder": str(root), "sweeps": [one.plain(now) for one in found.sweeps], "unread": list(found.unread),
            "not_read_to_the_end": found.left,
        })  # fmt: skip
        return
    if not found.sweeps:
        console().print(f"{shown(root)}: no sweeps there; `plastsearch sweep` makes one", markup=False)
        return
    columns = ("sweep", "state", "trials", "best", "age")
    rows = tuple(_row(one, root, now) for one in found.sweeps)
    print_table(console(), Table(columns, rows, frozenset({"sweep", "state", "best"})))
    for one in found.sweeps:
        if one.why is not None:
            sys.stderr.write(f"Note: {shown(one.folder)}: {shown(one.why)}; `plastsearch journal repair` may help\n")
    if found.left:
        sys.stderr.write(
            f"Note: {found.left} journals do not end with how many trials there were, and were not read to their end "
            f"within {PATIENCE_S:g} s; --whole reads them\n"
        )


def _row(one: "Standing", root: Path, now: float) -> tuple[str, ...]:
    tally = one.tally
    trials = best = "?"
    if tally is not None:
        trials = f"{tally.ended}/{'?' if tally.planned is None else tally.planned}"
        trials += f", {tally.failed} failed" if tally.failed else ""
        best = "none" if tally.best is None else f"{one.metric} {tally.best:.4g}"
    where = one.folder.relative_to(root)
    return (
        shown(where if where.parts else one.folder), one.state, trials, best,
        "?" if one.heard_at is None else _age(now - one.heard_at),
    )  # fmt: skip


def _age(seconds: float) -> str:
    if seconds < 2 * DAY_S:
        return duration(max(0.0, seconds))
    return f"{seconds / DAY_S:.0f} days"
