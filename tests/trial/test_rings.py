"""A trial whose kernels grow: what it adds, counts and takes away again, and what is one trial with another."""

import sys
from pathlib import Path

import pytest
import torch

from plastsearch.errors import TrialError
from plastsearch.growth.folding import fold_
from plastsearch.models.sites import site_table
from plastsearch.preflight.forecast_child import ring_parameters
from plastsearch.search.canonical import canonical
from plastsearch.spec.config import TrialConfig
from plastsearch.trial.lora import dropin_parameters
from plastsearch.trial.methods import check, stages_of
from plastsearch.trial.networks import blank, load_weights, new_network
from plastsearch.trial.run import run_trial

sys.path.insert(0, str(Path(__file__).parent))
from conftest import make_config, steady

CPU = torch.device("cpu")
SITES = ("layer1.0", "layer3.0")
ADDED = 16 * (2 * 8 * 8 + 16 * 32 + 32 * 32)  # taps of the ring × filters of both convolutions of both blocks


def ring(**changes: object) -> TrialConfig:
    settings = {"method": "plasticity", "operator": "ring", "layers": SITES, "neurons": 0, **changes}
    return make_config(model={"name": "resnet18"}, train={"steps": 6, "evaluations": 1, "batch_size": 4}, **settings)


@pytest.mark.parametrize("regime", ["frozen", pytest.param("unfrozen", marks=pytest.mark.slow)])
def test_a_trial_grows_kernels_and_cuts_them_back(regime, settings) -> None:
    *_, first = run_trial(ring(regime=regime), settings())
    stages = {stage["stage"]: stage for stage in first.details["stages"]}
    assert stages["dropin"]["kernels"] == {"layer1.0": 5, "layer3.0": 5}
    assert stages["dropin"]["insertion_error"] == pytest.approx(0.0, abs=1e-5)
    assert stages["prune"]["kernels"] == {"layer1.0": 3, "layer3.0": 3}
    metrics = first.metrics
    assert metrics["params_added"] == ADDED
    assert metrics["params_final"] == metrics["params_baseline"]
    assert (metrics["params_trainable"] < 2 * ADDED) == (regime == "frozen")
    assert metrics["turnover"] == 1.0
    *_, second = run_trial(ring(regime=regime), settings())
    assert {stage["from"] for stage in second.details["stages"]} == {"resumed"}
    assert steady(second) == pytest.approx(steady(first), rel=1e-6)


@pytest.mark.parametrize(("keep", "taps"), [(0.0, 3), (0.5, 5), (1.0, 7)])
def test_what_stays_has_its_shape_again(keep, taps) -> None:
    config = ring(kernel=7, keep=keep)
    stages = stages_of(config, 48)
    grown = blank(config, stages[:2], CPU)
    fold_(grown.module, verify=False)
    assert grown.rings is not None
    grown.rings.cut_(grown.module, keep)
    again = blank(config, stages, CPU)
    load_weights(again, grown.module.state_dict())
    assert again.module.layer3[0].conv2.kernel_size == (taps, taps)


def test_forecast_and_lora_count_what_the_trial_adds() -> None:
    config = ring(method="dropin")
    module = new_network(config).module
    assert ring_parameters(module, config.growth()) == ADDED
    assert dropin_parameters(module, config, "frozen") == dropin_parameters(module, config, "unfrozen") == ADDED


def test_what_rings_do_not_read_makes_no_other_trial() -> None:
    order = [row.name for row in site_table(ring().model)]
    plain = canonical(ring(), order)
    other = ring(neurons=8, init="copies", criterion="random", pool="added", compensate="mean", layers=SITES[::-1])
    assert canonical(other, order) == plain
    assert canonical(plain, order) == plain
    assert canonical(ring(kernel=7), order).trial_id() != plain.trial_id()
    wide = ring(operator="widen", neurons=8)
    assert canonical(wide.model_copy(update={"kernel": 9}), order) == canonical(wide, order)
    adaptive = ring(method="adaptive", neurons=8)
    assert adaptive.growth() == {"layer1.0": 8, "layer3.0": 8}
    assert canonical(adaptive, order).operator == "widen"
    adapters = canonical(ring(method="lora", rank=2), order)
    assert adapters.layers == SITES
    assert canonical(adapters, order) == adapters


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": 3}, "kernel: site 'layer1.0': its kernel has 3 taps already"),
        ({"layers": ()}, "operator ring grows kernels, but at no site: give `layers`"),
        ({"layers": ("layer9.0",)}, "no site 'layer9.0' in resnet18"),
        ({"method": "lora_growth"}, "operator ring grows kernels, which lora_growth cannot share out"),
    ],
)
def test_what_cannot_grow_is_refused_before_anything_trains(changes, message) -> None:
    with pytest.raises(TrialError, match=message):
        check(ring(**changes))


def test_a_network_without_kernels_is_refused() -> None:
    with pytest.raises(TrialError, match=r"kernel: site 'gru\.0' has no kernel that a ring could grow"):
        check(make_config(method="dropin", operator="ring", layers=("gru.0",)))


def test_an_even_kernel_is_none() -> None:
    with pytest.raises(ValueError, match="a kernel of 4 taps has no middle"):
        ring(kernel=4)
