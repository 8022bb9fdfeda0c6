"""What a grown block's first layer hands to its second leaves nothing behind, and no gradient is lost on the way."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from plastsearch.errors import GrowthError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold


class StopError(Exception):
    pass


def stopped_between(net, x):
    """A forward pass that ends between the two convolutions of the grown block."""

    def stop(*_):
        raise StopError

    handle = net.layer1[0].bn1.register_forward_hook(stop)
    with pytest.raises(StopError):
        net(x)
    handle.remove()


@pytest.mark.parametrize(
    "how", [fold, lambda net, _: copy.deepcopy(net), lambda net, _: pickle.loads(pickle.dumps(net))]
)
def test_an_interrupted_pass_leaves_nothing_that_cannot_be_copied(nets, how):
    case = nets.build("resnet")
    add_neurons_(case.net, {"layer1.0": 2}, mode="frozen")
    nets.stir_(case.net)
    wanted = case.net(case.x).detach()
    stopped_between(case.net, case.x)
    again = how(case.net, case.x)
    torch.testing.assert_close(again(case.x), wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(case.net(case.x), wanted, rtol=1e-12, atol=1e-12)


def test_a_copy_has_a_wire_of_its_own(nets):
    """Both halves of its block on the same one, and not on that of the original."""
    net = nets.build("resnet").net
    add_neurons_(net, {"layer1.0": 2}, mode="frozen")
    again = copy.deepcopy(net).layer1[0]
    assert again.conv1.wire is again.conv2.wire
    assert again.conv1.wire is not net.layer1[0].conv1.wire


class Checkpointed(nn.Module):
    """A grown basic block, checkpointed as a whole or in one of its halves."""

    def __init__(self, block, part, reentrant):
        super().__init__()
        self.block, self.part, self.reentrant = block, part, reentrant

    def forward(self, x):
        keep = lambda part, name, value: (  # noqa: E731
            checkpoint(part, value, use_reentrant=self.reentrant) if name == self.part else part(value)
        )
        block = self.block
        if self.part == "whole":
            return keep(block, "whole", x)
        hidden = keep(lambda v: block.relu(block.bn1(block.conv1(v))), "first", x)
        return block.relu(keep(lambda v: block.bn2(block.conv2(v)), "second", hidden) + x)


@pytest.mark.parametrize(
    ("part", "reentrant"), [("whole", True), ("whole", False), ("first", False), ("second", True), ("first", True)]
)
def test_checkpointing_gives_the_same_gradients_or_says_why_not(nets, part, reentrant):
    """Of a fork in a reentrant checkpoint of its own, the gradients of new neurons were lost without a word."""
    case = nets.build("resnet")
    add_neurons_(case.net, {"layer1.0": 2}, mode="frozen")
    nets.stir_(case.net)
    block = case.net.layer1[0]
    new = [parameter for parameter in block.parameters() if parameter.requires_grad]
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64, requires_grad=True)
    wanted = torch.autograd.grad(block(x).square().sum(), new)
    net = Checkpointed(block, part, reentrant)
    refused = {
        ("first", True): "would never learn; checkpoint the whole",
        ("second", True): "checkpoint the whole block",
    }
    if (part, reentrant) in refused:
        with pytest.raises(GrowthError, match=refused[part, reentrant]):
            net(x).square().sum().backward()
    else:
        net(x).square().sum().backward()
        for parameter, gradient in zip(new, wanted, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-12)
    copy.deepcopy(net)
    fold(case.net, case.x)


def test_a_checkpointed_encoder_learns_and_folds(nets):
    """transformers' own switch."""
    case = nets.build("wav2vec2")
    add_neurons_(case.net, {"encoder.1.ffn": 3}, mode="frozen", also=["fc"])
    nets.stir_(case.net)
    loss = lambda: nn.functional.cross_entropy(case.net.train()(case.x), case.labels)  # noqa: E731
    new = [parameter for parameter in case.net.parameters() if parameter.requires_grad]
    wanted = torch.autograd.grad(loss(), new)
    case.net.encoder.activation_checkpointing_enable({"use_reentrant": False})
    loss().backward()
    for parameter, gradient in zip(new, wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-12)
    fold(case.net, case.x)
