"""What a stage reads is what its key holds: configurations are handed to every stage of every method by a recorder."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
from pydantic import BaseModel

from plastsearch.search.canonical import canonical
from plastsearch.spec.config import TrialConfig
from plastsearch.store.stages import StageStore
from plastsearch.trial import run
from plastsearch.trial.context import TrialContext
from plastsearch.trial.keys import Environment, stage_keys
from plastsearch.trial.methods import METHODS, stages_of
from plastsearch.trial.networks import TrialNetwork, blank, change_

sys.path.insert(0, str(Path(__file__).parent))
from conftest import ELSEWHERE, make_config

# Read by a stage, and in its key by what they stand for: the clips and recordings themselves, the resolved precision.
BY_CONTENT = {"data.root", "data.rate_hz", "data.length_samples", "seed", "train.precision", "model"}

AROUND = Environment(data="d", weights="", device="cpu", precision="float32", torch="2.11")

# Other than the defaults, so that whatever the canonical form puts back changes the key that holds it.
WIDELY_SET = {"criterion": "magnitude", "pool": "added", "keep": 0.25, "compensate": "mean", "calibration_clips": 8,
              "last_k": 2, "truncate_to": 1, "lora_on": "all", "lateral": "both", "init": "orthogonal",
              "operator": "parallel", "regime": "unfrozen", "adaptive_steps": 2,
              "adaptive_score": "natural"}  # fmt: skip

CASES: dict[str, dict[str, Any]] = {
    **{method: {"method": method, **ELSEWHERE.get(method, {})} for method in METHODS},
    **{f"{m}-unfrozen": {"method": m, "regime": "unfrozen"} for m in ("dropin", "plasticity", "stack")},
    "adaptive": {"method": "adaptive", "layers": ("gru.0", "gru.1"), "train": {"steps": 8}},  # with two insertions
    "newborns": {"method": "dropin", "newborn_lr_ratio": 2.0, "newborn_state": "inherited", "newborn_gate": "learned"},
    "newborns-unfrozen": {"method": "plasticity", "regime": "unfrozen", "newborn_lr_ratio": 2.0,
                          "newborn_state": "inherited", "train": {"grow_at": 0.25}},
    "cold": {"method": "plasticity", "start": "cold"},
    "parallel": {"method": "dropin", "operator": "parallel"},
    "pairs": {"method": "plasticity", "init": "pairs", "keep": 0.5},
    "means": {"method": "plasticity", "compensate": "mean", "pool": "added"},
    "headless": {"method": "plasticity", "train": {"train_head": False, "early_stop": 2}},
    "stem": {"method": "plasticity", "regime": "unfrozen", "model": {"name": "wav2vec2"}, "layers": ("encoder.2.ffn",),
             "train": {"train_stem": False}, "lateral": "into_new"},
    "lora-rank": {"method": "lora", "rank": 2},
    "lora-layers": {"method": "lora", "rank": 2, "neurons": 0},
    "lora-all": {"method": "lora", "lora_on": "all"},
    "lora-parallel": {"method": "lora", "operator": "parallel"},
    "recipe": {
        "method": "plasticity",
        "train": {"encoder_lr_ratio": 0.5, "layer_decay": 0.5, "average_best": 2, "checkpoint_layers": True},
    },
    "sampler": {"method": "baseline", "data": {"balance": "sampler", "augment": ("rawboost5",)}},
    **{
        f"gradmax-{method}": {
            "method": method, "init": "gradmax", "model": {"name": "wav2vec2"}, "layers": ("encoder.2.ffn",),
            "lateral": "into_new",
        }
        for method in ("dropin", "plasticity", "stack", "lora_growth", "adaptive")
    },
}  # fmt: skip


def config_of(case: str) -> TrialConfig:
    changes = CASES[case]
    return make_config(**{**changes, "train": {"steps": 4, "evaluations": 1, **changes.get("train", {})}})


@dataclass(eq=False)
class Recorder:
    """Stands in for a configuration and notes the dotted path of every setting that is read."""

    of: BaseModel
    before: str = ""
    seen: set[str] = field(default_factory=set)

    def __getattr__(self, name: str) -> Any:
        if name == "growth":  # layers and neurons together; a key holds what they come to
            self.seen.add("growth")
            return self.of.growth
        if name == "trial_id":  # what checkpoints are signed with
            return self.of.trial_id
        path = self.before + name
        if name not in type(self.of).model_fields:
            return MethodType(getattr(type(self.of), name), self)
        value = getattr(self.of, name)
        if isinstance(value, BaseModel) and name != "model":  # a network is built from that section as a whole
            return Recorder(value, path + ".", self.seen)
        self.seen.add(path)
        return value


def recorded(config: TrialConfig, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[set[str], Any]]:
    """What each stage of a trial read, while its network was made anew and while it ran."""
    trial = run.start(config, settings, lambda: False)
    plain, seen = trial.context, set()
    stage_run = run.run_stage

    def watched(_: TrialContext, network: Any, *rest: Any) -> Any:
        # A bench of its own: what an earlier one worked out once would be read no more.
        return stage_run(replace(plain, config=Recorder(config, seen=seen)), network, *rest)

    monkeypatch.setattr(run, "run_stage", watched)
    for number, key in enumerate(trial.keys):
        seen.clear()
        blank(Recorder(config, seen=seen), trial.stages[:number], torch.device("cpu"), trial.placed)
        list(run._advance(trial))
        yield set(seen), key


@pytest.mark.parametrize("case", sorted(CASES))
def test_every_setting_that_a_stage_reads_is_in_its_key(case, settings, monkeypatch) -> None:
    held = set(BY_CONTENT)
    for read, key in recorded(config_of(case), settings(), monkeypatch):
        assert read, "a stage that reads nothing was not watched"
        held |= set(key.reads)
        assert read <= held, f"{key.parent} → {case}: {sorted(read - held)} read, but in no key"


@pytest.mark.parametrize("case", sorted(CASES.keys() - {"lora-layers"}))  # where nothing grows it is a baseline
def test_the_canonical_form_of_a_trial_has_its_stages(case) -> None:
    """Settings that are put back to their defaults are settings that no stage reads."""
    changes = {name: value for name, value in WIDELY_SET.items() if name not in CASES[case]}
    config = config_of(case).model_copy(update=changes)
    plain = canonical(config, config.layers)
    assert [key.key for key in stage_keys(plain, stages_of(plain, 48), AROUND)] == [
        key.key for key in stage_keys(config, stages_of(config, 48), AROUND)
    ]


@pytest.mark.parametrize("method", ["plasticity", "lora", "stack"])
def test_the_order_in_which_sites_are_listed_is_nothing_to_a_stage(method) -> None:
    """Keys do not tell it, so draws and ties go by depth."""
    neurons = {"gru.2": 8, "gru.0": 4, "gru.1": 6}
    found = []
    for names in (tuple(neurons), tuple(sorted(neurons))):
        config = make_config(method=method, layers=names).model_copy(
            update={"neurons": {name: neurons[name] for name in names}}
        )
        network = TrialNetwork(blank(config, (), torch.device("cpu")).module)
        stage = next(stage for stage in stages_of(config, 48) if stage.name == "dropin")
        changed = change_(network, config, stage)
        found.append([list(network.added), list(network.grown), getattr(changed, "ranks", None),
                      [key.key for key in stage_keys(config, stages_of(config, 48), AROUND)]])  # fmt: skip
    assert found[0] == found[1]
    assert found[0][1] == sorted(neurons)


def other_values(config: TrialConfig) -> dict[str, Any]:
    """Another value for every setting of a trial that one value can be given to, by dotted path."""
    return {
        "method": None, "criterion": "random", "pool": "added" if config.pool == "all" else "all", "keep": 0.25,
        "lora_share": 0.25,
        "compensate": "none" if config.compensate == "mean" else "mean", "calibration_clips": 8, "rank": 3,
        "lora_on": "sites" if config.lora_on == "all" else "all", "last_k": 2, "truncate_to": 1, "timing_batch": 3,
        "timing_steps": 4, "operator": "parallel" if config.operator == "widen" else "widen", "lateral": "both",
        "adaptive_steps": 2, "adaptive_score": "natural", "newborn_lr_ratio": 3.0,
        "newborn_state": "fresh" if config.newborn_state == "inherited" else "inherited", "newborn_gate": "learned",
        "init": "orthogonal", "regime": "unfrozen" if config.regime == "frozen" else "frozen",
    }  # fmt: skip


@pytest.mark.parametrize(
    "case", ["plasticity", "lora", "adalora", "lora_growth", "last_k", "truncate", "stack", "gradmax-dropin"]
)
def test_what_no_key_holds_changes_no_result(case, settings, tmp_path) -> None:
    """All settings outside of a trial's keys are changed at once; the stages and their numbers stay the same."""
    config = config_of(case)
    keys = stage_keys(config, stages_of(config, 48), AROUND)
    held = {path for key in keys for path in key.reads}
    changes = {path: value for path, value in other_values(config).items() if path not in held and value is not None}
    other = config.model_copy(update=changes)
    assert len(changes) >= 5
    assert [key.key for key in stage_keys(other, stages_of(other, 48), AROUND)] == [key.key for key in keys]
    found = []
    for name, one in (("a", config), ("b", other)):
        where = settings(store=tmp_path / name)
        trial = run.start(one, where, lambda: False)
        list(run.run_stages(trial))
        found.append([StageStore(where.store).find(key.key) for key in trial.keys])
    for a, b in zip(*found, strict=True):
        assert a is not None
        assert b is not None
        assert a.key == b.key
        assert a.metrics == pytest.approx(b.metrics, rel=1e-5)
        json.dumps(a.reads)
