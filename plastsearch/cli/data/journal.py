"""`plastsearch journal`: a sweep's journal whose lines a disk, an editor or a copy has damaged."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from plastsearch.cli import options
from plastsearch.cli.output import console, print_json
from plastsearch.words import shown

if TYPE_CHECKING:
    from rich.console import Console

    from plastsearch.tracking.reading import LeftOut

app = typer.Typer(help="A sweep's journal, trials.jsonl: mend it where lines are damaged.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command("repair")
def repair_journal(folder: options.SweepFolder, as_json: options.AsJson = False) -> None:
    """Take damaged lines out of a journal, keep them in a file beside it, and say what is lost with them.

    Example: plastsearch journal repair plastsearch-runs/w2v_layers

    A trial whose end is lost runs again with --resume (finished stages are kept); one whose proposal is lost goes.
    """
    from plastsearch.tracking.journal import FILE
    from plastsearch.tracking.repair import LEFT_OUT, repair

    left_out = repair(folder)
    if as_json:
        print_json({"sweep": str(folder), "left_out": [vars(one) for one in left_out]})
        return
    out = console()
    if not left_out:
        out.print(f"{shown(folder / FILE)}: every line is sound; nothing was changed", markup=False)
        return
    print_left_out(folder, left_out, out)
    out.print(f"They are kept in {shown(folder / LEFT_OUT)}.", markup=False)


def print_left_out(folder: Path, left_out: Sequence["LeftOut"], out: "Console") -> None:
    """Each line that is left out, why, and what becomes of its trial."""
    from plastsearch.tracking.journal import FILE
    from plastsearch.tracking.reading import shortened

    if not left_out:
        return
    out.print(f"{shown(folder / FILE)}: left out {len(left_out)} lines:", markup=False)
    for one in left_out:
        whose = "" if one.trial is None else f" (trial {one.trial})"
        out.print(f"  line {one.number}{whose}: {shown(shortened(one.why))}", markup=False)
    touched = sorted({one.trial for one in left_out if one.trial is not None})
    if touched:
        named = ", ".join(map(str, touched))
        out.print(
            f"Of trials {named} something is missing: without its proposal a trial is not there at all, without its "
            "end it counts as unfinished and --resume runs it again.", markup=False,
        )  # fmt: skip
