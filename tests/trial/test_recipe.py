"""Training as strong encoders are trained: rates apart, means of the best states, layers computed twice, crops."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from plastsearch.models.build import build
from plastsearch.search.space import open_space
from plastsearch.spec.load import load_sweep
from plastsearch.spec.training import TrainConfig
from plastsearch.training.checkpoint import Checkpoints, Stopped
from plastsearch.training.fit import fit, make_optimizer
from plastsearch.training.losses import build_loss
from plastsearch.training.state import FitInputs, FitSettings, FitState, Quality
from plastsearch.trial.keys import foreseen, stage_keys
from plastsearch.trial.methods import Stage, stages_of
from plastsearch.trial.networks import lr_factors
from plastsearch.trial.run import run_trial
from tests.trial.conftest import SITES, make_config


@pytest.mark.parametrize("name", list(SITES))
def test_rates_fall_from_the_head_down_to_the_stem(name: str) -> None:
    network = build(name)
    config = make_config(model={"name": name}, train={"encoder_lr_ratio": 0.1, "layer_decay": 0.5})
    train = Stage("train", "none", "all", 1, 1e-3)
    factors = lr_factors(network, config, train)
    head = {f"{prefix}.{key}" for prefix in network.head_modules() for key, _ in _named(network, prefix)}
    assert set(factors) == {key for key, _ in network.named_parameters()} - head
    blocks = network.blocks()
    ids = {id(parameter): key for key, parameter in network.named_parameters()}
    for number, (_, block) in enumerate(blocks):
        for parameter in block.parameters():
            assert factors[ids[id(parameter)]] == pytest.approx(0.1 * 0.5 ** (len(blocks) - 1 - number))
    stem = [
        factor for key, factor in factors.items() if "feature_extractor" in key or key.startswith(("norm", "conv1"))
    ]
    assert stem
    assert all(factor == pytest.approx(0.1 * 0.5 ** len(blocks)) for factor in stem)
    if name == "wav2vec2":
        assert factors["backbone.encoder.layer_norm.weight"] == pytest.approx(0.1)  # behind the last block
    assert lr_factors(network, make_config(model={"name": name}), train) == {}


def _named(network: nn.Module, prefix: str) -> list[tuple[str, nn.Parameter]]:
    return list(network.get_submodule(prefix).named_parameters())


class Clips:
    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(8, 4, generator=torch.Generator().manual_seed(step)), torch.arange(8) % 2


def _start(seen: list[Quality], steps: int = 4, stop_at: int | None = None, **more: Any) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    module = nn.Linear(4, 2)
    answers = iter(seen)
    settings = FitSettings("train", steps, 0.1, 0.0, 0.0, 1e9, 1, steps, 0, False, 0, average_best=more.pop("best", 1))
    on = FitInputs(
        module, module, build_loss("cross_entropy", (1, 1)), Clips(), lambda: next(answers), module.train,
        torch.device("cpu"), **more,
    )  # fmt: skip
    return module, (on, settings)


def _run(on: FitInputs, settings: FitSettings, folder: Path, stop: Any = lambda: False) -> FitState:
    steps = fit(on, settings, Checkpoints(folder, 0.0), stop)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_a_step_moves_each_weight_by_its_own_rate(tmp_path: Path) -> None:
    module, (on, settings) = _start([Quality(9, 1), Quality(5, 1)], steps=1, factors={"weight": 0.25})
    before = {name: tensor.clone() for name, tensor in module.named_parameters()}
    _run(on, settings, tmp_path)
    moved = {name: (tensor - before[name]).abs().max().item() for name, tensor in module.named_parameters()}
    assert moved["bias"] == pytest.approx(0.1, rel=1e-3)  # the first step of Adam is as long as its rate
    assert moved["weight"] == pytest.approx(0.025, rel=1e-3)
    groups = make_optimizer(module, 1.0, 0.5, {"weight": 0.25}).param_groups
    assert [(group["factor"], group["weight_decay"]) for group in groups] == [(1.0, 0.0), (0.25, 0.5)]


# Error rates before the first step, after each of four, and of the mean of the best two of these.
ANSWERS = [Quality(1, 1), Quality(8, 1), Quality(3, 2), Quality(3, 1), Quality(9, 1)]


def _states(tmp_path: Path, *, best: int, mean: Quality) -> tuple[dict[str, torch.Tensor], FitState, list[Any]]:
    """What training ends with, and the weights after each step."""
    every: list[dict[str, torch.Tensor]] = []
    answers = iter([*ANSWERS, mean])
    module, (on, settings) = _start([], best=best)

    def evaluate() -> Quality:
        every.append({name: tensor.detach().clone() for name, tensor in module.state_dict().items()})
        return next(answers)

    inputs = FitInputs(**{**vars(on), "evaluate": evaluate})
    state = _run(inputs, settings, tmp_path)
    return dict(module.state_dict()), state, every


def test_the_mean_of_the_best_states_counts_where_it_is_better(tmp_path: Path) -> None:
    found, state, every = _states(tmp_path, best=2, mean=Quality(0.5, 1))
    assert state.averaged == 2
    assert state.best == Quality(0.5, 1)
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, (every[2][name] + every[3][name]) / 2)  # what came in is none of them


def test_the_best_state_stays_where_the_mean_is_no_better(tmp_path: Path) -> None:
    found, state, every = _states(tmp_path, best=3, mean=Quality(2, 1))
    assert state.averaged is None
    assert state.best == ANSWERS[0]  # no stage ends worse than it began
    for name, tensor in found.items():
        assert torch.equal(tensor, every[0][name])


def test_a_resumed_stage_comes_to_the_same_mean(tmp_path: Path) -> None:
    expected, _, _ = _states(tmp_path / "whole", best=2, mean=Quality(0.5, 1))
    asked = iter([False, False, False, False, True, True])  # before and after each checkpoint: it ends behind the third
    module, (on, settings) = _start(ANSWERS, best=2)
    del module
    with pytest.raises(Stopped):
        _run(on, settings, tmp_path / "cut", lambda: next(asked))
    module, (on, settings) = _start([*ANSWERS[4:], Quality(0.5, 1)], best=2)
    state = _run(on, settings, tmp_path / "cut")
    assert state.averaged == 2
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


@pytest.mark.slow
def test_a_trial_with_all_of_it_has_the_numbers_of_one_that_keeps_its_layers(settings) -> None:
    """Recomputed layers change nothing but memory and time."""
    found = []
    for again in (False, True):
        config = make_config(
            model={"name": "wav2vec2", "head": "mhfa", "dropout": 0.1}, layers=("encoder.2.ffn",), neurons=16,
            method="plasticity", regime="unfrozen",
            train={"steps": 6, "encoder_lr_ratio": 0.1, "layer_decay": 0.9, "average_best": 2,
                   "checkpoint_layers": again},
        )  # fmt: skip
        *_, last = run_trial(config, settings(store=settings().store / str(again)))
        found.append(last)
    one, other = found
    for name in ("train_loss", "dev_eer", "dev_cllr", "params_total", "params_trainable"):
        assert other.metrics[name] == pytest.approx(one.metrics[name], rel=1e-5)


def test_each_setting_names_a_stage_anew_and_the_usual_ones_name_it_as_before() -> None:
    def keys(**train: Any) -> list[str]:
        config = make_config(train=train)
        stages = stages_of(config, 48)
        return [key.key for key in stage_keys(config, stages, foreseen(config))]

    plain = keys()
    usual = TrainConfig()
    names = ("encoder_lr_ratio", "layer_decay", "average_best", "checkpoint_layers", "train_stem")
    assert keys(**{name: getattr(usual, name) for name in names}) == plain
    changed = [keys(**{name: value}) for name, value in zip(names, (0.1, 0.5, 2, True, False), strict=True)]
    firsts = {one[0] for one in changed}
    assert len(firsts | {plain[0]}) == len(names) + 1


def test_crop_length_is_a_dimension_of_a_search(tmp_path: Path) -> None:
    path = tmp_path / "crops.yaml"
    path.write_text(
        "base:\n  model: {name: grnn}\n  method: dropin\n  layers: [gru.1]\n  neurons: 4\n"
        "  data: {clips: 48}\n"
        "space:\n  data.length_samples: {kind: choice, of: [8000, 16000]}\n"
    )
    space = open_space(load_sweep(path))
    found = {}
    for point in space.points():
        config = space.config_at(point)
        found[config.data.length_samples] = [
            key.key for key in stage_keys(config, stages_of(config, 48), foreseen(config))
        ]
    assert set(found) == {8000, 16000}
    assert not set(found[8000]) & set(found[16000])
