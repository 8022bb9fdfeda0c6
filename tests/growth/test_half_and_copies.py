"""Networks in half precision, and copies, pickles and conversions of grown networks."""

import copy
import pickle
from threading import Barrier, Thread

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, AdamW

from plastsearch.errors import GrowthError
from plastsearch.growth.criteria import CRITERIA, score
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold
from plastsearch.growth.freeze import trainable
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.site import declare_, ffn, heads
from plastsearch.growth.survey import find_sites

NAMES = ("resnet", "bigru", "bilstm", "rawnet", "lcnn", "ecapa", "wav2vec2", "wavlm")
WHOLE = ("resnet", "gru", "bigru", "wav2vec2", "wav2vec2_pre_norm", "hubert", "wavlm")


def loss(logits, labels):
    return functional.cross_entropy(logits.float(), labels, reduction="none")


def grow_(net, mode, lateral="into_new"):
    """Two units at every site but the head widths, which do not go together with heads."""
    sites = find_sites(net)
    names = [name for name in sites if not name.endswith("head_width")]
    generator = torch.Generator().manual_seed(1)
    return add_neurons_(
        net, {name: 2 * sites[name].step for name in names}, mode=mode, lateral=lateral, generator=generator
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_life_in_half_precision(nets, name, mode, dtype):
    """Grown, trained, folded, scored and pruned; all that is new has the network's precision, no more and no less."""
    case, eps = nets.build(name, dtype=dtype), torch.finfo(dtype).eps
    before = case.net(case.x)
    grow_(case.net, mode, lateral="both")
    assert all(tensor.dtype == dtype for tensor in case.net.parameters())
    torch.testing.assert_close(case.net(case.x), before, rtol=8 * eps, atol=8 * eps)
    # Adam's epsilon is 0 in float16, and its first step of a gradient of 0 not a number, grown or not.
    kind = AdamW if dtype == torch.bfloat16 else SGD
    optimizer = kind(trainable(case.net), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        loss(case.net(case.x), case.labels).mean().backward()
        optimizer.step()
    whole = fold(case.net, case.x)
    assert all(tensor.dtype == dtype for tensor in [*whole.parameters()])
    torch.testing.assert_close(whole(case.x), case.net(case.x), rtol=32 * eps, atol=32 * eps)
    names = [criterion for criterion in CRITERIA if name == "resnet" or criterion != "bn_gamma"]
    sites = list(find_sites(whole))
    found = score(whole, sites, names, [(case.x, case.labels)], loss, torch.Generator())
    assert all(found[criterion][site].isfinite().all() for criterion in names for site in sites)
    exact = score(copy.deepcopy(whole).double(), sites, ["magnitude"], [], loss, torch.Generator())
    for site in sites:
        torch.testing.assert_close(found["magnitude"][site], exact["magnitude"][site])
    remove_neurons_(whole, {site: [0] for site in sites})
    assert whole(case.x).isfinite().all()


HOWS = [(name, how) for name in WHOLE for how in ("deepcopy", "state_dict")]
HOWS += [
    (name, "pickle") for name in WHOLE[:3]
]  # torch pickles no parametrised layers, such as wav2vec 2.0's positions


@pytest.mark.slow
@pytest.mark.parametrize(("name", "how"), HOWS)
def test_a_copy_of_a_grown_network_lives_on_its_own(nets, name, how):
    """Trained further, neither moves the other; both fold to what they compute."""
    case = nets.build(name)
    original = copy.deepcopy(case.net)
    grow_(case.net, "frozen", lateral="both")
    nets.stir_(case.net)
    net, before = case.net, case.net(case.x)
    if how == "pickle":
        twin = pickle.loads(pickle.dumps(net))
    else:
        twin = copy.deepcopy(net)
    if how == "state_dict":
        twin = original
        grow_(twin, "frozen", lateral="both")
        twin.load_state_dict(net.state_dict(), strict=True)
    assert [type(part) for part in twin.modules()] == [type(part) for part in net.modules()]
    assert not {id(tensor) for tensor in twin.parameters()} & {id(tensor) for tensor in net.parameters()}
    assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in net.parameters()]
    torch.testing.assert_close(twin(case.x), before, rtol=1e-12, atol=1e-12)
    twin.train()
    optimizer = AdamW(trainable(twin), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        functional.cross_entropy(twin(case.x), case.labels).backward()
        optimizer.step()
    twin.eval()
    torch.testing.assert_close(net(case.x), before, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(twin(case.x), before)
    torch.testing.assert_close(fold(twin, case.x)(case.x), twin(case.x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(fold(net, case.x)(case.x), before, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_grown_network_changes_its_precision_as_a_whole(nets, name):
    case = nets.build(name)
    grow_(case.net, "frozen")
    nets.stir_(case.net)
    before = case.net(case.x)
    case.net.float()
    assert {tensor.dtype for tensor in case.net.parameters()} == {torch.float32}
    torch.testing.assert_close(case.net(case.x.float()).double(), before, rtol=1e-3, atol=1e-4)


def test_a_block_in_two_places_is_one_row_of_neurons(nets):
    """Listed once, so that it can neither grow nor shrink twice in one call."""
    case = nets.build("wav2vec2")
    case.net.again = nn.ModuleList([case.net.encoder.encoder.layers[0]])
    sites = find_sites(case.net)
    assert sorted({name.split(".")[1] for name in sites}) == ["0", "1", "2"]
    before = case.net(case.x)
    dropin = add_neurons_(case.net, {"encoder.0.ffn": 3}, mode="unfrozen")
    remove_neurons_(case.net, {"encoder.0.ffn": list(dropin.new_units("encoder.0.ffn"))})
    torch.testing.assert_close(case.net(case.x), before, rtol=1e-12, atol=1e-12)


class Meeting(nn.Module):
    """An activation at which two threads wait for each other, so that each is in the middle of its pass."""

    barrier: Barrier | None = None

    def forward(self, x):
        if self.barrier is not None:
            self.barrier.wait(timeout=60)
        return x.tanh()


def test_two_threads_can_run_one_grown_network():
    """What a fork lays on a wire is for the join of the same pass, as when a server answers two clients at once."""
    torch.manual_seed(0)
    net = nn.Sequential()
    net.up, net.act, net.down = nn.Linear(3, 4), Meeting(), nn.Linear(4, 2)
    declare_(net, lambda net: [ffn(net, "row", "up", "down", 0, act="act")])
    add_neurons_(net, {"row": 3})
    nn.init.normal_(next(p for name, p in net.named_parameters() if name.endswith("leave.weight")))
    inputs, found = torch.randn(2, 5, 3), {}
    expected = [net(x) for x in inputs]
    net.act.barrier = Barrier(2)
    threads = [Thread(target=lambda k=k: found.update({k: net(inputs[k])})) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in (0, 1):
        torch.testing.assert_close(found[k], expected[k])


def test_rows_that_do_not_meet_are_refused(nets):
    net = nn.Sequential()
    net.up, net.act, net.down = nn.Linear(3, 8), nn.GLU(), nn.Linear(4, 2)
    with pytest.raises(GrowthError, match="up gives 8 neurons and down reads 4; both must be one row"):
        ffn(net, "row", "up", "down", 0, act="act")
    net = nets.build("wav2vec2").net
    path = "encoder.encoder.layers.0.attention"
    net.get_submodule(path).k_proj = nn.Linear(16, 8)
    with pytest.raises(GrowthError, match="query, key and value of 16, 8, 16 rows; where heads share keys or values"):
        heads(net, "encoder.0.attention", path, 0)
