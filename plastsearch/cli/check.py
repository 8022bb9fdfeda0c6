"""`plastsearch check`: every mistake of a search space at once, then what it would search. Imports no torch."""

from pathlib import Path
from typing import Annotated, Any

import typer


def check(
    space: Annotated[Path, typer.Argument(help="A search space's YAML file.")],
    no_data: Annotated[bool, typer.Option("--no-data", help="Do not look whether the corpus is there.")] = False,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a value, as in `sweep`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")] = False,
) -> None:
    """Validate SPACE: each mistake with file, line and key; then its size, sites, objectives and budget.

    Exit status 2 if there is a mistake.
    """
    from plastsearch.cli.output import print_error, print_json
    from plastsearch.errors import SpecError
    from plastsearch.spec.load import read_sweep
    from plastsearch.sweep.preflight import Findings, examine

    findings, spec = Findings(), None
    try:
        reading = read_sweep(space, sets or [])
        mistakes, spec = reading.mistakes, reading.spec
        if spec is not None:
            findings = examine(spec, data=not no_data)
            mistakes += [
                reading.document.say(path, message)
                for path, message in findings.mistakes
                if not _read_before(path, reading.dropped)
            ]
    except SpecError as error:
        mistakes = error.mistakes
    if mistakes or spec is None:
        if as_json:
            print_json({"file": str(space), "ok": False, "mistakes": mistakes})
        else:
            print_error("\n".join(mistakes))
        raise typer.Exit(2)
    document = {"file": str(space), "ok": True, **describe(spec, findings)}
    print_json(document) if as_json else _print(document)


def describe(spec: Any, findings: Any) -> dict[str, Any]:
    """What a valid space asks, as plain data."""
    from plastsearch.spec.coherence import describe_domain

    search, found = spec.search, findings.space
    limits = {
        "wall_s": search.wall_s,
        "gpu_hours": search.gpu_hours,
        "target_hypervolume": search.target_hypervolume,
        "stagnation": search.stagnation,
    }
    return {
        "name": spec.name,
        "question": spec.question,
        "model": spec.base.model.model_dump(mode="json", by_alias=True),
        "sites": list(found.candidates),
        "space": {key: describe_domain(domain) for key, domain in spec.space.items()},
        "size": found.size,
        "parameters": len(found.parameters),
        "objectives": [one.model_dump(mode="json") for one in spec.objectives],
        "constraints": list(spec.constraints),
        "budget": {
            "trials": search.trials,
            "controls": list(spec.controls),
            "finalists": spec.runs.finalists,
            "runs": spec.runs.total,
            **{key: value for key, value in limits.items() if value is not None},
        },
        "sampler": search.sampler,
        "halt": spec.halt.kind,
        "notes": list(findings.notes),
        "hash": spec.spec_hash(),
    }


def _read_before(path: tuple[str | int, ...], dropped: frozenset[str]) -> bool:
    """Whether a place was refused already, so that what stands there now is only a default."""
    if path[:1] == ("space",) and len(path) > 1:
        return str(path[1]) in dropped
    dotted = ".".join(str(part) for part in path)
    return any(one and (dotted == one or dotted.startswith(one + ".")) for one in dropped)


def _print(document: dict[str, Any]) -> None:
    from rich.table import Table

    from plastsearch.cli.output import console

    out = console()
    out.print(f"{document['file']}: no mistakes", markup=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    size = document["size"]
    budget = dict(document["budget"])
    rows = {
        "question": document["question"] or "-",
        "size": "infinite (a range without steps)" if size is None else f"{size:,} configurations",
        "sites": ", ".join(document["sites"]) or "-",
        **{f"  {key}": text for key, text in document["space"].items()},
        "objectives": ", ".join(f"{one['goal']} {one['metric']}" for one in document["objectives"]),
        "constraints": ", ".join(document["constraints"]) or "-",
        "trials": f"{budget.pop('trials')} by sampler {document['sampler']}, halting {document['halt']}",
        "controls": ", ".join(budget.pop("controls")) or "-",
        "finalists": f"{budget.pop('finalists')} runs",
        "runs": f"{budget.pop('runs')} at most",
        **{key: str(value) for key, value in budget.items()},
    }
    for name, text in rows.items():
        table.add_row(name, _escaped(text))
    out.print(table)
    for note in document["notes"]:
        out.print(f"Note: {note}.", markup=False)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def print_dry_run(spec: Any, as_json: bool, cache: Path, cache_max_gb: float | None) -> None:
    """What `sweep --dry-run` says: size, networks, cost, sharing, room."""
    from plastsearch.cli.output import console, print_json
    from plastsearch.sweep.dry_run import dry_run, plain

    forecast = dry_run(spec, cache=cache, cache_max_gb=cache_max_gb)
    if as_json:
        print_json({"name": spec.name, **plain(forecast)})
        return
    out = console()
    unknown = "not known yet"
    size = "no end of" if forecast.size is None else f"{forecast.size:,}"
    lines = [
        f"{spec.name}: {size} configurations; {forecast.sampled:,} sampled, {forecast.distinct:,} of them distinct"
    ]
    if forecast.params_total is not None:
        least, middle, most = forecast.params_total
        lines.append(
            f"parameters: {forecast.params_baseline:,} untouched, {least:,} to {most:,} grown, median {middle:,}"
        )
    if forecast.infeasible is not None:
        lines.append(f"beyond the constraints on parameters: {forecast.infeasible:.1%} of the samples")
    cost = unknown
    if forecast.trial_s is not None and forecast.total_s is not None:
        cost = f"{forecast.trial_s:,.0f} s a trial at most, {forecast.total_s / 60:,.1f} min for {forecast.runs} runs"
        cost += f" one after the other ({forecast.device}, {1e3 * (forecast.step_s or 0):,.0f} ms a step)"
    lines.append(f"cost: {cost}")
    lines.append(f"sharing stages between trials saves about {forecast.saved:.0%} of the search's steps")
    if forecast.kept is not None:
        lines.append(forecast.kept.text())
    for line in lines:
        out.print(line, markup=False)
