"""`plastsearch export`: a found model as a folder for others."""

from pathlib import Path
from typing import Annotated

import typer

from plastsearch.cli import options
from plastsearch.cli.output import console, print_json


def export(
    model: Annotated[str, typer.Argument(help="SWEEP:best, SWEEP:17, SWEEP:17/seed3, a folder, an MLflow model.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export; never anything else.")] = False,
    transformers: Annotated[
        bool | None,
        typer.Option("--transformers/--no-transformers", help="A folder for transformers in it; else for encoders."),
    ] = None,
    model_license: Annotated[str | None, typer.Option("--license", help="Of the weights, e.g. apache-2.0.")] = None,
    data_license: Annotated[str | None, typer.Option(help="Of the data it was trained on, for the card.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also as model.onnx, from waves to scores.")] = False,
    mlflow: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Also log it there: http://…, sqlite:///FILE or env:NAME.")
    ] = None,
    register: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --mlflow: as this registered model.")
    ] = None,
    alias: Annotated[str | None, typer.Option(metavar="NAME", help="With --register, e.g. champion.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a found model into a folder: weights, one file of plain PyTorch, a transformers folder, its card."""
    from plastsearch.export.export import Asked
    from plastsearch.export.export import export as write
    from plastsearch.export.extras import Extras
    from plastsearch.files import typed_path
    from plastsearch.use.load import load

    extras = Extras(onnx, mlflow, register, alias)
    extras.check()
    asked = Asked(force, transformers, model_license, data_license, extras)
    exported = write(load(model, "cpu"), typed_path(str(folder)), asked)
    if as_json:
        print_json({"folder": str(exported.folder), "files": exported.files, "notes": exported.notes})
        return
    out = console()
    out.print(f"{exported.folder}: {', '.join(exported.files)}", markup=False, highlight=False)
    for note in exported.notes:
        out.print(note, markup=False, highlight=False)
