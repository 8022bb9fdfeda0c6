"""A request that cannot be met changes nothing: tensors, attributes, hooks, what learns, the optimiser, the dice."""

import copy
import dataclasses

import pytest
import torch
from torch import nn, optim

from plastsearch.errors import GrowthError
from plastsearch.growth import attach, checkpoint, optimizer, prune
from plastsearch.growth.checkpoint import plan_of, reshape_
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold_
from plastsearch.growth.prune import remove_neurons_

PLAIN = (bool, int, float, str, tuple, type(None))


def picture(net, optimiser, generator):
    """Everything that a growth could touch; tensors by value and by identity."""
    parts = [
        (
            name,
            type(part),
            {key: value for key, value in part.__dict__.items() if isinstance(value, PLAIN)},
            {key: list(value.items()) for key, value in part.__dict__.items() if key.endswith("hooks")},
            [(key, id(value)) for key, value in (part._parameters | part._buffers | part._modules).items()],
            [id(weight) for weight in part.__dict__.get("_flat_weights", ())],
            copy.deepcopy(part.__dict__.get("_dropins")),
        )
        for name, part in net.named_modules()
    ]
    flags = [(name, p.requires_grad, p.grad if p.grad is None else id(p.grad)) for name, p in net.named_parameters()]
    groups = [
        ([id(p) for p in group["params"]], {key: value for key, value in group.items() if key != "params"})
        for group in optimiser.param_groups
    ]
    hooks = [len(optimiser._optimizer_step_pre_hooks), len(optimiser._optimizer_step_post_hooks)]
    tensors = [*net.state_dict().values(), torch.random.get_rng_state(), generator.get_state()]
    state = [(id(p), key, value) for p, entry in optimiser.state.items() for key, value in entry.items()]
    tensors += [value for *_, value in state if isinstance(value, torch.Tensor)]
    rest = [(owner, key, value) for owner, key, value in state if not isinstance(value, torch.Tensor)]
    return (parts, flags, groups, hooks, rest), [tensor.detach().clone() for tensor in tensors]


def same(first, second):
    assert first[0] == second[0]
    assert len(first[1]) == len(second[1])
    assert all(torch.equal(a, b) for a, b in zip(first[1], second[1], strict=True))


def adamw(net):
    return optim.AdamW(net.parameters(), lr=1e-3)


def grow(neurons, **how):
    return lambda case, optimiser, g: add_neurons_(case.net, neurons, optimizer=optimiser, generator=g, **how)


def remove(units, **how):
    return lambda case, optimiser, _: remove_neurons_(case.net, units, optimiser, **how)


def prelu_(net):
    net.layer2[0].relu = nn.PReLU(6)


def tied_(net):
    net.encoder.encoder.layers[2].feed_forward = nn.ModuleDict(
        net.encoder.encoder.layers[2].feed_forward.named_children()
    )
    net.encoder.encoder.layers[2].other = net.encoder.encoder.layers[1].feed_forward.output_dense


def no_bias_(net):
    net.layer2[0].bn2 = nn.BatchNorm2d(6, track_running_stats=False, dtype=torch.float64)


def computed_(net):
    nn.utils.parametrizations.weight_norm(net.encoder.encoder.layers[1].feed_forward.output_dense)


W2V, GROW, BIG = "wav2vec2", "encoder.0.ffn", {"encoder.0.ffn": 4, "encoder.1.ffn": 20}
MEANS = {"layer1.0": torch.ones(4).double(), "layer2.0": torch.ones(6).double()}
SHORT = {"layer1.0": torch.ones(3)}
NANS = {"layer1.0": torch.full((4,), torch.nan).double()}
REFUSED = {
    "nothing": (W2V, None, grow({}), "no site was named"),
    "count": (W2V, None, grow({GROW: 4, "encoder.1.ffn": 0}), "cannot grow by 0"),
    "fraction": (W2V, None, grow({GROW: 1.5}, mode="unfrozen"), "give a whole number"),
    "multiple": (W2V, None, grow({GROW: 4, "encoder.1.attention": 3}), "multiples of 4"),
    "no site": (W2V, None, grow({GROW: 4, "encoder.9.ffn": 4}), "no site 'encoder.9.ffn'"),
    "stream": (W2V, None, grow({GROW: 4, "encoder.stream": 4}), "LayerNorm averages"),
    "mode": (W2V, None, grow({GROW: 4}, mode="soft"), "unknown mode"),
    "init": (W2V, None, grow({GROW: 4}, init="ones"), "unknown init"),
    "pairs": (W2V, None, grow({GROW: 4, "encoder.1.ffn": 3}, init="pairs"), "even number"),
    "net2net": (W2V, None, grow({GROW: 4}, init="net2net"), "net2net shares out"),
    "gradmax kind": (W2V, None, grow({GROW: 4, "encoder.1.attention": 4}, init="gradmax"), "feed-forward sites"),
    "gradmax size": (W2V, None, grow(BIG, init="gradmax", mode="unfrozen"), "16 directions to offer, 20"),
    "gradmax loss": (W2V, None, grow({GROW: 4}, init="gradmax"), "gradmax needs `loss`"),
    "parallel": (W2V, None, grow({GROW: 4, "encoder.1.head_width": 4}, operator="parallel"), "no branch can be"),
    "stack": (W2V, None, grow({GROW: 4, "encoder.1.head_width": 4}, operator="stack"), "head width is no layer"),
    "both": (W2V, None, grow({"encoder.1.attention": 4, "encoder.1.head_width": 4}), "cannot both carry"),
    "also": (W2V, None, grow({GROW: 4}, also=["head"]), "no parameters under 'head'"),
    "computed": (W2V, computed_, grow({GROW: 4, "encoder.1.ffn": 2}, mode="unfrozen"), "is computed from"),
    "tied": (W2V, tied_, grow({GROW: 4, "encoder.1.ffn": 2}, mode="unfrozen"), "is also encoder"),
    "weights between": ("resnet", prelu_, grow({"layer1.0": 2, "layer2.0": 2}), "PReLU has weights"),
    "wide between": ("resnet", prelu_, grow({"layer1.0": 2, "layer2.0": 2}, mode="unfrozen"), "PReLU has weights"),
    "all units": ("resnet", None, remove({"layer1.0": [0], "layer1.1": [0, 1, 2, 3]}), "one must stay"),
    "no unit": ("resnet", None, remove({"layer1.0": [0], "layer1.1": [7]}), "unit 7 does not exist"),
    "twice": ("gru", None, remove({"gru.0": [0], "gru.1": [1, 1]}), "named twice"),
    "kind of units": ("gru", None, remove({"gru.0": [0], "gru.1": [0.5]}), "row of whole numbers"),
    "no bias": ("resnet", no_bias_, remove({"layer1.0": [0], "layer2.0": [0]}, means=MEANS), "no bias or BatchNorm"),
    "means' size": ("resnet", None, remove({"layer2.0": [0], "layer1.0": [0]}, means=SHORT), "are 4 finite numbers"),
    "means' values": ("resnet", None, remove({"layer1.0": [0]}, means=NANS), "4 finite numbers"),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_a_refused_request_leaves_all_as_it_was(nets, why):
    """Where several sites are asked for, the first is fine and a later one is not."""
    name, change_, request, words = REFUSED[why]
    case = nets.build(name)
    if change_:
        change_(case.net)
    optimiser = adamw(case.net)
    for parameter in case.net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    case.net.register_forward_hook(lambda *_: None)
    g = torch.Generator().manual_seed(0)
    before = picture(case.net, optimiser, g)
    with pytest.raises(GrowthError, match=words):
        request(case, optimiser, g)
    same(picture(case.net, optimiser, g), before)


ROUNDS = {"adafactor": optim.Adafactor, "lbfgs": optim.LBFGS, "muon": optim.Muon}


@pytest.mark.parametrize(
    "change", [grow({"gru.0": 2, "gru.2": 1}, mode="unfrozen"), remove({"gru.0": [0], "gru.2": [1]})]
)
@pytest.mark.parametrize("kind", ROUNDS)
def test_an_optimiser_that_cannot_follow_is_refused_first(nets, kind, change):
    case = nets.build("gru", dtype=torch.float32)
    weights = [p for p in case.net.parameters() if p.dim() == 2 or kind != "muon"]  # which takes matrices only
    optimiser = ROUNDS[kind](weights, lr=1e-3)

    def loss():
        optimiser.zero_grad()
        value = nn.functional.cross_entropy(case.net(case.x), case.labels)
        value.backward()
        return value

    for _ in range(2):
        optimiser.step(loss)
    g = torch.Generator().manual_seed(0)
    before = picture(case.net, optimiser, g)
    with pytest.raises(GrowthError, match=r"optimiser state|cannot step the entries"):
        change(case, optimiser, g)
    same(picture(case.net, optimiser, g), before)
    loss()


@pytest.mark.parametrize(
    ("grown", "request_", "words"),
    [
        ({"encoder.0.attention": 4}, grow({"encoder.1.ffn": 1, "encoder.0.head_width": 5}), "cannot both carry blocks"),
        ({"encoder.0.attention": 4}, grow({"encoder.1.ffn": 1, "encoder.0.attention": 4}, mode="unfrozen"), "fold the"),
        ({"encoder.0.attention": 4}, remove({"encoder.1.ffn": [0], "encoder.0.attention": [0]}), "fold the network"),
    ],
)
def test_a_request_beside_grown_blocks(nets, grown, request_, words):
    case = nets.build("wav2vec2")
    optimiser = adamw(case.net)
    add_neurons_(case.net, grown, mode="frozen")
    g = torch.Generator().manual_seed(0)
    before = picture(case.net, optimiser, g)
    with pytest.raises(GrowthError, match=words):
        request_(case, optimiser, g)
    same(picture(case.net, optimiser, g), before)


@pytest.mark.parametrize("kind", ["stack", "computed"])
def test_a_fold_that_cannot_be(nets, kind):
    """Of two grown sites the second one cannot fold."""
    case = nets.build("wav2vec2")
    add_neurons_(case.net, {"encoder.0.ffn": 2, "encoder.1.ffn": 3}, mode="frozen")
    if kind == "stack":
        add_neurons_(case.net, {"encoder.2.ffn": 2}, mode="frozen", operator="stack")
    else:
        nn.utils.parametrizations.weight_norm(case.net.encoder.encoder.layers[1].feed_forward.output_dense.base)
    optimiser, g = adamw(case.net), torch.Generator()
    before = picture(case.net, optimiser, g)
    with pytest.raises(GrowthError, match=r"carries a (stacked layer|grown block that cannot be folded)"):
        fold_(case.net, verify=False)
    same(picture(case.net, optimiser, g), before)


def test_a_loss_that_does_not_serve_gradmax(nets):
    """One that raises, one that passes by the site, one that is not finite; running statistics included."""
    case = nets.build("wav2vec2")
    case.net.norm = nn.BatchNorm1d(2).double().train()
    optimiser, g = adamw(case.net), torch.Generator().manual_seed(0)
    before = picture(case.net, optimiser, g)

    def passing():
        return case.net.norm(torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).double()).square().sum()

    def raising():
        passing()
        raise ZeroDivisionError

    losses = {
        "does not depend on it": passing,
        "not finite": lambda: passing() + case.net(case.x).sum() * torch.inf,
        "": raising,
    }
    for words, loss in losses.items():
        with pytest.raises(GrowthError if words else ZeroDivisionError, match=words or None):
            add_neurons_(case.net, {"encoder.0.ffn": 2}, init="gradmax", loss=loss, optimizer=optimiser, generator=g)
        same(picture(case.net, optimiser, g), before)


PAIRS = {
    "resnet": ("layer1.0", "layer2.0"),
    "bigru": ("gru.0", "gru.1"),
    "wav2vec2": ("encoder.0.ffn", "encoder.1.ffn"),
}
FAILS = {  # what is asked for, and which call of which function fails
    "frozen": (attach, "_wrap_", 3),
    "unfrozen": (optimizer, "_moved", 8),
    "remove": (optimizer, "_moved", 8),
    "reshape": (checkpoint, "narrow_", 1),
}


@pytest.mark.parametrize("kind", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("what", FAILS)
@pytest.mark.parametrize("name", PAIRS)
def test_what_nobody_foresees_is_undone(nets, monkeypatch, name, what, kind):
    """Memory runs out, or the user's patience, at the second site; handles of the user's hooks still work."""
    case = nets.build(name)
    first, second = PAIRS[name]
    plan = plan_of(case.net)
    widths = {**plan.widths, first: plan.widths[first] + 1, second: plan.widths[second] - 1}
    plan = dataclasses.replace(plan, widths=widths)
    optimiser = adamw(case.net)
    nets.train_(case, 2, optimiser)
    g = torch.Generator().manual_seed(0)
    both = {first: 2, second: 2}
    ask = {
        "remove": lambda: remove_neurons_(case.net, {first: [0], second: [0]}, optimiser),
        "reshape": lambda: reshape_(case.net, plan),
    }.get(what, lambda: add_neurons_(case.net, both, mode=what, optimizer=optimiser, generator=g))
    owner, target, number = FAILS[what]
    real, calls = getattr(owner, target), []

    def fail(*args, **kwargs):
        calls.append(1)
        if len(calls) == number:
            raise kind
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, target, fail)
    seen = []
    handle = case.net.register_forward_hook(lambda *_: seen.append(1))
    before, wanted = picture(case.net, optimiser, g), case.net(case.x)
    with pytest.raises(kind):
        ask()
    same(picture(case.net, optimiser, g), before)
    monkeypatch.undo()
    handle.remove()
    seen.clear()
    torch.testing.assert_close(case.net(case.x), wanted, rtol=1e-12, atol=1e-12)
    assert not seen
    add_neurons_(case.net, both, mode="unfrozen", optimizer=optimiser)
    nets.train_(case, 2, optimiser)


def test_means_are_taken_up_before_or_not_at_all(nets, monkeypatch):
    """Biases that have made up for units come back if the removal then fails."""
    case = nets.build("resnet")
    optimiser, g = adamw(case.net), torch.Generator()
    before = picture(case.net, optimiser, g)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(prune, "narrow_", fail)
    with pytest.raises(MemoryError):
        remove_neurons_(case.net, {"layer1.0": [0], "layer2.0": [0]}, means=MEANS)
    same(picture(case.net, optimiser, g), before)


@pytest.mark.parametrize("make", [lambda p: optim.AdamW(p, lr=1e-2), lambda p: optim.Adagrad(p, lr=1e-2)])
@pytest.mark.parametrize("named", [True, False])
def test_an_optimiser_takes_up_frozen_growth(nets, make, named):
    """With named parameters, and of the kind that makes its state when it is built."""
    case = nets.build("resnet")
    optimiser = make(case.net.named_parameters() if named else case.net.parameters())
    nets.train_(case, 2, optimiser)
    added = add_neurons_(case.net, {"layer1.0": 2}, mode="frozen", optimizer=optimiser).parameters
    start = {name: case.net.get_parameter(name).detach().clone() for name in added}
    nets.train_(case, 3, optimiser)
    assert all(not torch.equal(case.net.get_parameter(name), old) for name, old in start.items())
