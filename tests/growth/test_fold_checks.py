"""Folding tries itself on an example first: what would compute something else stays as it is."""

import copy
import random
from collections import namedtuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from plastsearch.errors import GrowthError
from plastsearch.growth.blocks import outermost
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold, fold_
from plastsearch.growth.freeze import trainable
from plastsearch.growth.site import conv_pair, declare_, ffn


class Row(nn.Module):
    """A row of neurons with GELU between, and a second row that is what it seems."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 6), nn.Linear(6, 4)
        self.act, self.other = nn.GELU(), nn.ReLU()
        self.second, self.third, self.relu = nn.Linear(4, 5), nn.Linear(5, 2), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.relu(self.second(self.down(self.act(self.up(x))))))


def declared(act: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Tensor]:
    """Grown at both sites and trained for ten steps; `act` is what the first site's declaration says."""
    torch.manual_seed(0)
    net, x = Row().to(dtype), torch.randn(8, 4).to(dtype)
    rows = ("good", "second", "third", 1, "relu"), ("bad", "up", "down", 0, act)
    declare_(net, lambda net: [ffn(net, name, a, b, order, act=c) for name, a, b, order, c in rows])
    add_neurons_(net, {"good": 2, "bad": 3}, mode="frozen")
    optimizer = torch.optim.AdamW(trainable(net), lr=1e-2)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), torch.arange(8) % 2).backward()
        optimizer.step()
    return net, x


@pytest.mark.parametrize("how", [fold, fold_])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_fold_that_would_change_the_function_is_refused(how, dtype) -> None:
    net, x = declared("other", dtype)
    state, modes = copy.deepcopy(net.state_dict()), [p.requires_grad for p in net.parameters()]
    with pytest.raises(GrowthError, match=r"folding 'bad' would change what the network computes: output 1 of 1 by"):
        how(net, x)
    assert len(outermost(net)) == 4
    assert list(net.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())
    assert [p.requires_grad for p in net.parameters()] == modes
    assert all(tensor.dtype == dtype for tensor in net.parameters())
    assert net.training
    assert not outermost(how(net, verify=False))


def test_a_right_fold_passes_in_any_precision() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        net, x = declared("act", dtype)
        folded = fold(net, x)
        assert all(tensor.dtype == dtype for tensor in folded.parameters())
        torch.testing.assert_close(folded(x), net(x), rtol=3e-2 if dtype == torch.bfloat16 else 1e-5, atol=2e-2)


def test_untrained_neurons_that_nothing_reads_yet_fold() -> None:
    """Their outgoing weights are 0, so the function is the same whatever lies between."""
    torch.manual_seed(0)
    net, x = Row(), torch.randn(3, 4)
    declare_(net, lambda net: [ffn(net, "bad", "up", "down", 0, act="other")])
    add_neurons_(net, {"bad": 3}, mode="frozen")
    torch.testing.assert_close(fold(net, x)(x), net(x))


def test_an_example_is_asked_for_where_there_is_something_to_fold() -> None:
    net, _ = declared("act")
    with pytest.raises(
        GrowthError, match=r"none was given: fold\(network, inputs\) .* or fold\(network, verify=False\)"
    ):
        fold(net)
    whole = fold(net, verify=False)
    assert len(list(fold(whole).parameters())) == len(list(whole.parameters()))


def test_the_check_is_blind_to_the_mode_and_the_context_of_the_caller() -> None:
    class Dropping(Row):
        def forward(self, x):
            return nn.functional.dropout(super().forward(x), 0.5, self.training)

    for act, words in (("act", None), ("other", "folding 'bad' would change")):
        net, x = declared(act)
        net.__class__ = Dropping
        assert net.train().training
        for context in (torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)):
            with context:
                if words is None:
                    fold(net, x)
                else:
                    with pytest.raises(GrowthError, match=words):
                        fold(net, x)
        assert net.training


def test_an_example_that_cannot_run_and_a_network_of_chance_say_so() -> None:
    net, x = declared("act")
    with pytest.raises(GrowthError, match=r"does not run on the example in float64: mat1 and mat2 .* verify=False"):
        fold(net, torch.randn(2, 7))
    with pytest.raises(GrowthError, match="no finite value on the example"):
        fold(net, x * float("nan"))
    net.act.register_forward_hook(lambda _, __, out: out * random.random())
    with pytest.raises(GrowthError, match="gives other outputs for the same example in eval mode"):
        fold(net, x)

    class Silent(Row):
        def forward(self, x):
            super().forward(x)

    silent = Silent()
    declare_(silent, lambda net: [ffn(net, "good", "second", "third", 0, act="relu")])
    add_neurons_(silent, {"good": 1})
    with pytest.raises(GrowthError, match="it gives a NoneType without tensors"):
        fold(silent, x)


class Recurrent(nn.Module):
    """Takes a packed sequence and a mask by name; gives a packed sequence, a state, and what masks keep at -inf."""

    Output = namedtuple("Output", ["frames", "rest"])

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.fc = nn.GRU(3, 4, bidirectional=True), nn.Linear(8, 2)

    def forward(self, x: PackedSequence, *, mask: Tensor):
        y, h = self.gru(x)
        logits = self.fc(torch.cat([h[0], h[1]], -1)).masked_fill(mask[:, None], -torch.inf)
        return self.Output(y, {"state": h, "logits": logits})


def test_examples_and_outputs_of_any_structure() -> None:
    torch.manual_seed(0)
    net = Recurrent()
    add_neurons_(net, {"gru.0": 2}, mode="frozen", lateral="both")
    with torch.no_grad():
        for parameter in trainable(net):
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = pack_padded_sequence(torch.randn(5, 3, 3), torch.tensor([2, 5, 3]), enforce_sorted=False)
    mask = torch.tensor([True, False, False])
    whole = fold(net, x, mask=mask)
    torch.testing.assert_close(whole(x, mask=mask).frames.data, net(x, mask=mask).frames.data)
    torch.testing.assert_close(whole(x, mask=mask).rest, net(x, mask=mask).rest)


@pytest.mark.parametrize(("between", "words"), [("softmax", "output 1 of 1 by"), ("norm", "it no longer runs")])
def test_what_a_declaration_leaves_out_is_seen(between: str, words: str) -> None:
    """A softmax over the channels, or a norm of them, that no one mentioned."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.norm, self.two = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3)

        def forward(self, x):
            x = self.one(x)
            return self.two(torch.relu(self.norm(x)) if between == "norm" else torch.softmax(x, 1))

    torch.manual_seed(0)
    net, x = Net().eval(), torch.randn(2, 2, 8, 8)
    declare_(net, lambda net: [conv_pair(net, "site", "one", None, "two", 0)])
    add_neurons_(net, {"site": 2}, mode="frozen")
    before = net(x)
    with pytest.raises(GrowthError, match=f"folding 'site' would change what the network computes: {words}"):
        fold(net, x)
    assert torch.equal(net(x), before)
