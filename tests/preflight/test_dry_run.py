"""A dry run counts what would be built: its figures equal those of networks that were really grown."""

import copy

import pytest
import torch

from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build
from plastsearch.preflight.dry_run import dry_run, shared
from plastsearch.preflight.forecast import ForecastRequest
from plastsearch.preflight.forecast_child import answer, grown_parameters
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.sweep import SweepSpec

GROWTHS = [
    ("wav2vec2", {"encoder.3.ffn": 64, "encoder.1.attention": 24, "encoder.2.head_width": 8}),
    ("resnet18", {"layer1.0": 8, "layer1.1": 4, "layer4.1": 5}),
    ("grnn", {"gru.0": 8, "gru.1": 16, "gru.2": 4}),
]


@pytest.mark.parametrize(("name", "growth"), GROWTHS)
@pytest.mark.parametrize(("mode", "lateral"), [("unfrozen", "both"), ("frozen", "into_new"), ("frozen", "both")])
def test_counts_equal_a_grown_network(name, growth, mode, lateral):
    module = build(name, "tiny")
    counted = grown_parameters(module, find_sites(module), growth, apart=mode == "frozen" and lateral == "into_new")
    grown = copy.deepcopy(module)
    add_neurons_(grown, growth, mode=mode, lateral=lateral, generator=torch.Generator())
    assert counted == sum(one.numel() for one in grown.parameters())


def test_the_catalog_agrees_where_costs_are_linear():
    from plastsearch.models.sites import site_table
    from plastsearch.spec.model import ModelConfig

    module = build("wav2vec2", "tiny")
    untouched = sum(one.numel() for one in module.parameters())
    for row in site_table(ModelConfig()):
        grown = grown_parameters(module, find_sites(module), {row.name: row.step}, apart=True)
        assert grown - untouched == row.parameters_per_neuron * row.step


def test_unknown_counts_are_not_made_up():
    config = TrialConfig(method="stack", layers=("encoder.0.ffn",), neurons=16)
    assert answer(ForecastRequest(configs=(config,))).counts == (None,)


@pytest.mark.slow
def test_a_forecast():
    spec = SweepSpec.model_validate({
        "base": {"method": "plasticity", "train": {"steps": 40}},
        "space": {"layers": {"kind": "subset", "of": "encoder.*.ffn", "max": 3},
                  "neurons": {"kind": "int", "low": 16, "high": 64, "step": 16},
                  "criterion": {"kind": "choice", "of": ["taylor", "entropy"]}},
        "constraints": ["params_total <= 1.05 * baseline"],
    })  # fmt: skip
    forecast = dry_run(spec, measure=False)
    least, middle, most = forecast.params_total
    assert forecast.size == 328
    assert forecast.params_baseline < least < middle < most
    assert least == forecast.params_baseline + 16 * 97
    assert 0 < forecast.infeasible < 1
    assert (forecast.steps, forecast.runs, forecast.trial_s) == (40, 24 + 3 + 3 * (3 + 1), None)


def test_sharing_counts_each_stage_once():
    one = TrialConfig(method="plasticity", layers=("encoder.0.ffn",), neurons=16)
    other = one.model_copy(update={"criterion": "entropy"})
    wider = one.model_copy(update={"neurons": 32})
    assert shared([one]) == 0
    assert shared([one, other]) == pytest.approx(0.75 / 2)
    assert shared([one, wider]) == pytest.approx(0.5 / 2)
    assert shared([one, one.model_copy(update={"seed": 1})]) == 0
