"""What a search space asks, as text and as JSON: for `check`, and for `sweep --dry-run`, what it would come to."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from plastsearch.cli.output import console, print_json, print_listing
from plastsearch.documents import Table as Listed
from plastsearch.preflight.checks import Findings
from plastsearch.spec.coherence import domain_words
from plastsearch.spec.sweep import SweepSpec

if TYPE_CHECKING:
    from plastsearch.preflight.price import Price


def space_json(spec: SweepSpec, findings: Findings) -> dict[str, object]:
    """What a valid space asks, as plain data."""
    search = spec.search
    found = findings.space
    assert found is not None  # a space that was examined without a mistake is there
    return {
        "name": spec.name,
        "question": spec.question,
        "model": spec.base.model.model_dump(mode="json", by_alias=True),
        "sites": list(found.candidates),
        "space": {key: domain_words(domain) for key, domain in spec.space.items()},
        "size": found.size,
        "parameters": len(found.parameters),
        "objectives": [one.model_dump(mode="json") for one in spec.objectives],
        "constraints": list(spec.constraints),
        "budget": {
            "trials": search.trials,
            "controls": list(spec.controls),
            "finalists": spec.runs.finalists,
            "runs": spec.runs.total,
            **_limits(spec),
        },
        "sampler": search.sampler,
        "halt": spec.halt.kind,
        "notes": list(findings.notes),
        "hash": spec.spec_hash(),
    }


def print_space(file: Path, spec: SweepSpec, findings: Findings) -> None:
    """The same for people."""
    assert findings.space is not None
    out = console()
    out.print(f"{file}: no mistakes", markup=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    search = spec.search
    size = findings.space.size
    rows = {
        "question": spec.question or "-",
        "size": "infinite (a range without steps)" if size is None else f"{size:,} configurations",
        "sites": ", ".join(findings.space.candidates) or "-",
        **{f"  {key}": domain_words(domain) for key, domain in spec.space.items()},
        "objectives": ", ".join(f"{one.goal} {one.metric}" for one in spec.objectives),
        "constraints": ", ".join(spec.constraints) or "-",
        **({"aims": "; ".join(one.text() for one in spec.aims)} if spec.aims else {}),
        "trials": f"{search.trials} by sampler {search.sampler}, halting {spec.halt.kind}",
        "controls": ", ".join(spec.controls) or "-",
        "finalists": f"{spec.runs.finalists} runs",
        "runs": f"{spec.runs.total} at most",
        **{key: str(value) for key, value in _limits(spec).items()},
    }
    for name, text in rows.items():
        table.add_row(name, escape(text))
    out.print(table)
    for note in findings.notes:
        out.print(f"Note: {note}.", markup=False)


def _limits(spec: SweepSpec) -> dict[str, float]:
    """What may end the search before its trials are spent, as far as it was given."""
    search = spec.search
    limits = {
        "wall_s": search.wall_s,
        "gpu_hours": search.gpu_hours,
        "target_hypervolume": search.target_hypervolume,
        "stagnation": search.stagnation,
    }
    return {key: value for key, value in limits.items() if value is not None}


def print_dry_run(
    spec: SweepSpec,
    as_json: bool,
    cache: Path,
    cache_max_gb: float | None,
    *,
    finalists: bool,
    prices: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """What `sweep --dry-run` says: size, networks, cost, sharing, room, what was noted before; with prices, money."""
    from plastsearch.preflight import price as pricing
    from plastsearch.preflight.dry_run import dry_run, plain  # builds networks, which `check` does not

    per_hour = pricing.parse_prices(prices)  # before the count, which takes seconds

    asked = spec.finalists if finalists else spec.finalists.model_copy(update={"top": 0})
    spec = spec.model_copy(update={"finalists": asked})
    forecast = dry_run(spec, cache=cache, cache_max_gb=cache_max_gb)
    priced = pricing.price(spec, forecast, per_hour) if per_hour else None
    if as_json:
        money = {"price": priced and pricing.plain(priced)} if per_hour else {}
        print_json({"name": spec.name, **plain(forecast), **money, "notes": list(notes)})
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
    if forecast.needs is not None:
        lines.append(forecast.needs.text())
    if forecast.kept is not None:
        lines.append(forecast.kept.text())
    if per_hour and priced is None:
        lines.append(f"money: {unknown}, for the time of a trial is not")
    for line in lines:
        out.print(line, markup=False)
    for note in notes:
        out.print(f"Note: {note}.", markup=False)
    if priced is not None:
        _print_price(priced)


def _print_price(priced: "Price") -> None:
    from plastsearch.preflight import price as pricing

    columns = ("", "at most", "with shared stages")
    print_listing(Listed(columns, tuple(pricing.table(priced)), frozenset({""})))
    for note in pricing.notes(priced):
        console().print(f"Note: {note}.", markup=False)
