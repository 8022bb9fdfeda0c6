"""Settings of spiking networks: who reads them, what is refused in which words, and ids from before there were any."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.models.sites import site_table
from plastsearch.search.canonical import canonical
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.model import SPIKING, ModelConfig
from plastsearch.trial.keys import foreseen, start_key
from plastsearch.trial.methods import check as check_trial

BEFORE = "base: {method: plasticity, layers: [gru.0], neurons: 4, model: {name: grnn%s}}\nspace:\n"
SEED = "  seed: {kind: choice, of: [0, 1]}\n"
COUNTS = "objectives: [{metric: dev_eer}, {metric: spikes_per_inference}]\n"
LIMIT = 'constraints: ["spike_rate <= 0.2"]\n'
EITHER = "  model.activation: {kind: choice, of: [own, lif]}\n"
ALWAYS = "  model.activation: {kind: choice, of: [lif]}\n"
LIF = ", activation: lif"


def config(**changes: object) -> TrialConfig:
    return TrialConfig.model_validate({"method": "plasticity", "layers": ("gru.1",), "neurons": 4, **changes})


@pytest.mark.parametrize(
    ("changes", "trial", "start"),
    [
        ({}, "b633f74b37c9", "0ec0dd6862682d3e8124e966"),
        ({"model": {"name": "grnn", "normalise": "clip", "bidirectional": True}, "method": "plasticity",
          "layers": ("gru.1",), "neurons": 4},
         "744cef1e44e0", "12ce5731dfae398ccf26d2bf"),
    ],
)  # fmt: skip
def test_ids_and_stage_keys_are_those_of_versions_without_spikes(changes, trial, start) -> None:
    found = TrialConfig.model_validate(changes)
    assert (found.trial_id(), start_key(found, foreseen(found))) == (trial, start)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("time_steps", 8), ("leak", 1.0), ("threshold", 2.0), ("reset", "hard"), ("surrogate", "fast_sigmoid")],
)
def test_each_setting_counts_where_neurons_spike_and_nowhere_else(setting, value) -> None:
    usual, spiking = {"name": "grnn"}, {"name": "grnn", "activation": "lif"}
    for model, differ in ((usual, False), (spiking, True)):
        one, other = (canonical(config(model=m), ["gru.1"]) for m in (model, {**model, setting: value}))
        assert (one.trial_id() != other.trial_id()) is differ
        assert (start_key(one, foreseen(one)) != start_key(other, foreseen(other))) is differ
        assert (one == other) is not differ
    assert setting in SPIKING


@pytest.mark.parametrize("name", ["resnet18", "grnn"])
def test_a_spiking_network_has_the_sites_of_its_twin(name) -> None:
    assert site_table(ModelConfig(name=name, activation="lif")) == site_table(ModelConfig(name=name))


def test_wav2vec2_is_refused_with_the_reason() -> None:
    with pytest.raises(PlastsearchError, match=r"model\.activation: wav2vec2 has no spiking variant: softmax"):
        site_table(ModelConfig(name="wav2vec2", activation="lif"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"name": "resnet18", "activation": "lif"}, "layers": ("layer2.0",), "method": "stack"},
         "would add real numbers to the spikes"),
        ({"model": {"name": "resnet18", "activation": "lif"}, "layers": ("layer2.0",), "method": "dropin",
          "operator": "stack"}, "use operator widen or parallel"),
        ({"model": {"name": "grnn", "activation": "lif"}, "compensate": "mean"}, "one mean is not that of both"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused_before_anything_is_trained(changes, words) -> None:
    with pytest.raises(PlastsearchError, match=words):
        check_trial(config(**changes))
    changes = {**changes, "model": {**changes["model"], "activation": "own"}}
    check_trial(config(**changes))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BEFORE % "" + SEED + COUNTS, "space.yaml:4: objectives.1: spikes_per_inference is measured where neurons "
         "spike, and this network has no neurons that spike; set base.model.activation: lif"),
        (BEFORE % "" + SEED + LIMIT, "constraints.0: spike_rate is measured where neurons spike"),
        (BEFORE % LIF + EITHER + COUNTS, "some trials of this space have no neurons that spike"),
        (BEFORE % LIF + SEED + COUNTS + LIMIT, None),
        (BEFORE % "" + ALWAYS + SEED + COUNTS, None),
        ("base: {method: plasticity, layers: [encoder.1.ffn], neurons: 4, model: {activation: lif}}\nspace:\n" + SEED,
         "space.yaml:1: base.model: model.activation: wav2vec2 has no spiking variant"),
        (BEFORE % ", activation: liff" + SEED, "known: own, lif"),
        (BEFORE % ", activation: lif, time_steps: 0" + SEED, "base.model.time_steps"),
    ],
)  # fmt: skip
def test_check_says_where_spikes_cannot_be_counted(text: str, words: str | None, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    result = CliRunner().invoke(app, ["check", str(path), "--no-data"])
    assert result.exit_code == (2 if words else 0), result.output
    if words:
        assert words in " ".join(result.output.split())
