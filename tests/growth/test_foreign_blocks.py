"""Basic blocks as others write them: recognised by what their forward does, or refused with what stands in the way."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from plastsearch.errors import GrowthError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold
from plastsearch.growth.freeze import trainable
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.site import conv_pair, declare_
from plastsearch.growth.survey import find_sites


class Block(nn.Module):
    """The parts of a basic block; `between` says what a kind of block does with them."""

    def __init__(self, size: int = 4, inner: int = 6, **parts: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(size, inner, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, size, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(size)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn2(self.between(x)) + x)


class Usual(Block):
    def between(self, x):
        return self.conv2(self.relu(self.bn1(self.conv1(x))))


class OtherName(Block):
    def between(self, x):
        return self.conv2(self.nonlinearity(self.bn1(self.conv1(x))))


class Function(Block):
    def between(self, x):
        return self.conv2(functional.relu(self.bn1(self.conv1(x))))


class Method(Block):
    def between(self, x):
        return self.conv2(self.bn1(self.conv1(x)).relu_())


class KeptFunction(Block):
    def __init__(self):
        super().__init__()
        self.activate = functional.silu

    def between(self, x):
        return self.conv2(self.activate(self.bn1(self.conv1(x))))


class ManySteps(Block):
    """As the timm library writes it, with nothing where something could be, and dropout."""

    def between(self, x):
        x = self.drop(self.act1(self.skip(self.bn1(self.conv1(x)))))
        return self.conv2(x)


class NormAfter(Block):
    def between(self, x):
        return self.conv2(self.bn1(self.relu(self.conv1(x))))


class PreActivation(nn.Module):
    def __init__(self, size: int = 4, inner: int = 6, **parts: nn.Module) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(size), nn.Conv2d(size, inner, 3, padding=1)
        self.bn2, self.conv2 = nn.BatchNorm2d(inner), nn.Conv2d(inner, size, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(self.relu(self.bn1(x)))
        return x + self.conv2(self.relu(self.bn2(out)))


class Excited(Block):
    """Squeeze and excitation after the second convolution, where the stream is."""

    def between(self, x):
        out = self.conv2(self.relu(self.bn1(self.conv1(x))))
        return out * self.excite(out.mean((2, 3)))[:, :, None, None]


def excite(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 2), nn.ReLU(), nn.Linear(2, width), nn.Sigmoid())


RECOGNISED = {
    "usual": lambda: Usual(relu=nn.ReLU(inplace=True)),
    "another_activation": lambda: Usual(relu=nn.LeakyReLU(0.3)),
    "another_name": lambda: OtherName(nonlinearity=nn.GELU()),
    "one_slope": lambda: OtherName(nonlinearity=nn.ELU(0.5)),
    "function": Function,
    "method": Method,
    "kept_function": KeptFunction,
    "many_steps": lambda: ManySteps(act1=nn.SiLU(), skip=nn.Identity(), drop=nn.Dropout(0.4)),
    "pre_activation": PreActivation,
    "norm_after": lambda: NormAfter(relu=nn.ReLU()),
    "excited_after": lambda: Excited(relu=nn.Tanh(), excite=excite(4)),
}


class Net(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.layer1, self.fc = nn.Sequential(block), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer1(x).mean((2, 3)))


def build(make) -> tuple[Net, Tensor, Tensor]:
    torch.manual_seed(0)
    net = Net(make()).double()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.bias)
    return net.eval(), torch.randn(6, 4, 5, 4).double(), torch.arange(6) % 2


def train_(net: nn.Module, x: Tensor, labels: Tensor, steps: int = 10) -> None:
    optimizer = torch.optim.AdamW(trainable(net), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), labels).backward()
        optimizer.step()


@pytest.mark.parametrize("kind", RECOGNISED)
def test_a_recognised_block_computes_the_same_grown_and_folded(kind: str) -> None:
    """Trained for ten steps beside the frozen base; pruned of the newest it is what it was."""
    net, x, labels = build(RECOGNISED[kind])
    before, state = net(x), copy.deepcopy(net.state_dict())
    add_neurons_(net, {"layer1.0": 3}, mode="frozen")
    torch.testing.assert_close(net(x), before, rtol=1e-12, atol=1e-12)
    train_(net, x, labels)
    whole = fold(net, verify=False)
    torch.testing.assert_close(whole(x), net(x), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(whole(x), before)
    remove_neurons_(whole, {"layer1.0": [6, 7, 8]})
    assert all(torch.equal(tensor, whole.state_dict()[key]) for key, tensor in state.items())


@pytest.mark.parametrize("kind", RECOGNISED)
def test_a_unit_of_a_recognised_block_is_its_own(kind: str) -> None:
    """Without unit 2 a network computes what it computes with unit 2's readers at zero."""
    net, x, _ = build(RECOGNISED[kind])
    smaller = copy.deepcopy(net)
    remove_neurons_(smaller, {"layer1.0": [2]})
    with torch.no_grad():
        net.layer1[0].conv2.weight[:, 2] = 0
    torch.testing.assert_close(smaller(x), net(x), rtol=1e-12, atol=1e-12)


def test_dropout_between_reaches_the_new_channels() -> None:
    net, x, _ = build(RECOGNISED["many_steps"])
    add_neurons_(net, {"layer1.0": 40}, mode="frozen")
    net.train()
    seen = []
    fork = net.layer1[0].conv1
    fork.branch.leave.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net(x)
    assert 0.3 < float((seen[0] == 0).double().mean()) < 0.5


class ExcitedBetween(Block):
    def between(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        return self.conv2(out * self.excite(out.mean((2, 3)))[:, :, None, None])


class ExcitedByModule(Block):
    def between(self, x):
        return self.conv2(self.excite(self.relu(self.bn1(self.conv1(x)))))


class OtherFunction(Block):
    def between(self, x):
        return self.conv2(functional.leaky_relu(self.bn1(self.conv1(x)), 0.3))


class NormBehindDropout(Block):
    def between(self, x):
        return self.conv2(self.bn1(self.drop(self.relu(self.conv1(x)))))


class Linear(Block):
    def between(self, x):
        return self.conv2(self.bn1(self.conv1(x)))


class Dense(Block):
    def between(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        return self.conv2(out) + out[:, :4]


class Repeated(Block):
    def between(self, x):
        return self.conv2(self.relu(self.bn1(self.conv1(x) + self.conv1(-x))))


class Branching(Block):
    def between(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        return self.conv2(out if out.sum() > 0 else -out)


class Swish(nn.Module):
    def forward(self, x):
        return x * x.sigmoid()


REFUSED = {
    "excited_between": (lambda: ExcitedBetween(relu=nn.ReLU(), excite=excite(6)), "read in 2 places, not by conv2"),
    "excited_by_module": (
        lambda: ExcitedByModule(relu=nn.ReLU(), excite=nn.ChannelShuffle(2)),
        "excite, a ChannelShuf",
    ),
    "function_of_more": (lambda: OtherFunction(), "leaky_relu is called on the channels"),
    "norm_behind_dropout": (
        lambda: NormBehindDropout(relu=nn.ReLU(), drop=nn.Dropout()),
        "bn1 follows drop between conv1 and conv2",
    ),
    "no_activation": (lambda: Linear(), "no activation between conv1 and conv2"),
    "dense": (lambda: Dense(relu=nn.ReLU()), "read in 2 places"),
    "repeated": (lambda: Repeated(relu=nn.ReLU()), "calls conv1 2 times, not once"),
    "branching": (lambda: Branching(relu=nn.ReLU()), r"its forward cannot be read \(symbolically traced"),
    "own_activation": (lambda: OtherName(nonlinearity=Swish()), "nonlinearity, a Swish, reads the channels"),
    "slope_each": (lambda: OtherName(nonlinearity=nn.PReLU(6)), "its activation PReLU has weights of its own"),
    "group_norm": (lambda: Usual(relu=nn.ReLU(), bn1=nn.GroupNorm(2, 6)), "bn1, a GroupNorm, reads the channels"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_block_that_does_something_else_is_refused(kind: str) -> None:
    make, words = REFUSED[kind]
    net, _, _ = build(make)
    with pytest.raises(GrowthError, match=rf"layer1\.0, a \w+, is no basic block: .*{words}"):
        add_neurons_(net, {"layer1.0": 3})
    with pytest.raises(GrowthError, match="declare them with growth"):
        remove_neurons_(net, {"layer1.0": [0]})


def test_what_is_declared_is_believed() -> None:
    net, x, labels = build(REFUSED["own_activation"][0])
    here = "layer1.0"
    paths = (f"{here}.conv1", f"{here}.bn1", f"{here}.conv2")
    declare_(net, lambda net: [conv_pair(net, here, *paths, 0, act=f"{here}.nonlinearity")])
    assert list(find_sites(net)) == [here]
    add_neurons_(net, {here: 3})
    train_(net, x, labels)
    torch.testing.assert_close(fold(net, x)(x), net(x), rtol=1e-12, atol=1e-12)
