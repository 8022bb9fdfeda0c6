"""`plastsearch schema`: what editors need to complete and check a search space while it is written."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from plastsearch.words import shown

Kind = Annotated[Literal["space", "trial"], typer.Argument(help="Of a search space, or of one trial's configuration.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there; else to standard output.")]


def schema(kind: Kind = "space", out: Out = None) -> None:
    """Write the JSON Schema of search spaces, with which an editor completes, explains and checks them.

    Example: plastsearch schema space --out plastsearch.schema.json
    """
    from plastsearch.spec.schema import as_text

    text = as_text(kind)
    if out is None:
        typer.echo(text, nl=False)
        return
    from plastsearch.files import told, typed_path, whole_file

    place = typed_path(str(out))
    with told(place), whole_file(place) as draft:
        draft.write_text(text, encoding="utf-8")
    typer.echo(f"{shown(place)}: name it in a space's first lines: # yaml-language-server: $schema={shown(place.name)}")
