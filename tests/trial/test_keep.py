"""Networks that keep some of their added neurons after prune can be loaded again: by reuse, resume and finalists."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from plastsearch.growth.folding import fold_
from plastsearch.growth.prune import choose
from plastsearch.growth.survey import find_sites
from plastsearch.spec.config import TrialConfig
from plastsearch.trial.methods import stages_of
from plastsearch.trial.networks import blank, load_weights, remove_, to_remove
from plastsearch.trial.run import run_trial

sys.path.insert(0, str(Path(__file__).parent))
from conftest import SITES, make_config, steady

CPU = torch.device("cpu")
KEEPS = (0.0, 0.2, 0.5, 0.75, 1.0)
# model, sites and neurons, and what else: every operator, regime, initialisation and kind of site that can be pruned
CASES: dict[str, tuple[str, dict[str, int], dict[str, Any]]] = {
    "grnn-frozen": ("grnn", {"gru.1": 4}, {}),
    "grnn-both": ("grnn", {"gru.0": 6, "gru.2": 4}, {"lateral": "both"}),
    "grnn-unfrozen": ("grnn", {"gru.1": 4}, {"regime": "unfrozen"}),
    "grnn-pairs": ("grnn", {"gru.1": 6}, {"init": "pairs"}),
    "resnet18-frozen": ("resnet18", {"layer3.0": 4}, {}),
    "resnet18-parallel": ("resnet18", {"layer1.0": 4, "layer4.1": 2}, {"operator": "parallel"}),
    "resnet18-pairs": ("resnet18", {"layer3.0": 6}, {"init": "pairs", "regime": "unfrozen"}),
    "wav2vec2-frozen": ("wav2vec2", {"encoder.2.ffn": 5, "encoder.3.attention": 24}, {}),
    "wav2vec2-width": ("wav2vec2", {"encoder.2.head_width": 8}, {}),
    "wav2vec2-gradmax": ("wav2vec2", {"encoder.2.ffn": 4}, {"init": "gradmax"}),
    "wav2vec2-net2net": ("wav2vec2", {"encoder.2.ffn": 4}, {"init": "net2net", "regime": "unfrozen"}),
}


def config_of(case: str, keep: float) -> TrialConfig:
    name, neurons, changes = CASES[case]
    config = make_config(
        model={"name": name}, layers=tuple(neurons), method="plasticity", keep=keep,
        train={"steps": 4, "evaluations": 1, "batch_size": 4}, **changes,
    )  # fmt: skip
    return config.model_copy(update={"neurons": neurons})


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted(CASES))
def test_every_share_that_stays_has_its_shape_again(case) -> None:
    """Whatever units a criterion takes away, `blank` makes a network into which the rest can be loaded."""
    for keep in KEEPS:
        config = config_of(case, keep)
        stages = stages_of(config, 48)
        pruned = blank(config, stages[:2], CPU)
        grown = dict(pruned.added)
        fold_(pruned.module, verify=False)
        units = {name: find_sites(pruned.module)[name].units for name in grown}
        pairs = config.init == "pairs"
        chosen = {
            name: choose(-torch.arange(units[name]).double(), to_remove(pruned, config, name), "all", new, pairs=pairs)
            for name, new in grown.items()
        }
        remove_(pruned, chosen)
        again = blank(config, stages, CPU)
        load_weights(again, pruned.module.state_dict())
        assert again.added == pruned.added
        assert all(abs(again.added[name] / new - keep) < 1 / min(grown.values()) for name, new in grown.items())


@pytest.mark.parametrize("keep", [0.5, 1.0])
def test_a_trial_that_keeps_neurons_is_reused_whole(keep, settings) -> None:
    config = make_config(method="plasticity", keep=keep, train={"steps": 6, "evaluations": 1})
    *_, first = run_trial(config, settings())
    *_, second = run_trial(config, settings())
    assert {stage["from"] for stage in second.details["stages"]} == {"resumed"}
    assert steady(second) == pytest.approx(steady(first), rel=1e-6)
    assert second.metrics["params_final"] > second.metrics["params_baseline"]


@pytest.mark.parametrize("name", sorted(SITES))
def test_a_trial_that_keeps_neurons_goes_on_after_prune(name, settings) -> None:
    """Stopped after `prune`, it loads the pruned network and trains it to the end."""
    config = make_config(model={"name": name}, layers=(SITES[name],), method="plasticity", keep=0.5,
                         train={"steps": 6, "evaluations": 1})  # fmt: skip
    for report in run_trial(config, settings()):
        if report.stage == "prune":
            break
    *_, final = run_trial(config, settings())
    assert [stage["from"] for stage in final.details["stages"]] == ["resumed"] * 4 + ["computed"]


def test_a_finalist_that_keeps_neurons_is_scored(settings) -> None:
    from plastsearch.trial.finalist import run_finalist

    config = make_config(method="plasticity", keep=0.5, train={"steps": 6})
    list(run_trial(config, settings()))
    *_, final = run_finalist(config, settings(), baseline=True)
    assert {"eval_eer", "eval_eer_baseline"} <= set(final.metrics)
