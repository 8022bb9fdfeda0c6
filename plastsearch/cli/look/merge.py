"""`plastsearch merge`: several sweeps as one folder, which is read as any sweep is."""

from pathlib import Path
from typing import Annotated

import typer

from plastsearch.cli import completing, options
from plastsearch.cli.output import console, print_json
from plastsearch.words import shown


def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="SWEEP...", help="Folders of sweeps that have ended.", autocompletion=completing.sweeps),
    ],
    out: Annotated[Path, typer.Option(help="The new sweep's folder.")],
    as_json: options.AsJson = False,
) -> None:
    """Join sweeps (seeds, machines, corpora) that ask the same into one; the given folders stay as they are.

    Example: plastsearch merge plastsearch-runs/seed0 plastsearch-runs/seed1 --out plastsearch-runs/both
    """
    from dataclasses import asdict

    from plastsearch.joining.merging import merge as merge_sweeps

    found = merge_sweeps(folders, out)
    if as_json:
        print_json(asdict(found) | {"folder": str(found.folder)})
        return
    said = console()
    for note in found.notes:
        said.print(f"Note: {shown(note)}", markup=False)
    said.print(f"{found.trials} runs of {shown(', '.join(found.sweeps))} are in {shown(out)}", markup=False)
    for count, words in (
        (found.further_seeds, "are further seeds of a trial of an earlier sweep"),
        (found.again, "are the very same run as one of an earlier sweep, and count once"),
        (found.apart, "are on other clips than the first sweep's, and stand apart"),
    ):
        if count:
            said.print(f"  {count} {words}", markup=False)
    said.print(f"Next: plastsearch report {shown(out)}", markup=False)
