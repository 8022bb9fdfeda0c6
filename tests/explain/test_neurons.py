"""New neurons are the ones that growth added, and those that stayed are told from the weights."""

import numpy as np
import pytest
import torch

from plastsearch.errors import PlastsearchError
from plastsearch.explain.clips import Labelled
from plastsearch.explain.neurons import (
    PERMUTATIONS,
    _chance,
    _neurons,
    added_units,
    answers,
    aucs,
    kept_units,
    survivors,
)
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.survey import find_sites
from plastsearch.use.references import parse
from plastsearch.use.stages import stages_from_sweep
from tests.found_models import SITES

NETWORKS = list(SITES)


@pytest.mark.parametrize("network", NETWORKS)
def test_taking_out_the_neurons_that_are_said_to_be_gone_gives_the_pruned_network(found_root, network):
    stages = stages_from_sweep(parse(f"{found_root / network}:2"))
    grown, pruned = stages.network(stages.last("retrain")), stages.network(stages.last("prune"))
    added = added_units(stages)
    assert list(added) == [SITES[network]]
    kept = kept_units(grown, pruned, SITES[network])
    site = find_sites(grown)[SITES[network]]
    assert len(kept) == site.units
    assert (~kept).sum() == added[SITES[network]]
    new = survivors(stages, grown, added)[SITES[network]]
    assert len(new) == added[SITES[network]]
    remove_neurons_(grown, {SITES[network]: np.flatnonzero(~kept).tolist()})
    state = pruned.state_dict()
    for name, tensor in grown.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("network", NETWORKS)
def test_the_last_stage_is_the_model_itself_and_the_first_the_baseline(found_root, network):
    from plastsearch import load_model

    stages = stages_from_sweep(parse(f"{found_root / network}:2"))
    model = load_model(f"{found_root / network}:2")
    wave = torch.randn(1, model.window_samples, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stages.network(stages.chain[-1])(wave), model.detector(wave))
    sizes = [
        sum(p.numel() for p in stages.network(stages.last(name)).parameters()) for name in ("train", "retrain", "prune")
    ]
    assert sizes[0] == sizes[2] < sizes[1]


def made(means):
    """Clips of two attacks with these activations of one site's new neurons."""
    count = len(means)
    kinds = np.array(["-", "A01", "-", "A02"] * (count // 4))
    ids = np.array([f"c{n}" for n in range(count)])
    return Labelled("made", ids, kinds == "-", kinds, np.full(count, "-"), lambda n: None, count)


def test_a_planted_neuron_is_found_with_its_attack_and_noise_is_not():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(200, 8))
    clips = made(means)
    means[clips.attacks == "A02", 3] += 4
    found = _neurons("gru.1", means, 48 + 8, clips, None)
    chance = _chance(means, clips.is_bona, 0)
    assert (found[0].unit, found[0].site) == (48 + 3, "gru.1")
    assert abs(found[0].by_attack[0]) < 0.6
    assert found[0].by_attack[1] == pytest.approx(4, abs=0.6)
    assert {driver.attack for driver in found[0].drivers} == {"A02"}
    assert [one.unit for one in found if abs(one.auc - 0.5) > chance] == [48 + 3]


def test_chance_is_what_the_best_of_all_reaches_in_a_twentieth_of_deals():
    rng = np.random.default_rng(1)
    is_bona = np.arange(60) % 2 == 0
    bound = np.mean([_chance(rng.normal(size=(60, 12)), is_bona, seed) for seed in range(5)])
    best = [abs(aucs(rng.normal(size=(60, 12)), ~is_bona) - 0.5).max() for _ in range(400)]
    assert 0.02 < np.mean(np.array(best) > bound) < 0.09
    assert PERMUTATIONS >= 200


def test_a_trial_that_grew_nothing_is_refused(found_root):
    with pytest.raises(PlastsearchError, match="grew no neurons; name one that did"):
        added_units(stages_from_sweep(parse(f"{found_root / 'grnn'}:0")))


def test_answers_are_about_the_new_units_alone(found_root):
    stages = stages_from_sweep(parse(f"{found_root / 'grnn'}:1"))
    rng = np.random.default_rng(0)
    clips = made(np.zeros(16))
    waves = rng.normal(0, 0.1, (16, 8000)).astype(np.float32)
    clips = Labelled(**{**vars(clips), "wave": lambda n: waves[n]})
    found = answers(stages, clips, torch.device("cpu"), 0, lambda _: None)
    assert sorted(one.unit for one in found.neurons) == [48, 49, 50, 51]
    assert len(found.old["gru.1"]) == 48
    assert not found.pruned
    assert found.turnover == ()
    assert found.attacks == ("A01", "A02")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["adaptive", "lora_growth", "parallel"])
def test_other_ways_to_grow_have_new_neurons_too(tmp_path, method):
    from tests.found_models import trained_sweep

    changes = {"model": {"name": "resnet18"}, "layers": ("layer3.0", "layer4.0"), "neurons": 8}
    how = {"method": "dropin", "operator": "parallel"} if method == "parallel" else {"method": method}
    base = {"model": {"name": "resnet18"}, "method": "baseline"}
    folder = trained_sweep(tmp_path, tmp_path / "cache", "made", [base, {**changes, **how}])
    stages = stages_from_sweep(parse(f"{folder}:1"))
    waves = np.random.default_rng(0).normal(0, 0.1, (16, 8000)).astype(np.float32)
    clips = Labelled(**{**vars(made(np.zeros(16))), "wave": lambda n: waves[n]})
    found = answers(stages, clips, torch.device("cpu"), 0, lambda _: None)
    added = added_units(stages)
    assert sum(added.values()) == len(found.neurons) > 0
    baseline = find_sites(stages.network(stages.last("train")))
    assert all(one.unit >= baseline[one.site].units for one in found.neurons)
