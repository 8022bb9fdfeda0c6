"""`plastsearch sync`: a store of MLflow brought level with a sweep's journal, an empty one too."""

from typing import Annotated

import typer

from plastsearch.cli import options
from plastsearch.cli.output import console, print_json


def sync(
    folder: options.SweepFolder,
    mlflow: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Store or server; else the sweep's own. env:NAME if it has a password."),
    ] = None,
    figures: Annotated[bool, typer.Option(help="Draw figures and tables for the sweep's own run, too.")] = True,
    register: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Log the folded models of the front, and register the best under NAME."),
    ] = None,
    models: Annotated[bool, typer.Option("--models", help="Log the folded models of the front.")] = False,
    alias: Annotated[str, typer.Option(help="Of the version that --register makes.")] = "champion",
    as_json: options.AsJson = False,
) -> None:
    """Bring MLflow level with a sweep's journal, and say what that took; a second time there is nothing to do.

    Example: plastsearch sync plastsearch-runs/w2v_layers --register detector

    What the journal has and MLflow lacks is written, each number once; nothing in the journal changes.
    """
    from plastsearch.errors import PlastsearchError
    from plastsearch.report.publish import render
    from plastsearch.tracking.journal import driver_lives, read
    from plastsearch.tracking.mlflow_models import check_names
    from plastsearch.tracking.mlflow_sync import synced

    check_names(register, alias if register else None)
    read(folder)
    if driver_lives(folder):
        raise PlastsearchError(
            f"{folder}: its driver lives and brings MLflow level itself; wait for its end, or see how far it is: "
            "the footer of its table says how many events MLflow still lacks"
        )
    done = synced(folder, mlflow, render if figures else None)
    logged: list[dict[str, object]] = []
    if models or register:
        from plastsearch.export.front_models import log_front

        logged = [one.plain for one in log_front(folder, done.place.uri, register, alias)]
    if as_json:
        print_json(done.plain | {"models": logged})
        return
    out = console()
    for line in [done.sentence, *(f"{one['model']}: {one['said']}" for one in logged)]:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
