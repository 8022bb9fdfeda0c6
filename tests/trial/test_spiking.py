"""Trials of spiking networks: what they count, what they keep, what stands beside them."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plastsearch.errors import PlastsearchError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build, from_config, save_pretrained
from plastsearch.models.detector import Detector
from plastsearch.models.lif import LIF
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.model import ModelConfig
from plastsearch.trial.lora import add_lora_, merge_lora_
from plastsearch.trial.methods import stages_of
from plastsearch.trial.networks import blank, learn_, logits_from_wave, train_mode_
from plastsearch.trial.run import run_trial
from plastsearch.trial.spiking import SpikeCounter
from tests.exactness import adding_nothing, close
from tests.trial.conftest import SITES, alike, make_config, steady
from tests.trial.test_operations import same as operations_agree

LIVELY = {"resnet18": 0.5, "grnn": 0.05}  # thresholds at which untrained neurons fire
METHODS = {"baseline": "baseline", "unfrozen": "dropin", "lora": "lora"}
SLOW_RESNET = ["grnn", pytest.param("resnet18", marks=pytest.mark.slow)]


def network(name: str, **changes: Any) -> Detector:
    settings = {"activation": "lif", "time_steps": 3, "threshold": LIVELY[name], **changes}
    return build(name, **settings).eval()


def waves(clips: int = 3) -> Tensor:
    return torch.randn(clips, 4000, generator=torch.Generator().manual_seed(1))


def spiking(name: str, **changes: Any) -> TrialConfig:
    model = {"name": name, "activation": "lif", "time_steps": 2, "threshold": LIVELY[name]}
    return make_config(model=model, layers=(SITES[name],), method="plasticity", **changes)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_RESNET)
def test_a_trial_counts_spikes_at_every_stage_and_ends_alike_with_kept_activations(name, settings, tmp_path) -> None:
    config = spiking(name, train={"steps": 16})
    finals = []
    for kept in (False, True):
        *reports, final = run_trial(config, settings(store=tmp_path / str(kept), cache_prefix=kept))
        finals.append(final)
        counts = {r.stage: r.metrics["spikes_per_inference"] for r in reports if "spikes_per_inference" in r.metrics}
        assert list(counts) == ["train", "retrain", "prune", "consolidate"]
        assert final.metrics["spikes_per_inference"] == counts["consolidate"] > 0
        assert 0 < final.metrics["spike_rate"] < 1
    used = [stage["stage"] for stage in finals[1].details["stages"] if stage.get("prefix")]
    assert used == ["retrain", "consolidate"]
    first, second = (steady(final) for final in finals)
    # A rounding more or less may tip over a membrane that stands at its threshold.
    for count in ("spikes_per_inference", "spike_rate"):
        assert second.pop(count) == pytest.approx(first.pop(count), rel=0.02)
    alike(second, first, rel=0.02)


@pytest.mark.slow
def test_a_trial_repeats_its_spikes_and_others_have_none(settings, tmp_path) -> None:
    config = spiking("grnn", train={"steps": 6})
    found = [list(run_trial(config, settings(store=tmp_path / name)))[-1].metrics for name in "ab"]
    assert found[0]["spikes_per_inference"] == found[1]["spikes_per_inference"]
    usual = make_config(train={"steps": 6}, method="dropin")
    assert not any("spike" in name for name in list(run_trial(usual, settings()))[-1].metrics)


@pytest.mark.parametrize("grown", [False, True], ids=["as it is", "grown"])
@pytest.mark.parametrize("name", LIVELY)
def test_the_counter_adds_up_what_every_neuron_gives(name: str, grown: bool) -> None:
    net = network(name)
    before = SpikeCounter(net).count(net, waves())
    if grown:
        site = list(find_sites(net))[1]
        add_neurons_(net, {site: 5}, mode="frozen", generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = SpikeCounter(net).count(net, waves())
        alone = torch.cat([SpikeCounter(net).count(net, clip) for clip in waves().split(1)])
    torch.testing.assert_close(together, alone, rtol=0.01, atol=0)
    assert (together[:, 0] < together[:, 1]).all()
    # New neurons fire, too, though nothing reads them yet.
    assert bool((together[:, 1] > before[:, 1]).all()) is grown
    assert bool((together[:, 0] > before[:, 0]).all()) is grown


def test_the_places_are_neurons_times_steps_times_frames() -> None:
    net = network("grnn")
    frames = net.stem(waves()).shape[1]
    found = SpikeCounter(net).count(net, waves())
    assert found[:, 1].tolist() == [3 * frames * 48 * 3] * 3  # three layers of 48, three steps


@pytest.mark.parametrize("name", LIVELY)
@pytest.mark.parametrize("pooling", ["mean", "mean_std", "attention"])
def test_cutting_anywhere_gives_the_same_logits_and_steps_lie_beside_clips(name: str, pooling: str) -> None:
    net = network(name, pooling=pooling)
    logits = net(waves())
    for cut in net.cuts():
        hidden = net.prefix(waves(), cut)
        assert len(hidden) == 3
        close(net.suffix(hidden, cut), logits)
    assert net.prefix(waves(), net.cuts()[1]).shape[1] == 3  # steps
    assert net.prefix(waves(), "head").dim() == 3  # their mean


@pytest.mark.parametrize("name", SLOW_RESNET)
def test_more_steps_of_neurons_without_leak_come_near_to_their_limit(name: str) -> None:
    """Rates settle: from 64 to 128 steps the logits move far less than from 1 to 2."""
    found = [network(name, time_steps=steps, leak=1.0, seed=3)(waves()) for steps in (1, 2, 64, 128)]
    assert (found[3] - found[2]).abs().max() < 0.2 * (found[1] - found[0]).abs().max()


@pytest.mark.parametrize("name", LIVELY)
def test_a_folder_keeps_the_network_and_a_usual_one_may_start_it(name: str, tmp_path: Path) -> None:
    net = network(name)
    save_pretrained(net, tmp_path / "spiking")
    again = build(name, source=str(tmp_path / "spiking"), activation="lif", time_steps=3, threshold=LIVELY[name])
    assert torch.equal(again.eval()(waves()), net(waves()))
    with pytest.raises(PlastsearchError, match="were trained as a spiking network; say `activation: lif`"):
        build(name, source=str(tmp_path / "spiking"))
    usual = build(name, seed=4).eval()
    save_pretrained(usual, tmp_path / "usual")
    started = build(name, source=str(tmp_path / "usual"), activation="lif", seed=5)
    assert all(torch.equal(started.state_dict()[key], value) for key, value in usual.state_dict().items())
    assert any(isinstance(part, LIF) for part in started.modules())
    twin = from_config(net.plain_config())
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin.eval()(waves()), net(waves()))


@pytest.mark.parametrize("name", LIVELY)
def test_truncation_leaves_a_spiking_network(name: str) -> None:
    net = network(name)
    net.truncate_(2)
    assert net.eval()(waves()).isfinite().all()
    assert len(find_sites(net)) == 2
    assert list(find_sites(from_config(net.plain_config()))) == list(find_sites(net))


@pytest.mark.slow
@pytest.mark.parametrize("name", LIVELY)
def test_lora_starts_as_the_same_spikes_and_merges_away(name: str) -> None:
    net = network(name)
    logits = net(waves())
    adapted = deepcopy(net)
    config = TrialConfig.model_validate({"method": "lora", "layers": (SITES[name],), "neurons": 8})
    assert add_lora_(adapted, config).parameters > 0
    with adding_nothing(adapted):
        torch.testing.assert_close(adapted(waves()), logits, rtol=1e-3, atol=1e-3)
    merge_lora_(adapted)
    assert list(adapted.state_dict()) == list(net.state_dict())
    assert all(torch.equal(adapted.state_dict()[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("arm", ["frozen", *(pytest.param(a, marks=pytest.mark.slow) for a in METHODS)])
@pytest.mark.parametrize("name", SLOW_RESNET)
def test_operations_are_those_of_torch_s_counter_and_grow_with_the_steps(name: str, arm: str) -> None:
    found = []
    for steps in (1, 4):
        model = ModelConfig(name=name, activation="lif", time_steps=steps)
        config = TrialConfig.model_validate(
            {"model": model, "layers": (SITES[name],), "neurons": 8, "method": METHODS.get(arm, "dropin"),
             "regime": "unfrozen" if arm == "unfrozen" else "frozen"}
        )  # fmt: skip
        stages = stages_of(config, 100)
        at = [stage.name for stage in stages].index("retrain")
        grown = blank(config, stages[:at], torch.device("cpu"))
        cut = learn_(grown, config, stages[at])
        train_mode_(grown.module, cut)
        logits = logits_from_wave(grown.module, cut)
        wave_BT = torch.randn(2, 2400)
        found.append(operations_agree(lambda of=logits, x=wave_BT: of(x).square().sum()))
    assert 2 < found[1] / found[0] <= 4  # what reads the frames runs once


def test_in_half_precision_a_spiking_network_still_gives_spikes() -> None:
    net = network("resnet18")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        hidden = net.prefix(waves(), "layer2.0")
        assert net(waves()).dtype == torch.float32
    assert hidden.dtype == torch.bfloat16
    assert set(hidden.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}  # sums of the stem's spikes and two blocks'
    assert 0 < hidden.float().mean() < 3
