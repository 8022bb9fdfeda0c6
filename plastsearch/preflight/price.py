"""What a sweep would come to in money: a dry run's time by the price of what its trials hold meanwhile."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from plastsearch.errors import PlastsearchError
from plastsearch.preflight.dry_run import Forecast
from plastsearch.spec.sweep import SweepSpec
from plastsearch.words import duration

PRICED = ("gpu", "cpu")
_FORM = re.compile(r"([a-z]+)=(\d+(?:\.\d+)?|\.\d+)/h")


@dataclass(frozen=True)
class Amount:
    """One estimate, in the currency that the prices were given in."""

    trials_s: float  # of all trials, one after the other
    elapsed_s: float  # with as many at a time as the space says
    gpu_hours: float
    cpu_hours: float
    money: float


@dataclass(frozen=True)
class Price:
    """The most it may come to, and what is likely when trials share stages."""

    per_hour: Mapping[str, float]
    gpus_a_trial: float
    cpus_a_trial: float
    at_a_time: int
    at_most: Amount
    shared: Amount
    device: str  # on which a step was timed
    gpu_hours_limit: float | None  # at which the space itself ends the search


def parse_prices(said: Sequence[str]) -> dict[str, float]:
    """`gpu=2.5/h` → what an hour of one of them costs."""
    prices: dict[str, float] = {}
    for text in said:
        found = _FORM.fullmatch(text.strip())
        if found is None or found[1] not in PRICED:
            raise PlastsearchError(
                f"--price {text}: cannot be read; name {' or '.join(PRICED)} and what an hour of one costs, "
                "such as --price gpu=2.5/h --price cpu=0.04/h"
            )
        if found[1] in prices:
            raise PlastsearchError(f"--price {text}: {found[1]} has a price already; give each once")
        prices[found[1]] = float(found[2])
    return prices


def price(spec: SweepSpec, forecast: Forecast, prices: Mapping[str, float]) -> Price | None:
    """The forecast in money; None where its time is not known."""
    if forecast.trial_s is None or forecast.total_s is None:
        return None
    asked = spec.resources
    # As the cluster decides where the space does not: a GPU if there are any, and whoever prices them has some.
    gpus = asked.gpu if asked.gpu is not None else float("gpu" in prices)
    cpus = asked.cpu if asked.cpu is not None else 1.0
    at_a_time = spec.search.parallel or 1

    def amount(seconds: float) -> Amount:
        gpu_hours, cpu_hours = seconds * gpus / 3600, seconds * cpus / 3600
        money = gpu_hours * prices.get("gpu", 0.0) + cpu_hours * prices.get("cpu", 0.0)
        return Amount(seconds, seconds / at_a_time, gpu_hours, cpu_hours, money)

    saved = forecast.saved * forecast.trial_s * spec.search.trials
    return Price(
        per_hour=dict(prices),
        gpus_a_trial=gpus,
        cpus_a_trial=cpus,
        at_a_time=at_a_time,
        at_most=amount(forecast.total_s),
        shared=amount(forecast.total_s - saved),
        device=forecast.device or "cpu",
        gpu_hours_limit=spec.search.gpu_hours,
    )


def plain(priced: Price) -> dict[str, object]:
    """The price as plain data, for `--json`."""
    return asdict(priced)


def table(priced: Price) -> list[tuple[str, str, str]]:
    """Rows of: what, at most, with shared stages."""
    both = (priced.at_most, priced.shared)
    rows = [("time of all runs", *(duration(one.trials_s) for one in both))]
    if priced.at_a_time > 1:
        rows.append((f"elapsed, {priced.at_a_time} at a time", *(duration(one.elapsed_s) for one in both)))
    if priced.gpus_a_trial:
        rows.append(("GPU-hours", *(_rounded(one.gpu_hours) for one in both)))
    rows.append(("CPU-hours", *(_rounded(one.cpu_hours) for one in both)))
    rows.append(("money", *(_rounded(one.money) for one in both)))
    return [(what, most, shared) for what, most, shared in rows]


def _rounded(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 1 else f"{amount:.2g}"  # of a small sweep, 0.00 would say nothing


def notes(priced: Price) -> list[str]:
    """What to know about these figures."""
    said = []
    if "gpu" in priced.per_hour and not priced.device.startswith("cuda"):
        said.append(
            f"a step was timed on this machine's {priced.device}, not on the GPU that is priced: "
            "the same command on such a GPU tells its time"
        )
    if "gpu" in priced.per_hour and not priced.gpus_a_trial:
        said.append("resources.gpu is 0 in the space, so no trial pays for a GPU")
    if priced.gpu_hours_limit is not None:
        said.append(f"the space ends the search at {priced.gpu_hours_limit:g} GPU-hours (search.gpu_hours)")
    return said
