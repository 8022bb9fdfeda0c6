"""Neurons and adapters under one budget, and AdaLoRA: counts, ends, schedule, interruption, what is left of them."""

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plastsearch.errors import GrowthError, TrialError
from plastsearch.growth.folding import fold_
from plastsearch.models.build import build
from plastsearch.models.detector import Detector
from plastsearch.spec.config import TrialConfig
from plastsearch.store.stages import StageStore
from plastsearch.sweep.planned import adapted
from plastsearch.training import fit
from plastsearch.training.checkpoint import Stopped
from plastsearch.trial import run
from plastsearch.trial.adapters import FIRST, KEPT, LAST, RankSchedule, orthogonality, ranks_left, singular_values
from plastsearch.trial.cost import count
from plastsearch.trial.lora import ADAPTER, add_adalora_, dropin_parameters, lora_parameters, merge_lora_, targets_of
from plastsearch.trial.methods import check, stages_of
from plastsearch.trial.networks import TrialNetwork, blank, change_, learn_
from plastsearch.trial.run import run_trial
from tests.exactness import adding_nothing, close, same

sys.path.insert(0, str(Path(__file__).parent))
from conftest import AS_TRAINED, ELSEWHERE, alike, make_config, steady

CPU = torch.device("cpu")
CASES: dict[str, tuple[str, dict[str, int], dict[str, Any]]] = {
    "ffn+heads": ("wav2vec2", {"encoder.2.ffn": 32, "encoder.3.attention": 48}, {}),
    "head_width": ("wav2vec2", {"encoder.4.head_width": 16}, {}),
    "parallel": ("wav2vec2", {"encoder.2.ffn": 32, "encoder.3.attention": 48}, {"operator": "parallel"}),
    "pairs": ("wav2vec2", {"encoder.2.ffn": 32}, {"init": "pairs"}),
    "resnet18": ("resnet18", {"layer2.0": 8, "layer4.1": 6}, {}),
}


def config_of(case: str, **more: Any) -> TrialConfig:
    name, neurons, changes = CASES[case]
    asked = {"method": "lora_growth", "model": {"name": name}, "layers": tuple(neurons)} | changes | more
    config = make_config(**asked)
    return config.model_copy(update={"neurons": neurons})


def grown(config: TrialConfig, base: Detector) -> tuple[TrialNetwork, Any]:
    """A network after the `dropin` stage of a configuration, ready for `retrain`, and what was noted of it."""
    network = TrialNetwork(deepcopy(base))
    _, dropin, retrain, *_ = stages_of(config, 100)
    noted = change_(network, config, dropin)
    learn_(network, config, retrain)
    return network, noted


def waves() -> Tensor:
    return torch.randn(3, 8000, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("case", sorted(CASES))
def test_whatever_the_share_the_budget_is_that_of_the_frozen_dropin(case) -> None:
    base = build(CASES[case][0]).eval()
    head = sum(p.numel() for name in base.head_modules() for p in base.get_submodule(name).parameters())
    wanted = count(grown(config_of(case).model_copy(update={"method": "dropin"}), base)[0].module, learning=True)
    split = []
    expected = base(waves())
    for share in (0.25, 0.75):
        config = config_of(case, lora_share=share, regime="unfrozen")  # which it does not read
        network, noted = grown(config, base)
        found = count(network.module, learning=True)
        adapters = sum(p.numel() for p in lora_parameters(network.module))
        cheapest = min(target.cost for target in targets_of(base, [site_of(base, name) for name in config.growth()]))
        assert 0 <= wanted - found < cheapest
        assert (noted.matched_to, noted.residual) == (wanted - head, wanted - found)
        assert (noted.parameters, noted.adapter_parameters) == (found - head, adapters)
        json.dumps(vars(noted))  # as the record of a stage keeps it
        assert set(network.grown) == set(config.growth())
        network.module.eval()
        with adding_nothing(network.module) if config.init != "pairs" else nullcontext():  # pairs cancel in the sum
            close(network.module(waves()), expected)
        split.append(adapters)
    assert split == sorted(split)
    assert split[0] < split[-1]


def site_of(module: nn.Module, name: str) -> Any:
    from plastsearch.growth.survey import find_sites

    return find_sites(module)[name]


@pytest.mark.parametrize(("share", "method"), [(0.0, "dropin"), (1.0, "lora")])
@pytest.mark.parametrize("case", ["ffn+heads", "resnet18"])
def test_with_all_on_one_side_it_begins_as_that_method_bit_for_bit(case, share, method) -> None:
    base = build(CASES[case][0])
    both, _ = grown(config_of(case, lora_share=share, init="orthogonal"), base)
    alone, _ = grown(config_of(case, init="orthogonal").model_copy(update={"method": method}), base)
    same(both.module.state_dict(), alone.module.state_dict())
    learning = [[name for name, p in net.module.named_parameters() if p.requires_grad] for net in (both, alone)]
    assert learning[0] == learning[1]
    assert both.module.cut_below(both.grown) == alone.module.cut_below(alone.grown)


@pytest.mark.slow
@pytest.mark.parametrize(("share", "method"), [(0.0, "dropin"), (1.0, "lora")])
def test_with_all_on_one_side_it_ends_as_that_method(share, method, settings) -> None:
    elsewhere = ELSEWHERE["lora_growth"]
    *_, one = run_trial(make_config(method="lora_growth", lora_share=share, **elsewhere), settings())
    *_, other = run_trial(make_config(method=method, **elsewhere), settings())
    alike(steady(one), steady(other))


@pytest.mark.parametrize("case", sorted(CASES))
def test_adapters_merge_and_neurons_fold_into_an_ordinary_network(case) -> None:
    base = build(CASES[case][0]).eval()
    network, _ = grown(config_of(case), base)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    module = network.module.eval()
    expected = module(waves())
    assert not torch.allclose(expected, base(waves()), atol=1e-4)
    merge_lora_(module)
    fold_(module, waves())
    torch.testing.assert_close(module(waves()), expected, atol=1e-4, rtol=1e-3)
    assert list(module.state_dict()) == list(base.state_dict())
    assert [type(part) for part in module.modules()] == [type(part) for part in base.modules()]


@pytest.mark.parametrize("case", ["ffn+heads", "resnet18"])
def test_adalora_begins_as_the_same_function_at_the_budget_of_the_dropin_and_merges_away(case) -> None:
    base = build(CASES[case][0]).eval()
    arm = config_of(case).model_copy(update={"method": "dropin"})
    network, noted = grown(adapted(arm, "adalora").config, base)
    wanted = dropin_parameters(base, arm, "frozen")
    cheapest = min(target.cost + 1 for target in targets_of(base, [site_of(base, name) for name in arm.growth()]))
    assert noted.matched_to == wanted
    assert 0 <= wanted - noted.parameters < cheapest
    assert noted.parameters == sum(p.numel() for p in lora_parameters(network.module))
    module = network.module.eval()
    close(module(waves()), base(waves()))
    for values in singular_values(module).values():
        nn.init.normal_(values, std=5.0)
    expected = module(waves())
    assert not torch.allclose(expected, base(waves()), atol=1e-4)
    merge_lora_(module)
    torch.testing.assert_close(module(waves()), expected, atol=1e-5, rtol=1e-4)
    assert list(module.state_dict()) == list(base.state_dict())


def adalora(steps: int) -> tuple[Detector, RankSchedule]:
    module = build("wav2vec2")
    config = config_of("ffn+heads", method="adalora")
    torch.manual_seed(0)
    add_adalora_(module, config)
    return module, RankSchedule(module, steps)


def gradients(module: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in lora_parameters(module):
        parameter.grad = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            parameter -= 0.01 * parameter.grad


def test_ranks_go_where_pefts_own_model_takes_them() -> None:
    """Step by step; ours only sets the budget at the end, which PEFT rounds to a whole rank per layer."""
    from peft import AdaLoraConfig
    from peft.tuners.adalora.model import AdaLoraModel

    steps = 30
    module, schedule = adalora(steps)
    begun = sum(ranks.numel() for ranks in singular_values(module).values())
    twin = deepcopy(module)
    config = AdaLoraConfig(total_step=steps, tinit=int(FIRST * steps), tfinal=int(LAST * steps), init_r=1, target_r=1)
    theirs = AdaLoraModel.__new__(AdaLoraModel)
    nn.Module.__init__(theirs)
    theirs.model, theirs.peft_config, theirs.trainable_adapter_name = twin, {ADAPTER: config}, ADAPTER
    theirs.rankallocator = deepcopy_of(schedule, twin, config)
    left = []
    for step in range(1, steps + 1):
        for net in (module, twin):
            gradients(net, step)
        schedule.after_step(step)
        theirs.update_and_allocate(step)
        same(singular_values(module), singular_values(twin))
        left.append(sum((ranks_left(module) or {}).values()))
    assert left[int(FIRST * steps) - 1] == begun
    assert left == sorted(left, reverse=True)
    assert left[steps - int(LAST * steps) - 1 :] == [round(KEPT * begun)] * (int(LAST * steps) + 1)


def deepcopy_of(schedule: RankSchedule, module: nn.Module, config: Any) -> Any:
    from peft.tuners.adalora.layer import RankAllocator

    allocator = RankAllocator(module, config, ADAPTER)
    allocator.target_bgt = schedule._allocator.target_bgt
    return allocator


def test_ranks_are_taken_in_deterministic_runs_too(monkeypatch) -> None:
    module, schedule = adalora(4)
    seen = []
    take = schedule._allocator.update_and_allocate

    def noted(*args: Any, **named: Any) -> Any:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return take(*args, **named)

    monkeypatch.setattr(schedule._allocator, "update_and_allocate", noted)
    torch.use_deterministic_algorithms(True)
    try:
        gradients(module, 1)
        schedule.after_step(1)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert seen == [False]


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_short_training_takes_ranks_away_too_or_leaves_them_all(steps) -> None:
    module, schedule = adalora(steps)
    begun = sum(ranks.numel() for ranks in singular_values(module).values())
    for step in range(1, steps + 1):
        gradients(module, step)
        schedule.after_step(step)
    assert sum((ranks_left(module) or {}).values()) == (begun if steps == 1 else round(KEPT * begun))


def test_the_penalty_is_that_of_peft() -> None:
    """As its model adds to a loss of zero."""
    from peft import AdaLoraConfig
    from peft.tuners.adalora.model import AdaLoraModel

    module, schedule = adalora(10)
    theirs = AdaLoraModel.__new__(AdaLoraModel)
    nn.Module.__init__(theirs)
    theirs.peft_config, theirs.trainable_adapter_name = {ADAPTER: AdaLoraConfig(total_step=1)}, ADAPTER

    class Outputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = module

        def forward(self) -> Any:
            return type("Outputs", (), {"loss": torch.zeros(())})()

    theirs.model = Outputs()
    expected = theirs().loss
    found = schedule.penalty()
    assert found is not None
    torch.testing.assert_close(found, expected)
    assert orthogonality(build("grnn")) is None
    found.backward()
    assert all(p.grad is not None for name, p in module.named_parameters() if ".lora_A." in name)


@pytest.fixture
def stops_after(monkeypatch) -> Iterator[Any]:
    """A request to end that comes with the n-th optimiser step."""
    step, taken = fit._train_step, []
    monkeypatch.setattr(fit, "_train_step", lambda *args: (taken.append(1), step(*args)))
    return lambda n: taken.clear() or (lambda: len(taken) >= n)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["adalora", "lora_growth"])
def test_stopped_anywhere_it_goes_on_as_if_it_had_not_been(method, settings, stops_after, tmp_path) -> None:
    config = make_config(method=method, train={"steps": 20, "evaluations": 2}, **ELSEWHERE[method])
    found = []
    for name, stops in (("whole", ()), ("broken", (12, 3))):  # in retrain: among allocations, and after the last one
        where = settings(store=tmp_path / name, checkpoint_s=1e9)
        for n in stops:
            with pytest.raises(Stopped):
                list(run.run_stages(run.start(config, where, stops_after(n))))
        trial = run.start(config, where, lambda: False)
        list(run.run_stages(trial))
        found.append((trial.records[-1], StageStore(where.store).load(trial.keys[-1].key)))
    (whole, weights), (broken, again) = found
    assert weights.keys() == again.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=AS_TRAINED)
    alike(broken.metrics, whole.metrics)
    assert broken.details.get("ranks_left") == whole.details.get("ranks_left")


def test_a_schedule_goes_on_from_its_state_bit_for_bit() -> None:
    """Broken off among the allocations, and after the last of them."""
    whole, plain = adalora(10)
    for step in range(1, 11):
        gradients(whole, step)
        plain.after_step(step)
    for broken_at in (4, 9):
        module, schedule = adalora(10)
        for step in range(1, 11):
            if step == broken_at:
                state = deepcopy(schedule.state())
                schedule = RankSchedule(module, 10)
                schedule.load(state)
            gradients(module, step)
            schedule.after_step(step)
        same(singular_values(module), singular_values(whole))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["adalora", "lora_growth"])
def test_activations_that_are_kept_change_no_result(method, settings, tmp_path) -> None:
    config = make_config(method=method, **ELSEWHERE[method])
    ends = []
    for name, kept in (("a", True), ("b", False)):
        *_, final = run_trial(config, settings(store=tmp_path / name, cache_prefix=kept, cache=tmp_path / "cache"))
        ends.append(final)
    assert any(stage.get("prefix") for stage in ends[0].details["stages"])
    alike(steady(ends[0]), steady(ends[1]))


@pytest.mark.slow
def test_params_final_counts_no_adapters(settings) -> None:
    config = make_config(method="lora_growth", **ELSEWHERE["lora_growth"])
    *_, final = run_trial(config, settings())
    network = blank(config, stages_of(config, 48)[:2], CPU)
    merge_lora_(network.module)
    assert final.metrics["params_final"] == count(network.module)
    assert final.metrics["params_total"] > final.metrics["params_final"] > final.metrics["params_baseline"]


def test_what_cannot_work_is_refused_before_training() -> None:
    for method, words in (("adalora", "adapts linear and convolution layers"), ("lora_growth", "would not hear its")):
        with pytest.raises(TrialError, match=f"method {method}: .*{words}.*; use lora"):
            check(make_config(method=method))
    with pytest.raises(TrialError, match="adds whole layers, which lora_growth cannot share out"):
        check(config_of("ffn+heads", operator="stack"))
    with pytest.raises(TrialError, match="method adalora matches a dropin"):
        check(make_config(method="adalora", neurons=0, model={"name": "resnet18"}, layers=("layer3.0",)))
    with pytest.raises(GrowthError, match=r"not .*weight_ih_l0; use lora there"):
        add_adalora_(build("grnn"), make_config(method="adalora"))
    with pytest.raises(TrialError, match="net2net"):
        check(config_of("ffn+heads", init="net2net", regime="unfrozen"))  # it always grows frozen
