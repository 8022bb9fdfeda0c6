"""`train.train_stem: false`: what lies below the first block stays as it is, in every stage, and is computed once."""

import torch

from plastsearch.trial.networks import learn_, new_network
from plastsearch.trial.run import run_stages, run_trial, start
from tests.trial.conftest import make_config

ENCODER = {"model": {"name": "wav2vec2"}, "layers": ("encoder.2.ffn",), "neurons": 16, "method": "plasticity"}
KEPT = {"steps": 8, "evaluations": 1, "train_stem": False}


def stem_of(module):
    """Tensors below the first block."""
    above = ("backbone.encoder.layers.", "backbone.encoder.layer_norm.", "head.", "pool.")
    return {name: tensor for name, tensor in module.state_dict().items() if not name.startswith(above)}


def test_stages_that_train_everything_leave_the_stem(settings) -> None:
    config = make_config(**ENCODER, regime="unfrozen", train=KEPT)
    before = stem_of(new_network(config).module)
    trial = start(config, settings(cache_prefix=True), lambda: False)
    for _ in run_stages(trial):
        pass
    network = trial.load()
    after = stem_of(network.module)
    assert before.keys() == after.keys()
    assert "backbone.encoder.pos_conv_embed.conv.bias" in before
    assert all(torch.equal(before[name], after[name]) for name in before)
    block = "backbone.encoder.layers.0.attention.q_proj.weight"
    assert not torch.equal(new_network(config).module.state_dict()[block], network.module.state_dict()[block])
    kept = {record.stage: record.details["prefix"] for record in trial.records if "prefix" in record.details}
    assert kept["train"]  # of the others too few steps are left here for all clips to be read


def test_activations_above_it_are_shared_by_what_trains_differently(settings) -> None:
    """The stem is the start's in all trials, whatever they learnt above it."""
    keeping = settings(cache_prefix=True)
    made = []
    for method in ("baseline", "plasticity"):
        config = make_config(**{**ENCODER, "method": method}, regime="unfrozen", train=KEPT)
        for _ in run_stages(start(config, keeping, lambda: False)):
            pass
        made.append({path.name for path in (keeping.cache / "prefix").iterdir() if path.is_dir()})
    assert made[0]
    assert made[0] == made[1]


def test_everything_is_what_learns_beside_the_stem(settings) -> None:
    """The reference of backward times, too: a baseline's ratio is about 1 with and without a stem that learns."""
    config = make_config(**{**ENCODER, "method": "baseline"}, train=KEPT)
    network = new_network(config)
    trial = start(config, settings(), lambda: False)
    assert learn_(network, config, trial.stages[0]) == "encoder.0"
    names = {name for name, parameter in network.module.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in names} == {"backbone", "head"}
    assert not names & set(stem_of(network.module))
    *_, last = run_trial(config, settings())
    learning = sum(p.numel() for p in network.module.parameters() if p.requires_grad)
    assert last.metrics["params_trainable"] == learning
    assert 0.5 < last.metrics["backward_ratio"] < 2


def test_of_a_recurrent_network_the_stem_is_the_norm_of_its_features(settings) -> None:
    found = []
    for stem in (True, False):
        config = make_config(method="baseline", train={**KEPT, "train_stem": stem})
        network = new_network(config)
        learn_(network, config, start(config, settings(), lambda: False).stages[0])
        found.append({name for name, p in network.module.named_parameters() if p.requires_grad})
    assert found[0] - found[1] == {"norm.weight", "norm.bias"}
