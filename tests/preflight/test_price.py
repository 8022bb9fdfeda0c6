"""A dry run in money: time by price, by hand; what cannot be read is refused with an example."""

import json

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.preflight.dry_run import Forecast
from plastsearch.preflight.price import notes, parse_prices, price, table
from plastsearch.spec.sweep import SweepSpec

EXAMPLE = "such as --price gpu=2.5/h --price cpu=0.04/h"


def forecast(trial_s: float | None = 1800.0, device: str = "cuda:0") -> Forecast:
    return Forecast(
        size=None, sampled=1000, distinct=1000, params_baseline=1, params_total=None, infeasible=None, steps=10,
        step_s=0.1, device=device, trial_s=trial_s, runs=30, total_s=None if trial_s is None else 30 * trial_s,
        saved=0.25,
    )  # fmt: skip


def spec(**more: object) -> SweepSpec:
    return SweepSpec.model_validate({"search": {"trials": 20, **more}, "controls": [], "base": {"method": "baseline"}})


def test_prices_are_read():
    assert parse_prices(["gpu=2.5/h", "cpu=.04/h"]) == {"gpu": 2.5, "cpu": 0.04}


@pytest.mark.parametrize("said", ["gpu=2.5", "gpu=2.5/min", "tpu=1/h", "gpu=-1/h", "gpu=two/h", "2.5/h", ""])
def test_what_cannot_be_read_is_refused_with_an_example(said):
    with pytest.raises(PlastsearchError, match="cannot be read") as refused:
        parse_prices([said])
    assert EXAMPLE in str(refused.value)


def test_a_price_given_twice_is_refused():
    with pytest.raises(PlastsearchError, match="gpu has a price already"):
        parse_prices(["gpu=1/h", "gpu=2/h"])


def test_money_is_hours_by_price():
    """30 runs of half an hour are 15 hours; a quarter of the 20 searched ones, 2.5 hours, is shared."""
    priced = price(spec(), forecast(), {"gpu": 2.0, "cpu": 0.1})
    assert priced is not None
    assert (priced.at_most.gpu_hours, priced.at_most.cpu_hours, priced.at_most.money) == (15.0, 15.0, 31.5)
    assert (priced.shared.gpu_hours, priced.shared.money) == (12.5, 26.25)
    assert notes(priced) == []


def test_fractions_of_a_gpu_and_trials_at_a_time_count():
    asked = spec(parallel=3)
    asked = asked.model_copy(update={"resources": asked.resources.model_copy(update={"gpu": 0.5})})
    priced = price(asked, forecast(), {"gpu": 2.0})
    assert priced is not None
    assert (priced.at_most.gpu_hours, priced.at_most.elapsed_s, priced.at_most.trials_s) == (7.5, 18_000, 54_000)
    assert ("elapsed, 3 at a time", "5 h 00 min", "4 h 10 min") in table(priced)


def test_what_makes_the_figures_doubtful_is_said():
    limited = price(spec(gpu_hours=8), forecast(device="cpu"), {"gpu": 2.0})
    assert limited is not None
    assert [text.split(",")[0].split(" (")[0] for text in notes(limited)] == [
        "a step was timed on this machine's cpu", "the space ends the search at 8 GPU-hours",
    ]  # fmt: skip


def test_a_time_that_is_not_known_has_no_price():
    assert price(spec(), forecast(trial_s=None), {"gpu": 2.0}) is None


@pytest.mark.slow
def test_the_command_prints_money_as_a_table_and_as_json():
    line = ["sweep", "search_spaces/smoke.yaml", "--dry-run", "--price", "cpu=36/h", "--set", "resources.cpu=2"]
    document = json.loads(CliRunner().invoke(app, [*line, "--json"]).stdout)
    told = document["price"]
    assert told["at_most"]["money"] == pytest.approx(document["total_s"] * 2 * 36 / 3600)
    shown = CliRunner().invoke(app, line).stdout
    assert "with shared stages" in shown
    assert "GPU-hours" not in shown  # nobody priced a GPU, so no trial has one


def test_a_price_without_a_dry_run_is_refused():
    with pytest.raises(PlastsearchError, match="add --dry-run"):
        raise CliRunner().invoke(app, ["sweep", "search_spaces/smoke.yaml", "--price", "gpu=1/h"]).exception
