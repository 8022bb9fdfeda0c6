"""Freezing is undone exactly: what the user had frozen, held in eval mode or switched off comes back as it was."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from plastsearch.growth.checkpoint import load_grown_, save_grown
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold, fold_
from plastsearch.growth.freeze import freeze_base_, held_back, train_sites_, trainable, unfreeze_


def frozen(net):
    return [name for name, parameter in net.named_parameters() if not parameter.requires_grad]


@pytest.mark.parametrize("given", [True, False])
def test_new_neurons_of_a_second_unfrozen_site_learn(nets, given):
    """Their tensors learn, whether the optimiser knew them or not; what is frozen elsewhere stays so."""
    case = nets.build("resnet")
    add_neurons_(case.net, {"layer1.0": 2}, mode="frozen")
    optimizer = AdamW(trainable(case.net), lr=1e-2)
    nets.train_(case, 2, optimizer)
    add_neurons_(case.net, {"layer2.0": 2}, mode="unfrozen", optimizer=optimizer if given else None)
    if not given:
        optimizer = AdamW(trainable(case.net), lr=1e-2)
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in trainable(case.net))
    grown = ["layer2.0.conv1.weight", "layer2.0.bn1.weight", "layer2.0.bn1.bias", "layer2.0.conv2.weight"]
    case.net.train()
    before = copy.deepcopy(case.net.state_dict())
    nets.train_(case, 3, optimizer)
    after = case.net.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    new = {key for key in before if ".branch." in key and "batches" not in key}
    stats = {f"layer2.0.bn1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert moved - {"layer1.0.conv1.branch.norm.num_batches_tracked"} == {*grown, *new, *stats}
    assert all(not torch.equal(before[key][-2:], after[key][-2:]) for key in grown[:3])
    assert not torch.equal(before[grown[3]][:, -2:], after[grown[3]][:, -2:])


@pytest.mark.parametrize("name", ["resnet", "bigru", "wav2vec2"])
@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_folding_keeps_what_the_user_had_frozen(nets, name, mode):
    case = nets.build(name)
    sites = {"resnet": {"layer1.1": 2}, "bigru": {"gru.1": 2}, "wav2vec2": {"encoder.1.ffn": 3}}[name]
    own = {"resnet": ("layer2.", "layer1.1.bn1."), "bigru": ("layers.0.", "fc."), "wav2vec2": ("encoder.feature",)}[
        name
    ]
    for key, parameter in case.net.named_parameters():
        parameter.requires_grad_(not key.startswith(own))
    before = frozen(case.net)
    assert before
    operator = "widen" if mode == "frozen" else "parallel"
    if name == "bigru" and operator == "parallel":
        operator, mode = "widen", "frozen"
    add_neurons_(case.net, sites, mode=mode, operator=operator, also=["fc"] if name != "bigru" else ())
    assert set(frozen(fold(case.net, case.x))) == set(before)
    if mode == "frozen":
        unfreeze_(case.net)
        assert {key.replace(".base.", ".") for key in frozen(case.net)} == set(before)


def test_freezing_twice_forgets_nothing(nets):
    net = nets.build("resnet").net
    for parameter in net.layer2.parameters():
        parameter.requires_grad_(False)
    before = frozen(net)
    freeze_base_(net, ["fc"])
    train_sites_(net, ["layer1.0"])
    add_neurons_(net, {"layer1.1": 1})
    freeze_base_(net)
    assert frozen(fold_(net, verify=False)) == before
    for parameter in net.parameters():
        parameter.requires_grad_(True)  # and a later change of the user's counts
    freeze_base_(net)
    unfreeze_(net)
    assert frozen(net) == []


@pytest.mark.parametrize("training", [True, False])
def test_batch_norms_that_the_user_holds_in_eval_mode_stay_there(nets, training):
    net = nets.build("resnet").net.train(training)
    held = [net.stem[1], net.layer2[0].bn2]
    for norm in held:
        norm.eval()
    modes = {name: part.training for name, part in net.named_modules()}
    add_neurons_(net, {"layer1.0": 2})
    fold_(net, verify=False)
    assert {name: part.training for name, part in net.named_modules()} == modes
    assert net.train().stem[1].training


@pytest.mark.parametrize("flag", [True, False])
def test_the_flag_of_feature_encoders_comes_back(nets, flag):
    net = nets.build("wav2vec2").net
    if not flag:
        net.encoder.freeze_feature_encoder()
    before = frozen(net)
    assert net.encoder.feature_extractor._requires_grad == flag
    add_neurons_(net, {"encoder.0.ffn": 2})
    assert not net.encoder.feature_extractor._requires_grad
    fold_(net, verify=False)
    assert net.encoder.feature_extractor._requires_grad == flag
    assert frozen(net) == before


class OwnMean(nn.Module):
    """Somebody's running statistics, of no class that torch knows, around a layer with a dropout of its own."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size, 1, 1))
        self.register_buffer("window", torch.ones(size, 1, 1), persistent=False)
        self.inner = nn.Sequential(nn.Dropout(0.5))

    def forward(self, x):
        if self.training:
            self.mean.lerp_(x.detach().mean((0, 2, 3))[:, None, None], 0.1)
        return self.inner(x - self.mean) * self.window


@pytest.mark.parametrize("kind", ["old spectral", "spectral", "own", "root"])
def test_buffers_of_any_make_do_not_drift(nets, kind):
    case = nets.build("resnet", dtype=torch.float32)
    net = case.net.train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        match kind:
            case "old spectral":
                nn.utils.spectral_norm(net.stem[0])
            case "spectral":
                nn.utils.parametrizations.spectral_norm(net.stem[0])
            case "own":
                net.stem[2] = nn.Sequential(OwnMean(4), nn.ReLU())
            case _:
                net.register_buffer("seen", torch.zeros(()))
                net.register_forward_hook(lambda net, *_: net.seen.add_(float(net.training)))
    add_neurons_(net, {"layer1.0": 2}, also=["fc"])
    net = copy.deepcopy(net).eval().train()
    buffers = {name: tensor.clone() for name, tensor in net.named_buffers() if ".branch." not in name}
    for _ in range(3):
        net(case.x)
    now = dict(net.named_buffers())
    assert [name for name, tensor in buffers.items() if not torch.equal(now[name], tensor)] == []
    if kind == "own":
        assert net.stem[2][0].inner[0].training  # what it holds goes on as before
    folded = fold_(net, verify=False)
    assert [type(part).__name__ for part in folded.modules() if type(part).__name__.startswith("Frozen")] == []
    assert all(part.training for part in folded.modules())
    folded(case.x)
    assert any(
        not torch.equal(dict(folded.named_buffers())[name], buffers[name]) for name in buffers if "layer" not in name
    )


def test_a_saved_network_remembers_what_the_user_had_frozen(nets, tmp_path):
    case = nets.build("resnet")
    for parameter in case.net.layer2.parameters():
        parameter.requires_grad_(False)
    for mode, site in (("unfrozen", "layer1.0"), ("frozen", "layer1.1")):
        add_neurons_(case.net, {site: 2}, mode=mode)
        save_grown(case.net, tmp_path / mode)
        again = nets.build("resnet", seed=1).net
        load_grown_(again, tmp_path / mode)
        assert frozen(again) == frozen(case.net)
        assert held_back(again) == held_back(case.net)
        assert [type(part) for part in again.modules()] == [type(part) for part in case.net.modules()]
        assert frozen(fold(again, case.x)) == frozen(fold(case.net, case.x))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_scripted_parts_freeze_and_come_back():
    """Their classes and tables of parameters are not those of ordinary modules."""
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)))
    net = nn.Sequential(scripted, nn.Linear(2, 2))
    net[1].bias.requires_grad_(False)
    freeze_base_(net)
    before = [buffer.clone() for buffer in net.buffers()]
    net.train()[0](torch.randn(2, 1, 3, 3))
    assert all(torch.equal(old, new) for old, new in zip(before, net.buffers(), strict=True))
    unfreeze_(net)
    assert frozen(net) == ["1.bias"]
