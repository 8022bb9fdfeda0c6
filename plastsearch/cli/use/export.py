"""`plastsearch export`: a found model as a folder for others."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from plastsearch.cli import options
from plastsearch.cli.output import console, print_json


def export(
    model: options.ModelName,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export; never anything else.")] = False,
    transformers: Annotated[
        bool | None,
        typer.Option("--transformers/--no-transformers", help="A folder for transformers in it; else for encoders."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Of the card; else the model's name.")] = None,
    model_license: Annotated[str | None, typer.Option("--license", help="Of the weights, e.g. apache-2.0.")] = None,
    data_license: Annotated[str | None, typer.Option(help="Of the data it was trained on, for the card.")] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="An ONNX file, compared with the network (plastsearch[onnx]).")
    ] = False,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="Log it as a model there; env:NAME if there is a password.")
    ] = None,
    register: Annotated[str | None, typer.Option(help="Register it in that MLflow under this name.")] = None,
    alias: Annotated[str | None, typer.Option(help="Of the registered version, e.g. champion.")] = None,
    arena: Annotated[
        str | None,
        typer.Option(
            metavar="DATA_SET", help="Files for the arena's data set of that name; with --repository, --scores."
        ),
    ] = None,
    repository: Annotated[
        str | None, typer.Option(help="For --arena: organisation/name of the model's repository.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="For --arena: the score file of that data set; or --protocol and --audio.")
    ] = None,
    protocol: Annotated[Path | None, typer.Option(help="For --arena without --scores: classes of the clips.")] = None,
    audio: Annotated[Path | None, typer.Option(help="The folder of the protocol's clips.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="For --arena: your answers in its sheet, a meta.yaml of the arena's own form.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a found model into a folder: weights, one file of plain PyTorch, a transformers folder, its card.

    Example: plastsearch export runs/w2v_layers:best detector/ --onnx
    """
    from plastsearch.export.arena_scores import Entry, write_entry
    from plastsearch.export.attack_intervals import with_attack_intervals
    from plastsearch.export.export import Asked, Part
    from plastsearch.export.export import export as write
    from plastsearch.export.extras import Extras, write_extras
    from plastsearch.files import typed_path
    from plastsearch.use.load import load
    from plastsearch.use.references import parse

    asked = Asked(force, transformers, title, model_license, data_license)
    extras = Extras(onnx, mlflow, register, alias)
    extras.check()
    entry = Entry.asked(arena, repository, scores, protocol, audio, sheet)
    loaded = load(model, "cpu")
    loaded.facts = with_attack_intervals(loaded.facts, parse(model))
    within: list[Part] = [lambda made, draft: write_extras(made, draft, replace(extras, mlflow=None))]
    if entry is not None:
        within.append(lambda made, draft: write_entry(made, draft, entry))
    exported = write(loaded, typed_path(str(folder)), asked, within)
    exported.notes += write_extras(loaded, exported.folder, replace(extras, onnx=False))
    if as_json:
        print_json({"folder": str(exported.folder), "files": exported.files, "notes": exported.notes})
        return
    out = console()
    out.print(f"{exported.folder}: {', '.join(exported.files)}", markup=False, highlight=False)
    for note in exported.notes:
        out.print(note, markup=False, highlight=False)
