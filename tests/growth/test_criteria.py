"""Criteria against brute-force twins and by their laws, on networks of every kind of site."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional

from plastsearch.errors import GrowthError
from plastsearch.growth.criteria import CRITERIA, bin_entropy, middle_ranks, score
from plastsearch.growth.gauge import split_activations
from plastsearch.growth.paths import at
from plastsearch.growth.site import conv_pair, declare_, ffn, hidden
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build
from plastsearch.spec.vocabulary import Criterion

SAMPLES = 3200


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn, self.act = nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU()
        self.conv2, self.head = nn.Conv2d(5, 3, 3, padding=1), nn.Linear(3, 2)
        declare_(self, lambda net: [conv_pair(net, "site", "conv1", "bn", "conv2", 0, act="act")])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv2(self.act(self.bn(self.conv1(x)))).square().mean((2, 3)))


class FeedForward(nn.Module):
    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.up, self.act, self.down = nn.Linear(4, 6, bias=bias), nn.ReLU(), nn.Linear(6, 2)
        declare_(self, lambda net: [ffn(net, "site", "up", "down", 0, act="act")])

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.up(x))).mean(1)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.GRU(n, 4, batch_first=True, bidirectional=True) for n in (3, 8))
        self.head = nn.Linear(16, 2)
        sites = ("first", ["second"]), ("second", ["head"])
        declare_(self, lambda net: [hidden(net, f"gru.{i}", a, b, i) for i, (a, b) in enumerate(sites)])

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(self.first(x)[0])[0]
        return self.head(torch.cat([out.mean(1), out.std(1)], 1))


CASES = {
    "channels": (ConvNet, (1, 6, 5)),
    "ffn": (FeedForward, (7, 4)),
    "gru": (Recurrent, (6, 3)),
    "wav2vec2": (lambda: build("wav2vec2"), (SAMPLES,)),
}


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels, reduction="none")


def network(kind: str, seed: int = 0) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(seed)
    make, shape = CASES[kind]
    module = make().double().eval()
    for name, buffer in module.named_buffers():
        if "running_var" in name:
            buffer.uniform_(0.5, 2)
    batches = [(torch.randn(n, *shape).double(), torch.randint(0, 2, (n,))) for n in (5, 3)]
    return module, batches


def scores(module: nn.Module, batches: list[tuple[Tensor, Tensor]], names: list[str], **more: object) -> dict:
    return score(module, list(find_sites(module)), names, batches, loss, torch.Generator().manual_seed(0), **more)


def usable(kind: str) -> list[str]:
    return [name for name in CRITERIA if kind == "channels" or name != "bn_gamma"]


def test_every_criterion_of_the_configuration_exists() -> None:
    assert tuple(CRITERIA) == Criterion.__args__


@pytest.mark.parametrize("kind", CASES)
def test_scores_are_finite_and_one_per_unit(kind: str) -> None:
    module, batches = network(kind)
    found = scores(module, batches, usable(kind))
    for site in find_sites(module).values():
        for name in usable(kind):
            assert found[name][site.name].shape == (site.units,)
            assert found[name][site.name].isfinite().all(), (name, site.name)


def gates(module: nn.Module, batches: list[tuple[Tensor, Tensor]], name: str) -> Tensor:
    """The twin: a factor of 1 on each unit of one clip at a time, and the loss's slope along it."""
    site = find_sites(module)[name]
    found = []

    def multiplied(value: Tensor, gate: Tensor) -> Tensor:
        factor = gate[None, :, None].expand(site.tap.gates, site.units, site.tap.width).reshape(-1)
        shape = [1] * value.dim()
        shape[site.tap.dim] = len(factor)
        return value * factor.reshape(shape)

    tap = at(module, site.tap.module)
    for inputs, labels in batches:
        for i in range(len(inputs)):
            gate = torch.ones(site.units, dtype=torch.float64, requires_grad=True)
            if site.tap.end == "input":
                handle = tap.register_forward_pre_hook(lambda _, args, g=gate: (multiplied(args[0], g),))
            else:
                handle = tap.register_forward_hook(lambda _, __, out, g=gate: (multiplied(out[0], g), out[1]))
            (slope,) = torch.autograd.grad(loss(module(inputs[i : i + 1]), labels[i : i + 1]).sum(), gate)
            handle.remove()
            found.append(slope)
    return torch.stack(found)


@pytest.mark.parametrize("kind", CASES)
def test_taylor_and_fisher_are_slopes_of_a_gate(kind: str) -> None:
    module, batches = network(kind)
    found = scores(module, batches, ["taylor", "fisher"])
    for name in list(find_sites(module))[:3]:
        slopes = gates(module, batches, name)
        torch.testing.assert_close(found["taylor"][name], slopes.abs().mean(0))
        torch.testing.assert_close(found["fisher"][name], slopes.square().mean(0))


def collected(module: nn.Module, batches: list[tuple[Tensor, Tensor]], name: str) -> list[Tensor]:
    """Activations of each clip, [positions, units]."""
    site, kept = find_sites(module)[name], []
    tap = at(module, site.tap.module)
    if site.tap.end == "input":
        handle = tap.register_forward_pre_hook(lambda _, args: kept.append(args[0].detach()))
    else:
        handle = tap.register_forward_hook(lambda _, __, out: kept.append(out[0].detach()))
    for inputs, _ in batches:
        module(inputs)
    handle.remove()
    split = [split_activations(value, site.tap, site.units) for value in kept]
    return [clip[..., 0] if clip.shape[-1] == 1 else clip.norm(dim=-1) for value in split for clip in value]


def histogram_entropy(column: list[float], low: float, high: float) -> float:
    counts: dict[int, int] = {}
    for value in column:
        place = min(max(math.floor((value - low) / (high - low) * 64), 0), 63) if value else 64
        counts[place] = counts.get(place, 0) + 1
    shares = [count / len(column) for count in counts.values()]
    return -sum(share * math.log(share) for share in shares) + (len(counts) - 1) / (2 * len(column))


@pytest.mark.parametrize("kind", CASES)
def test_entropy_and_variance_equal_their_twins(kind: str) -> None:
    module, batches = network(kind)
    found = scores(module, batches, ["entropy", "entropy_shared", "variance"])
    for name in list(find_sites(module))[:3]:
        clips = collected(module, batches, name)
        means = torch.stack([clip.mean(0) for clip in clips])
        spoken = means[means != 0]
        shared = spoken.quantile(0.001).item(), spoken.quantile(0.999).item()
        for unit in range(means.shape[1]):
            column = means[:, unit]
            own = column[column != 0]
            low, high = own.quantile(0.001).item(), own.quantile(0.999).item()
            assert found["entropy"][name][unit] == pytest.approx(histogram_entropy(column.tolist(), low, high))
            assert found["entropy_shared"][name][unit] == pytest.approx(histogram_entropy(column.tolist(), *shared))
        everything = torch.cat(clips)
        torch.testing.assert_close(found["variance"][name], everything.std(0, correction=0).log())


@pytest.mark.parametrize("kind", ["channels", "ffn"])
def test_weight_criteria_equal_their_twins(kind: str) -> None:
    module, batches = network(kind)
    found = scores(module, batches, ["taylor_weight", "gradient_norm", "magnitude"])
    site = find_sites(module)["site"]
    signed, square = torch.zeros(site.units).double(), torch.zeros(site.units).double()
    for inputs, labels in batches:
        module.zero_grad()
        loss(module(inputs), labels).mean().backward()
        for j in range(site.units):
            out = at(module, site.parts["out"]).weight
            signed[j] += len(inputs) / 8 * (out.grad[:, j] * out[:, j]).sum().abs().item()
            rows = [
                at(module, site.parts["in"]).weight.grad[j],
                at(module, site.parts["in"]).bias.grad[j],
                out.grad[:, j],
            ]
            if kind == "channels":
                rows += [at(module, site.parts["norm"]).weight.grad[j], at(module, site.parts["norm"]).bias.grad[j]]
            square[j] += len(inputs) / 8 * sum(row.square().sum().item() for row in rows)
    torch.testing.assert_close(found["taylor_weight"]["site"], signed)
    torch.testing.assert_close(found["gradient_norm"]["site"], square.sqrt())
    rows = at(module, site.parts["in"])
    incoming = (rows.weight.flatten(1).square().sum(1) + rows.bias.square()).sqrt()
    if kind == "channels":
        incoming = at(module, site.parts["norm"]).weight.abs()
    outgoing = at(module, site.parts["out"]).weight.transpose(0, 1).flatten(1).norm(dim=1)
    torch.testing.assert_close(found["magnitude"]["site"], (incoming * outgoing).detach())


@pytest.mark.parametrize("kind", CASES)
def test_co_activation_equals_its_twin(kind: str) -> None:
    module, batches = network(kind)
    found = scores(module, batches, ["co_activation"])["co_activation"]
    for name in list(find_sites(module))[:2]:
        clips = collected(module, batches, name)
        some = torch.linspace(0, len(clips[0]) - 1, min(8, len(clips[0]))).round().long()
        corr = torch.corrcoef(torch.cat([clip[some] for clip in clips]).T).abs()
        corr.fill_diagonal_(0)
        torch.testing.assert_close(found[name], 1 - corr.max(1).values)


def test_hebbian_equals_its_twin_for_both_directions_of_a_gru() -> None:
    module, batches = network("gru")
    found = scores(module, batches, ["hebbian"])["hebbian"]["gru.0"]
    means = torch.stack([clip.mean(0) for clip in collected(module, batches, "gru.0")])
    outputs = torch.cat([module.second(module.first(inputs)[0])[0].mean(1) for inputs, _ in batches])
    for j in range(4):
        expected = 0.0
        for key, start in (("weight_ih_l0", 0), ("weight_ih_l0_reverse", 4)):
            weight = getattr(module.second, key)
            for k in range(4):
                r = torch.corrcoef(torch.stack([means[:, j], outputs[:, start + k]]))[0, 1].abs()
                rows = weight[[k, 4 + k, 8 + k]]
                expected += (r * (rows[:, j].abs().sum() + rows[:, 4 + j].abs().sum())).item()
        assert found[j].item() == pytest.approx(expected)


def permute_(module: nn.Module, name: str, order: Tensor) -> None:
    site = find_sites(module)[name]
    for slot in site.slots:
        tensor = getattr(at(module, slot.module), slot.tensor)
        moved = tensor.detach().movedim(slot.dim, 0)
        used = slot.gates * site.units * slot.width
        parts = moved[slot.offset : slot.offset + used].reshape(slot.gates, site.units, slot.width, *moved.shape[1:])
        moved[slot.offset : slot.offset + used] = parts[:, order].reshape(used, *moved.shape[1:])


@pytest.mark.parametrize("kind", CASES)
@examples(max_examples=8)
@given(data=st.data(), seed=st.integers(0, 99))
def test_scores_follow_a_permutation_of_the_neurons(kind: str, data: st.DataObject, seed: int) -> None:
    module, batches = network(kind, seed)
    name = data.draw(st.sampled_from(list(find_sites(module))))
    units = find_sites(module)[name].units
    order = torch.tensor(data.draw(st.permutations(range(units))))
    names = [n for n in usable(kind) if n not in ("random", "newest", "entropy", "entropy_shared", "gradient_entropy")]
    before, logits = scores(module, batches, names), module(batches[0][0])
    permute_(module, name, order)
    after = scores(module, batches, names)
    torch.testing.assert_close(module(batches[0][0]), logits)
    for criterion in names:
        torch.testing.assert_close(after[criterion][name], before[criterion][name][order], atol=1e-9, rtol=1e-6)


@given(seed=st.integers(0, 999), n=st.integers(2, 40), shared=st.booleans())
def test_entropy_and_ranks_follow_a_permutation(seed: int, n: int, shared: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, 6, generator=generator).double().relu()
    order = torch.randperm(6, generator=generator)
    assert torch.equal(bin_entropy(values[:, order], shared=shared), bin_entropy(values, shared=shared)[order])
    row = values[0].round()
    assert torch.equal(middle_ranks(row[order]), middle_ranks(row)[order])


@given(seed=st.integers(0, 999), power=st.integers(-20, 20), shift=st.floats(-3, 3))
def test_entropy_of_its_own_range_is_blind_to_scale_and_offset(seed: int, power: int, shift: float) -> None:
    values = torch.randn(300, 4, generator=torch.Generator().manual_seed(seed)).double()
    entropy = bin_entropy(values, shared=False)
    assert torch.equal(bin_entropy(values * 2.0**power, shared=False), entropy)
    torch.testing.assert_close(bin_entropy(values * 3.7 + shift, shared=False), entropy, atol=0.02, rtol=0)


@given(seed=st.integers(0, 999), silent=st.integers(0, 300))
def test_silence_of_a_relu_counts_as_one_bin(seed: int, silent: int) -> None:
    values = torch.rand(300, 1, generator=torch.Generator().manual_seed(seed)).double() + 1
    values[:silent] = 0
    share = silent / 300
    spoken = bin_entropy(values[silent:], shared=False).item() - _miller_madow(values[silent:]) if silent < 300 else 0.0
    own = -sum(p * math.log(p) for p in (share, 1 - share) if p)
    expected = own + (1 - share) * spoken + _miller_madow(values)
    assert bin_entropy(values, shared=False).item() == pytest.approx(expected, abs=1e-9)


def _miller_madow(values: Tensor) -> float:
    spoken = values[values != 0]
    bins = 0
    if len(spoken):
        low, high = spoken.quantile(0.001), spoken.quantile(0.999)
        bins = len(((spoken - low) / (high - low).clamp_min(1e-12) * 64).floor().clamp(0, 63).unique())
    return (bins + bool((values == 0).any()) - 1) / (2 * len(values))


@pytest.mark.parametrize("kind", ["channels", "ffn"])
@examples(max_examples=10)
@given(seed=st.integers(0, 999))
def test_slopes_of_outgoing_weights_add_up_to_the_gate(kind: str, seed: int) -> None:
    """Σ_w g_w·w over what reads the unit = Σ_clips Σ_t g_a·a, for a linear or convolutional reader."""
    module, batches = network(kind, seed)
    weights = scores(module, batches[:1], ["taylor_weight"])["taylor_weight"]["site"]
    torch.testing.assert_close(weights, gates(module, batches[:1], "site").mean(0).abs(), atol=1e-12, rtol=1e-7)


@examples(max_examples=15)
@given(seed=st.integers(0, 999), factor=st.floats(0.05, 20), unit=st.integers(0, 5))
def test_magnitude_taylor_and_fisher_ignore_a_rescaled_relu_unit(seed: int, factor: float, unit: int) -> None:
    module, batches = network("ffn", seed)
    names = ["magnitude", "taylor", "fisher", "taylor_weight"]
    before = scores(module, batches, names)
    with torch.no_grad():
        module.up.weight[unit] *= factor
        module.up.bias[unit] *= factor
        module.down.weight[:, unit] /= factor
    after = scores(module, batches, names)
    for name in names:
        torch.testing.assert_close(after[name]["site"], before[name]["site"], atol=1e-12, rtol=1e-7)


@pytest.mark.parametrize("kind", CASES)
def test_a_unit_that_nothing_reads_is_worth_nothing(kind: str) -> None:
    module, batches = network(kind)
    for name, site in find_sites(module).items():
        for slot in site.slots:
            if slot.role in ("out", "recurrent"):
                weight = getattr(at(module, slot.module), slot.tensor).detach().movedim(slot.dim, 0)
                for gate in range(slot.gates):
                    start = slot.offset + (gate * site.units + 1) * slot.width
                    weight[start : start + slot.width] = 0
        found = scores(module, batches, ["taylor", "fisher", "magnitude", "taylor_weight"])
        for criterion in found:
            assert found[criterion][name][1].item() == pytest.approx(0, abs=1e-15), (name, criterion)


@given(units=st.just(6), added=st.integers(0, 6))
def test_newest_puts_the_added_units_first_and_the_last_of_them_before(units: int, added: int) -> None:
    module, _ = network("ffn")
    found = scores(module, [], ["newest"], added={"site": added})["newest"]["site"]
    lowest = found.argsort(stable=True)[:added].tolist()
    assert lowest == list(range(units - 1, units - 1 - added, -1))
    assert (found[: units - added] == 0).all()


def test_random_follows_its_generator_and_weight_criteria_need_no_clips() -> None:
    module, _ = network("channels")
    first, second = (scores(module, [], ["random", "magnitude", "bn_gamma"]) for _ in range(2))
    assert torch.equal(first["random"]["site"], second["random"]["site"])
    assert torch.equal(first["bn_gamma"]["site"], module.bn.weight.detach().abs())


def test_gradient_entropy_adds_the_ranks_of_both_signals() -> None:
    module, batches = network("ffn")
    found = scores(module, batches, ["gradient_entropy", "gradient_norm", "entropy"])
    ranks = [rankdata(found[name]["site"].numpy()) - 1 for name in ("gradient_norm", "entropy")]
    assert found["gradient_entropy"]["site"].tolist() == (ranks[0] + ranks[1]).tolist()


@pytest.mark.parametrize("kind", CASES)
def test_scoring_leaves_the_network_as_it_was(kind: str) -> None:
    module, batches = network(kind)
    module.train()
    next(module.parameters()).requires_grad_(False)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    flags = [parameter.requires_grad for parameter in module.parameters()]
    scores(module, batches, usable(kind))
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert [parameter.requires_grad for parameter in module.parameters()] == flags
    assert all(part.training for part in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_frozen_network_scores_the_same() -> None:
    module, batches = network("wav2vec2")
    names = usable("wav2vec2")
    before = scores(module, batches, names)
    module.requires_grad_(False)
    after = scores(module, batches, names)
    for name in names:
        for site in before[name]:
            torch.testing.assert_close(after[name][site], before[name][site], atol=1e-12, rtol=1e-9)


def test_mistakes_say_what_is_possible() -> None:
    module, batches = network("ffn")
    with pytest.raises(
        GrowthError, match=r"unknown criterion 'tailor' \(did you mean 'taylor'\?\); known: taylor, fisher"
    ):
        scores(module, batches, ["tailor"])
    with pytest.raises(GrowthError, match="site 'site' has none: use 'magnitude'"):
        scores(module, batches, ["bn_gamma"])
    with pytest.raises(GrowthError, match="need calibration clips, and none came"):
        scores(module, [], ["taylor"])
    with pytest.raises(GrowthError, match="one value per clip"):
        score(module, ["site"], ["taylor"], batches, functional.cross_entropy, torch.Generator())
    with pytest.raises(GrowthError, match=r"no site encoder\.0\.ffn; the network has site"):
        score(module, ["encoder.0.ffn"], ["taylor"], batches, loss, torch.Generator())
    module.down.weight.data[0, 2] = float("nan")
    with pytest.raises(GrowthError, match=r"'magnitude' gives NaN at site 'site' for units \[2\] of 6"):
        scores(module, batches, ["magnitude"])
