"""`plastsearch sites`: which places of a network can change their width, from plain configuration alone."""

from typing import Annotated, Any

import typer


def sites(
    model: Annotated[str, typer.Argument(help="wav2vec2, resnet18 or grnn.")],
    preset: Annotated[str, typer.Option(help="tiny, small, base or large.")] = "tiny",
    source: Annotated[
        str | None, typer.Option("--from", help="A folder with weights; its config.json is read.")
    ] = None,
    bidirectional: Annotated[bool, typer.Option("--bidirectional", help="grnn: layers of two directions.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """List the sites of MODEL: names for `layers`, widths, the unit of `neurons`, parameters per neuron."""
    from plastsearch.cli.output import console, print_json
    from plastsearch.models.catalog import known_model, missing_sites, preset_widths, site_table
    from plastsearch.spec.config import ModelConfig

    preset_widths(known_model(model), preset)
    config = ModelConfig.model_validate(
        {"name": model, "preset": preset, "from": source, "bidirectional": bidirectional and model == "grnn"}
    )
    rows, missing = site_table(config), missing_sites(config)
    if as_json:
        print_json(_document(config, rows, missing))
        return
    console().print(_table(f"{model} from {source}" if source else f"{model}, preset {preset}", rows))
    for reason in missing:
        console().print(f"Note: {reason}.")


def _document(config: Any, rows: list[Any], missing: list[str]) -> dict[str, Any]:
    from plastsearch.models.catalog import UNITS

    return {
        "model": config.model_dump(mode="json", by_alias=True),
        "sites": [
            {
                "name": row.name,
                "kind": row.kind,
                "neurons": row.neurons,
                "units": row.units,
                "step": row.step,
                "counts": UNITS[row.kind],
                "parameters_per_neuron": row.parameters_per_neuron,
            }
            for row in rows
        ],
        "missing": missing,
    }


def _table(title: str, rows: list[Any]) -> Any:
    from rich.table import Table

    from plastsearch.models.catalog import UNITS

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("site", "kind"):
        table.add_column(name)
    for name in ("width", "in steps of", "parameters per neuron"):
        table.add_column(name, justify="right")
    table.add_column("`neurons` counts")
    for row in rows:
        cost = f"{row.parameters_per_neuron:,.0f}"
        table.add_row(row.name, row.kind, f"{row.neurons:,}", str(row.step), cost, UNITS[row.kind])
    return table
