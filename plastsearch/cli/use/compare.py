"""`plastsearch compare`: several detectors on the same clips."""

from pathlib import Path
from typing import Annotated

import typer

from plastsearch.cli import options
from plastsearch.cli.output import console, drawing, print_blocks, print_json


def compare(
    detectors: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C…]",
            help="Models (SWEEP:best, SWEEP:17, an exported folder) or score files; the first is what others are held "
            "against.",
        ),
    ],
    protocol: Annotated[
        Path | None,
        typer.Option("--protocol", "-p", help="Classes, attacks and speakers; trials of one sweep may do without."),
    ] = None,
    audio: Annotated[Path | None, typer.Option(help="The folder of the protocol's clips.")] = None,
    subset: Annotated[str | None, typer.Option(help="Of a 2021 key: eval (default), progress or hidden.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write page, pictures, tables and JSON into this folder.")] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Each against each, not only against the first.")
    ] = False,
    replicates: Annotated[int, typer.Option(min=20, max=100_000, help="Bootstrap replicates.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Say whether detectors differ: EER, minDCF and Cllr with paired intervals, attacks, DET curves, unlike clips.

    Example: plastsearch compare runs/w2v_layers:best runs/w2v_layers:0 --out comparison
    """
    from plastsearch.compare.arms import gather
    from plastsearch.compare.comparison import compare as compared
    from plastsearch.compare.document import document

    with drawing() as (progress, _):
        clips, arms = gather(detectors, protocol, audio, subset, device, progress)
    found = compared(clips, arms, all_pairs=all_pairs, replicates=replicates, seed=seed)
    files: dict[str, str] = {}
    if out is not None:
        from plastsearch.compare.files import write

        files = {name: str(path) for name, path in write(found, out).items()}
    if as_json:
        print_json({**found.plain(), "files": files})
        return
    print_blocks(console(), document(found))
    if out is not None:
        console().print(f"\nPage: {files['compare.html']}", markup=False)
