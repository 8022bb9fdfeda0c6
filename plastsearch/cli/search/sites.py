"""`plastsearch sites`: which places of a network can change their width, from plain configuration alone."""

from typing import Annotated, Literal, get_args

import typer

from plastsearch.cli import completing, options
from plastsearch.cli.output import console, print_json, print_listing
from plastsearch.documents import Table
from plastsearch.spec.vocabulary import Model

COLUMNS = ("site", "kind", "width", "in steps of", "parameters per neuron", "kernel", "`neurons` counts")


def sites(
    model: Annotated[str, typer.Argument(help=options.listed(*get_args(Model)), autocompletion=completing.models)],
    preset: options.Preset = "tiny",
    source: Annotated[
        str | None, typer.Option("--from", help="A folder with weights; its config.json is read.")
    ] = None,
    bidirectional: Annotated[bool, typer.Option("--bidirectional", help="grnn: layers of two directions.")] = False,
    as_json: options.AsJson = False,
    activation: Annotated[
        Literal["own", "lif"], typer.Option(help="lif: of the spiking network; the sites are the same.")
    ] = "own",
) -> None:
    """List the sites of MODEL: names for `layers`, widths, the unit of `neurons`, parameters per neuron.

    Example: plastsearch sites wav2vec2 --preset base
    """
    from plastsearch.models.catalog import known_model, preset_widths
    from plastsearch.models.sites import UNITS, missing_sites, site_table
    from plastsearch.spec.model import ModelConfig

    preset_widths(known_model(model), preset)  # for its messages, which name what is known
    config = ModelConfig.model_validate(
        {
            "name": model, "preset": preset, "from": source, "bidirectional": bidirectional and model == "grnn",
            "activation": activation,
        }
    )  # fmt: skip
    found = site_table(config)
    missing = missing_sites(config)
    if as_json:
        listed = [
            {
                "name": row.name,
                "kind": row.kind,
                "neurons": row.neurons,
                "units": row.units,
                "step": row.step,
                "counts": UNITS[row.kind],
                "parameters_per_neuron": row.parameters_per_neuron,
                "kernel": row.kernel,
            }
            for row in found
        ]
        plain = config.model_dump(mode="json", by_alias=True)
        print_json({"model": plain, "sites": listed, "missing": missing})
        return
    kernels = any(row.kernel for row in found)
    rows = tuple(
        (row.name, row.kind, f"{row.neurons:,}", str(row.step), f"{row.parameters_per_neuron:,.0f}",
         *([str(row.kernel or "-")] if kernels else []), UNITS[row.kind])
        for row in found
    )  # fmt: skip
    columns = COLUMNS if kernels else tuple(name for name in COLUMNS if name != "kernel")
    title = f"{model} from {source}" if source else f"{model}, preset {preset}"
    print_listing(Table(columns, rows, frozenset({"site", "kind", "`neurons` counts"})), title)
    for reason in missing:
        console().print(f"Note: {reason}.")
