"""`plastsearch drift`: whether new audio is like what a model knows."""

from pathlib import Path
from typing import Annotated

import typer

from plastsearch.cli import options
from plastsearch.cli.output import console, drawing, print_blocks, print_json


def drift(
    model: options.ModelName,
    reference: Annotated[Path, typer.Option(help="A folder of audio like that on which the model was judged.")],
    new: Annotated[Path, typer.Option(help="The folder of audio that came in.")],
    out: Annotated[Path | None, typer.Option(help="Write page and JSON into this folder.")] = None,
    most: Annotated[int, typer.Option(min=10, max=5000, help="Clips of each folder, spread evenly.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the permutations.")] = 0,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Test whether scores, features and plain properties of new audio differ from those of a reference.

    Example: plastsearch drift runs/w2v_layers:best --reference dev/ --new inbox/ --out drift
    """
    from plastsearch.compare.drift import drift as tested
    from plastsearch.compare.drift_document import document, drift_html, plain
    from plastsearch.compare.files import write_pages
    from plastsearch.compare.hearing import hear
    from plastsearch.use.load import load

    loaded = load(model, device)
    with drawing() as (progress, _):
        old, fresh = (hear(loaded, folder, most, progress) for folder in (reference, new))
    found = tested(loaded.facts.name, loaded.threshold(), old, fresh, seed)
    files: dict[str, str] = {}
    if out is not None:
        written = write_pages(out, "drift", plain(found), document(found), drift_html(found))
        files = {name: str(path) for name, path in written.items()}
    if as_json:
        print_json({**plain(found), "files": files})
        return
    print_blocks(console(), document(found))
    if out is not None:
        console().print(f"\nPage: {files['drift.html']}", markup=False)
