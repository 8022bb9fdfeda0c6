"""LoRA beside dropin: same layers, same number of parameters, nothing else moves, and it merges away."""

import json
from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from plastsearch.errors import GrowthError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.freeze import freeze_base_, trainable
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build
from plastsearch.models.detector import Detector
from plastsearch.search.canonical import canonical
from plastsearch.spec.config import TrialConfig
from plastsearch.sweep import planned as controls
from plastsearch.trial.lora import (
    Target,
    add_lora_,
    inject_,
    learn_lora_,
    lora_parameters,
    merge_lora_,
    solve_ranks,
    targets_of,
)
from plastsearch.trial.methods import stages_of
from plastsearch.trial.networks import TrialNetwork, change_
from tests.exactness import adding_nothing, close, same

CASES = [
    ("wav2vec2", False, {"encoder.2.ffn": 24, "encoder.3.attention": 24}),
    ("wav2vec2", False, {"encoder.4.head_width": 8}),
    ("resnet18", False, {"layer2.0": 8, "layer4.1": 3}),
    ("grnn", False, {"gru.1": 16}),
    ("grnn", True, {"gru.0": 8, "gru.2": 8}),
]
ids = ["ffn+heads", "head_width", "resnet18", "grnn", "bidirectional"]


def network(name: str, bidirectional: bool = False) -> Detector:
    return build(name, bidirectional=bidirectional).eval()


def waves() -> Tensor:
    return torch.randn(3, 8000, generator=torch.Generator().manual_seed(1))


def config(neurons: dict[str, int], **more: object) -> TrialConfig:
    return TrialConfig.model_validate({"method": "lora", "layers": tuple(neurons), "neurons": neurons, **more})


def against(arm: TrialConfig) -> TrialConfig:
    """The control that a sweep puts beside an arm."""
    return controls.adapted(arm, "lora").config


def added_by(arm: TrialConfig, base: Detector) -> int:
    """Parameters that the arm itself adds in its `dropin` stage."""
    grown = TrialNetwork(deepcopy(base))
    stage = next(stage for stage in stages_of(arm, 100) if stage.name == "dropin")
    change_(grown, arm, stage)
    before, after = (sum(p.numel() for p in net.parameters()) for net in (base, grown.module))
    return after - before


@pytest.mark.parametrize(("name", "bidirectional", "neurons"), CASES, ids=ids)
@pytest.mark.parametrize("on", ["sites", "all"])
def test_it_starts_as_the_same_function_with_the_budget_of_the_dropin(
    name: str, bidirectional: bool, neurons: dict[str, int], on: str
) -> None:
    base = network(name, bidirectional)
    logits = base(waves())
    dropin = deepcopy(base)
    add_neurons_(dropin, neurons, mode="frozen", generator=torch.Generator().manual_seed(0))
    freeze_base_(dropin, dropin.head_modules())
    lora = deepcopy(base)
    record = add_lora_(lora, config(neurons, lora_on=on))
    learn_lora_(lora, lora.head_modules())
    with adding_nothing(lora):
        close(lora(waves()), logits)
    wanted = sum(p.numel() for p in trainable(dropin))
    found = sum(p.numel() for p in trainable(lora))
    assert record.residual == wanted - found
    targets = targets_of(
        base, list(find_sites(base).values()) if on == "all" else [find_sites(base)[s] for s in neurons]
    )
    assert 0 <= record.residual < min(target.cost for target in targets)
    json.dumps(vars(record))  # as the record of a stage keeps it


def test_it_matches_heads_and_their_width_together() -> None:
    """Frozen blocks of both cannot stand in one layer, but the unfrozen dropin that it is compared with can."""
    base = network("wav2vec2")
    neurons = {"encoder.4.attention": 12, "encoder.4.head_width": 8}
    arm = config(neurons, method="dropin", regime="unfrozen")
    assert add_lora_(deepcopy(base), against(arm)).matched_to == added_by(arm, base)
    with pytest.raises(GrowthError, match="cannot both carry blocks"):
        add_lora_(base, config(neurons))


ARMS = [
    *[("grnn", {"gru.1": 8}, {"operator": operator, "regime": regime, "lateral": lateral})
      for operator in ("widen", "parallel", "stack") for regime in ("frozen", "unfrozen")
      for lateral in ("into_new", "both")],
    *[("grnn", {"gru.0": 8, "gru.2": 4}, {"init": init}) for init in ("orthogonal", "pairs", "copies")],
    *[("resnet18", {"layer2.0": 8}, {"operator": operator}) for operator in ("widen", "parallel", "stack")],
    *[("wav2vec2", {"encoder.2.ffn": 24, "encoder.3.attention": 24}, {"operator": operator})
      for operator in ("widen", "parallel", "stack")],
    ("wav2vec2", {"encoder.2.ffn": 24}, {"init": "gradmax"}),
    ("wav2vec2", {"encoder.2.ffn": 24}, {"init": "net2net", "regime": "unfrozen"}),
    ("wav2vec2", {"encoder.4.head_width": 8}, {"regime": "unfrozen"}),
    ("grnn", {"gru.1": 8}, {"method": "stack"}),
    ("resnet18", {"layer2.0": 8}, {"method": "stack", "regime": "unfrozen"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "neurons", "changes"), ARMS)
def test_its_budget_is_that_of_the_very_arm_it_is_compared_with(name, neurons, changes) -> None:
    """Also after the search has put the configuration into its canonical form."""
    base = network(name)
    arm = config(neurons, **{"method": "dropin", **changes})
    control = canonical(against(arm), list(find_sites(base)))
    assert add_lora_(deepcopy(base), control).matched_to == added_by(arm, base)


def test_a_parallel_branch_costs_less_than_a_wider_layer() -> None:
    """As many units beside `gru.1` have no connections with it."""
    base = network("grnn")
    wanted = {operator: add_lora_(deepcopy(base), config({"gru.1": 24}, operator=operator)).matched_to
              for operator in ("widen", "parallel")}  # fmt: skip
    assert wanted == {"widen": 11_088, "parallel": 6_480}


@pytest.mark.parametrize(("name", "bidirectional", "neurons"), CASES, ids=ids)
def test_only_adapters_and_head_move(name: str, bidirectional: bool, neurons: dict[str, int]) -> None:
    module = network(name, bidirectional)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    add_lora_(module, config(neurons))
    learn_lora_(module, module.head_modules())
    module.train()
    optimizer = torch.optim.AdamW(trainable(module), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        torch.nn.functional.cross_entropy(module(waves()), torch.tensor([0, 1, 0])).backward()
        assert all(parameter.grad is not None for parameter in lora_parameters(module))
        optimizer.step()
        optimizer.zero_grad()
    after = {key.replace(".base_layer", ""): value for key, value in module.state_dict().items()}
    moved = {key for key, value in before.items() if not torch.equal(after[key], value)}
    assert moved == {"head.weight", "head.bias"}
    assert all(parameter.any() for parameter in lora_parameters(module))


@pytest.mark.parametrize(("name", "bidirectional", "neurons"), CASES, ids=ids)
def test_merging_gives_an_ordinary_network_with_the_same_function(
    name: str, bidirectional: bool, neurons: dict[str, int]
) -> None:
    plain = network(name, bidirectional)
    module = deepcopy(plain)
    add_lora_(module, config(neurons))
    for parameter in lora_parameters(module):
        torch.nn.init.normal_(parameter, std=0.2)
    expected = module(waves())
    assert not torch.allclose(expected, plain(waves()), atol=1e-4)
    merge_lora_(module)
    torch.testing.assert_close(module(waves()), expected, atol=1e-5, rtol=1e-4)
    assert list(module.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(module.state_dict(), strict=True)
    assert [type(part) for part in module.modules()] == [type(part) for part in plain.modules()]


@pytest.mark.parametrize("name", ["wav2vec2", "resnet18", "grnn"])
def test_cutting_a_network_with_adapters_changes_nothing(name: str) -> None:
    module = network(name)
    add_lora_(module, config({}, lora_on="all", rank=2))
    for cut in module.cuts():
        close(module.suffix(module.prefix(waves(), cut), cut), module(waves()))


def test_no_gradient_reaches_below_the_lowest_adapter() -> None:
    module = network("wav2vec2")
    add_lora_(module, config({"encoder.4.ffn": 8}))
    learn_lora_(module, module.head_modules())
    module.train()
    wave = waves()
    assert not module.prefix(wave, "encoder.4").requires_grad
    module(wave).sum().backward()
    assert not wave.requires_grad


def test_a_given_rank_is_used_as_it_is_and_a_state_dict_comes_back() -> None:
    module = network("grnn")
    record = add_lora_(module, config({}, lora_on="all", rank=3))
    assert set(record.ranks.values()) == {3}
    assert record.residual is None
    again = network("grnn")
    add_lora_(again, config({}, lora_on="all", rank=3))
    again.load_state_dict(module.state_dict(), strict=True)
    same(again.state_dict(), module.state_dict())
    close(again(waves()), module(waves()))


@given(costs=st.lists(st.integers(2, 500), min_size=1, max_size=12), wanted=st.integers(1, 20_000))
def test_ranks_leave_less_over_than_one_more_rank_costs(costs: list[int], wanted: int) -> None:
    targets = [Target(str(i), cost, of_module=True) for i, cost in enumerate(costs)]
    if wanted < min(costs):
        with pytest.raises(GrowthError, match="rank 1 on the cheapest layer already has"):
            solve_ranks(targets, wanted)
        return
    ranks = solve_ranks(targets, wanted)
    spent = sum(ranks[target.path] * target.cost for target in targets)
    assert 0 <= wanted - spent < min(costs)
    assert min(ranks.values()) == wanted // sum(costs)


def test_mistakes_say_what_to_do() -> None:
    module = network("resnet18")
    with pytest.raises(GrowthError, match="needs `layers`, or `lora_on: all`"):
        add_lora_(module, config({}))
    with pytest.raises(GrowthError, match="give `layers` and `neurons`, or a `rank`"):
        add_lora_(module, TrialConfig(method="lora", layers=("layer1.0",)))
    with pytest.raises(GrowthError, match=r"no site 'layer9\.0'; the network has layer1\.0"):
        add_lora_(module, config({"layer9.0": 2}))
    targets = targets_of(module, [find_sites(module)["layer1.0"]])
    inject_(module, targets, {targets[0].path: 1})
    with pytest.raises(GrowthError, match="has LoRA adapters already"):
        inject_(module, targets, {targets[0].path: 1})
