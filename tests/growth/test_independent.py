"""Growth and pruning of networks built elsewhere, held against twins made by index arithmetic written out here.

Nothing below asks the package which entries belong to a neuron: `owned` says it anew, and a twin is an ordinary
network of the other width, built layer by layer, into which a state dict has to load strictly.
"""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from plastsearch.growth.checkpoint import load_grown_, save_grown
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold, fold_
from plastsearch.growth.freeze import trainable
from plastsearch.growth.optimizer import load_state_
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.stack import restack_, unstack_
from plastsearch.growth.survey import find_sites
from tests.exactness import train_alike_

SPEECH = {
    "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 10, "conv_dim": (6, 6),
    "conv_stride": (5, 4), "conv_kernel": (10, 8), "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2, "mask_time_prob": 0.0, "layerdrop": 0.0, "hidden_dropout": 0.0,
    "attention_dropout": 0.0, "activation_dropout": 0.0, "feat_proj_dropout": 0.0,
}  # fmt: skip


class Recurrent(nn.Module):
    def __init__(self, bidirectional):
        super().__init__()
        self.rnn = nn.GRU(4, 5, num_layers=3, batch_first=True, bidirectional=bidirectional)
        self.fc = nn.Linear(10 if bidirectional else 5, 2)

    def forward(self, x):
        return self.fc(self.rnn(x)[0].mean(1))


class BasicBlock(nn.Module):
    def __init__(self, size, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(size, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or size != width:
            self.downsample = nn.Sequential(nn.Conv2d(size, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        kept = x if self.downsample is None else self.downsample(x)
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + kept)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(BasicBlock(2, 3, 1), BasicBlock(3, 3, 1))
        self.layer2 = nn.Sequential(BasicBlock(3, 5, 2), BasicBlock(5, 5, 1))
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


class Speech(nn.Module):
    def __init__(self, family, stable):
        import transformers

        super().__init__()
        norm = "layer" if stable else "group"
        config = getattr(transformers, f"{family}Config")(**SPEECH, do_stable_layer_norm=stable, feat_extract_norm=norm)
        self.body = getattr(transformers, f"{family}Model")(config)
        self.fc = nn.Linear(12, 2)

    def forward(self, x):
        return self.fc(self.body(x).last_hidden_state.mean(1))


NETS = {
    "gru": (lambda: Recurrent(False), (3, 6, 4)),
    "bigru": (lambda: Recurrent(True), (3, 6, 4)),
    "resnet": (Residual, (3, 2, 7, 7)),
    "wav2vec2": (lambda: Speech("Wav2Vec2", False), (2, 400)),
    "wav2vec2_pre": (lambda: Speech("Wav2Vec2", True), (2, 400)),
    "hubert": (lambda: Speech("Hubert", False), (2, 400)),
    "hubert_pre": (lambda: Speech("Hubert", True), (2, 400)),
}
CASES = [
    ("gru", "gru.0", 5, 3), ("gru", "gru.2", 5, 1), ("bigru", "gru.1", 5, 2), ("bigru", "gru.2", 5, 3),
    ("resnet", "layer2.0", 5, 3), ("resnet", "layer1.1", 3, 2),
    ("wav2vec2", "encoder.0.ffn", 10, 3), ("wav2vec2", "encoder.1.attention", 3, 2),
    ("wav2vec2", "encoder.1.head_width", 4, 3), ("wav2vec2_pre", "encoder.0.attention", 3, 1),
    ("wav2vec2_pre", "encoder.1.head_width", 4, 1), ("hubert", "encoder.1.ffn", 10, 1),
    ("hubert", "encoder.0.attention", 3, 2), ("hubert_pre", "encoder.0.head_width", 4, 2),
]  # fmt: skip
cases = pytest.mark.parametrize(("name", "site", "units", "count"), CASES)


def build(name, seed=0):
    torch.manual_seed(seed)
    make, shape = NETS[name]
    net = make().double()
    unstack_(net)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.weight)
    return net.eval(), torch.randn(shape).double(), torch.arange(shape[0]) % 2


def step_of(site):
    return {"attention": 4, "head_width": 3}.get(site.split(".")[-1], 1)


def owned(net, site, total, unit):
    """State-dict key and dimension → the entries there of one unit, if the site has `total` units."""
    parts = site.split(".")
    if parts[0] == "gru":
        layer, names = int(parts[1]), ("", "_reverse") if net.rnn.layers[0].bidirectional else ("",)
        here, gates = f"rnn.layers.{layer}", [unit, total + unit, 2 * total + unit]
        found = {}
        for name in names:
            for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                found[f"{here}.{key}_l0{name}", 0] = gates
            found[f"{here}.weight_hh_l0{name}", 1] = [unit]
        columns = [unit] if len(names) == 1 else [unit, total + unit]
        above = [f"rnn.layers.{layer + 1}.weight_ih_l0{name}" for name in names] if layer < 2 else ["fc.weight"]
        return found | {(key, 1): columns for key in above}
    if parts[0] != "encoder":
        norm = ("weight", "bias", "running_mean", "running_var")
        found = {(f"{site}.bn1.{key}", 0): [unit] for key in norm}
        return found | {(f"{site}.conv1.weight", 0): [unit], (f"{site}.conv2.weight", 1): [unit]}
    block = f"body.encoder.layers.{parts[1]}"
    if parts[2] == "ffn":
        enter, leave = (f"{block}.feed_forward.{part}_dense" for part in ("intermediate", "output"))
        return {(f"{enter}.weight", 0): [unit], (f"{enter}.bias", 0): [unit], (f"{leave}.weight", 1): [unit]}
    if parts[2] == "attention":
        rows = [4 * unit, 4 * unit + 1, 4 * unit + 2, 4 * unit + 3]
    else:
        rows = [unit, total + unit, 2 * total + unit]
    projections = [f"{block}.attention.{part}_proj" for part in "qkv"]
    found = {(f"{path}.{key}", 0): rows for path in projections for key in ("weight", "bias")}
    return found | {(f"{block}.attention.out_proj.weight", 1): rows}


def without(net, tensors, site, total, units):
    """The tensors without the entries of some units."""
    left = dict(tensors)
    for (key, dim), _ in owned(net, site, total, 0).items():
        gone = {index for unit in units for index in owned(net, site, total, unit)[key, dim]}
        keep = [index for index in range(left[key].shape[dim]) if index not in gone]
        left[key] = left[key].index_select(dim, torch.tensor(keep))
    return left


def mask(net, tensors, site, total, units, side):
    """True at the entries of some units, on any side or the outgoing one."""
    inside = {key: torch.zeros_like(tensor, dtype=torch.bool) for key, tensor in tensors.items()}
    for unit in units:
        for (key, dim), index in owned(net, site, total, unit).items():
            if side == "all" or dim == 1:
                inside[key].index_fill_(dim, torch.tensor(index), True)
    return inside


def twin_of(net, site, total, tensors):
    """An ordinary network of another width at one site."""
    made, parts = copy.deepcopy(net), site.split(".")
    for parameter in made.parameters():
        parameter.requires_grad_(True)

    def linear(size, width):
        return nn.Linear(size, width).double()

    if parts[0] == "gru":
        layer, both = int(parts[1]), made.rnn.layers[0].bidirectional
        old = made.rnn.layers[layer]
        made.rnn.layers[layer] = nn.GRU(old.input_size, total, batch_first=True, bidirectional=both).double()
        width = total * (2 if both else 1)
        if layer < 2:
            above = made.rnn.layers[layer + 1].hidden_size
            made.rnn.layers[layer + 1] = nn.GRU(width, above, batch_first=True, bidirectional=both).double()
        else:
            made.fc = linear(width, 2)
    elif parts[0] != "encoder":
        block = made.get_submodule(site)
        size, width, stride = block.conv1.in_channels, block.conv2.out_channels, block.conv1.stride
        block.conv1 = nn.Conv2d(size, total, 3, stride, 1, bias=False).double()
        block.bn1 = nn.BatchNorm2d(total).double()
        block.conv2 = nn.Conv2d(total, width, 3, 1, 1, bias=False).double()
    else:
        layer = made.body.encoder.layers[int(parts[1])]
        if parts[2] == "ffn":
            layer.feed_forward.intermediate_dense, layer.feed_forward.output_dense = (
                linear(12, total),
                linear(total, 12),
            )
        else:
            inner = 4 * total if parts[2] == "attention" else 3 * total
            for part in "qkv":
                setattr(layer.attention, f"{part}_proj", linear(12, inner))
            layer.attention.out_proj = linear(inner, 12)
            layer.attention.head_dim = 4 if parts[2] == "attention" else total
    made.load_state_dict(tensors, strict=True)
    return made.train(net.training)


def loss_of(net, x, labels):
    return nn.functional.cross_entropy(net(x), labels)


def same(one, other):
    assert list(one) == list(other)
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


ONE_WAY = [(*case, "into_new") for case in CASES]
BOTH_WAYS = [(*case, "both") for case in CASES if "gru" in case[0]]


@pytest.mark.parametrize(("name", "site", "units", "count", "lateral"), ONE_WAY + BOTH_WAYS)
def test_frozen_growth_is_a_wider_twin_of_which_only_the_new_entries_learn(name, site, units, count, lateral):
    net, x, labels = build(name)
    original, before = copy.deepcopy(net.state_dict()), net(x)
    total, new = units + count, range(units, units + count)
    add_neurons_(net, {site: count * step_of(site)}, mode="frozen", lateral=lateral)
    close(net(x), before)
    optimizer = AdamW(trainable(net), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss_of(net, x, labels).backward()
        optimizer.step()
    plain, grown = fold(net, x), net(x)
    assert not torch.allclose(grown, before)
    twin = twin_of(build(name)[0], site, total, plain.state_dict())
    close(twin(x), grown)
    close(plain(x), grown)
    same(without(plain, plain.state_dict(), site, total, new), original)

    sgd = SGD(trainable(net), lr=1.0)  # its step is the gradient
    sgd.zero_grad()
    loss_of(net, x, labels).backward()
    sgd.step()
    loss_of(twin, x, labels).backward()
    moved, inside = fold(net, x).state_dict(), mask(plain, plain.state_dict(), site, total, new, "all")
    if lateral == "into_new" and "gru" in name:
        blind_(plain, site, units, total, inside)
    for key, parameter in twin.named_parameters():
        step = plain.state_dict()[key] - moved[key]
        close(step, parameter.grad * inside[key])


def blind_(net, site, units, total, inside):
    """One-way: old units do not read new ones, nor do candidates of new units read old ones."""
    for key in [key for key, dim in owned(net, site, total, 0) if ".weight_hh" in key and dim == 1]:
        for gate in range(3):
            inside[key][gate * total : gate * total + units, units:] = False
        inside[key][2 * total + units :, :units] = False


@cases
def test_unfrozen_growth_is_a_wider_twin_that_learns_alike(name, site, units, count):
    net, x, labels = build(name)
    original, before = copy.deepcopy(net.state_dict()), net(x)
    total, new = units + count, range(units, units + count)
    add_neurons_(net, {site: count * step_of(site)}, mode="unfrozen")
    same(without(net, net.state_dict(), site, total, new), original)
    close(net(x), before)
    twin = twin_of(build(name)[0], site, total, net.state_dict())
    net.train()
    twin.train()
    for part in (net, twin):
        optimizer = AdamW(part.parameters(), lr=1e-2, weight_decay=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            loss_of(part, x, labels).backward()
            optimizer.step()
    for key, parameter in twin.named_parameters():
        close(net.get_parameter(key), parameter)
        close(net.get_parameter(key).grad, parameter.grad)
    for buffer, other in zip(net.buffers(), twin.buffers(), strict=True):
        close(buffer, other)


@cases
def test_pruned_is_the_twin_without_those_entries_and_equals_the_masked_network(name, site, units, count):
    net, x, labels = build(name)
    add_neurons_(net, {site: count * step_of(site)}, mode="unfrozen")
    optimizer = AdamW(net.parameters(), lr=1e-2)
    net.train()
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(net, x, labels).backward()
        optimizer.step()
    net.eval()
    total = units + count
    gone = torch.randperm(total, generator=torch.Generator().manual_seed(units))[:count].sort().values
    tensors = copy.deepcopy(net.state_dict())
    moments = {key: copy.deepcopy(optimizer.state[net.get_parameter(key)]) for key, _ in net.named_parameters()}
    masked = twin_of(build(name)[0], site, total, tensors)
    silent = mask(net, tensors, site, total, gone.tolist(), "out")
    with torch.no_grad():
        for key, parameter in masked.named_parameters():
            parameter.masked_fill_(silent[key], 0)
    remove_neurons_(net, {site: gone}, optimizer)
    expected = without(net, tensors, site, total, gone.tolist())
    same(net.state_dict(), expected)
    untouched = build(name, seed=1)[0]
    if not site.endswith("head_width"):
        untouched.load_state_dict(net.state_dict(), strict=True)
        close(untouched(x), net(x))
    close(twin_of(untouched, site, units, expected)(x), net(x))
    if not site.endswith("head_width"):  # zeroed columns leave the keys and queries of a head width in its scores
        close(masked(x), net(x))
    for moment in ("exp_avg", "exp_avg_sq"):
        before = {key: state[moment] for key, state in moments.items()} | {
            key: tensor for key, tensor in tensors.items() if key not in moments
        }
        after = without(net, before, site, total, gone.tolist())
        for key, parameter in net.named_parameters():
            assert torch.equal(optimizer.state[parameter][moment], after[key])
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in net.parameters()}


@pytest.mark.parametrize("name", ["gru", "bigru", "resnet", "wav2vec2_pre", "hubert"])
@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_stopped_and_taken_up_again_it_is_bit_identical(name, mode, tmp_path):
    """Grown, trained, folded, pruned at random, grown again, saved, loaded, continued on the same gradients."""
    net, x, labels = build(name)
    sites = [site for n, site, _, _ in CASES if n == name and not site.endswith("head_width")]
    add_neurons_(net, {site: 2 * step_of(site) for site in sites}, mode=mode)
    take_(net, AdamW(trainable(net), lr=1e-2), x, labels)
    fold_(net, x)
    remove_neurons_(net, {site: torch.tensor([0, found.units - 1]) for site, found in at_(net, sites)})
    optimizer = AdamW(net.parameters(), lr=1e-2)
    take_(net, optimizer, x, labels)
    add_neurons_(net, {sites[0]: step_of(sites[0])}, mode=mode, optimizer=optimizer)
    take_(net, optimizer, x, labels)
    save_grown(net, tmp_path)
    again = build(name, seed=3)[0]
    load_grown_(again, tmp_path)
    if mode == "frozen":  # what was frozen has state, but no part in the steps to come
        learning = {id(parameter) for parameter in trainable(net)}
        new = [group for group in optimizer.param_groups if any(id(p) in learning for p in group["params"])]
        kept = AdamW(new[0]["params"], lr=1e-2)
        kept.state.update({p: optimizer.state[p] for p in new[0]["params"]})
        optimizer = kept
    second = AdamW(trainable(again), lr=1e-2)
    load_state_(second, copy.deepcopy(optimizer.state_dict()))
    same(net.state_dict(), again.state_dict())
    net.train()
    again.train()
    train_alike_([(net, optimizer), (again, second)], lambda one: loss_of(one, x, labels))
    same(dict(net.named_parameters()), dict(again.named_parameters()))
    for buffer, other in zip(net.buffers(), again.buffers(), strict=True):
        close(buffer, other)


def at_(net, sites):
    found = find_sites(net)
    return [(site, found[site]) for site in sites]


def take_(net, optimizer, x, labels):
    net.train()
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(net, x, labels).backward()
        optimizer.step()


@pytest.mark.parametrize("both", [False, True])
def test_a_multi_layer_gru_comes_back(both):
    """nn.GRU → stack → grown in one layer, trained, pruned → nn.GRU that loads where it came from."""
    torch.manual_seed(0)
    net = Recurrent(both).double()
    plain, x = copy.deepcopy(net), torch.randn(3, 6, 4).double()
    unstack_(net)
    close(net(x), plain(x))
    add_neurons_(net, {"gru.1": 3}, mode="frozen")
    take_(net, AdamW(trainable(net), lr=1e-2), x, torch.tensor([0, 1, 0]))
    fold_(net, x)
    remove_neurons_(net, {"gru.1": torch.tensor([5, 6, 7])})
    restack_(net)
    same(net.state_dict(), plain.state_dict())
    close(net(x), plain(x))


class LastState(nn.Module):
    """The usual recurrent classifier: it reads the final states of the last layer."""

    def __init__(self, both):
        super().__init__()
        self.rnn = nn.GRU(3, 4, num_layers=2, batch_first=True, bidirectional=both)
        self.fc = nn.Linear(8 if both else 4, 2)

    def forward(self, x, first=None):
        state = self.rnn(x, first)[1]
        return self.fc(torch.cat([state[-2], state[-1]], -1) if self.rnn.layers[0].bidirectional else state[-1])


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
@pytest.mark.parametrize("site", ["gru.0", "gru.1"])
def test_a_head_on_the_final_states_keeps_its_function(both, mode, site):
    torch.manual_seed(0)
    net, x = LastState(both).double(), torch.randn(3, 6, 3).double()
    unstack_(net)
    before = net(x)
    add_neurons_(net, {site: 3}, mode=mode)
    close(net(x), before)
    take_(net, AdamW(trainable(net), lr=1e-2), x, torch.tensor([0, 1, 0]))
    close(fold(net, x)(x), net(x))
    zeros = net.rnn(x)[1]
    zeros = tuple(torch.zeros_like(state) for state in zeros)
    close(net(x, zeros), net(x))
