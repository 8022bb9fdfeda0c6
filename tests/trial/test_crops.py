"""One crop policy for all arms: the same step of any arm reads the same parts of the same clips, kept or computed."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from plastsearch.data import dataset
from plastsearch.errors import SpecError
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.data import DataConfig
from plastsearch.spec.load import load_sweep
from plastsearch.store.activations import PrefixOf
from plastsearch.training import fit
from plastsearch.training.feeds import CachedFeed, KeptCrops, WaveFeed
from plastsearch.trial import run
from plastsearch.trial.cached_prefix import parts_of
from plastsearch.trial.context import open_context
from plastsearch.trial.methods import METHODS, Stage

sys.path.insert(0, str(Path(__file__).parent))
from conftest import ELSEWHERE, make_config

CPU = torch.device("cpu")
Sample = tuple[int, int]  # clip, where it is cut


def samples(config: TrialConfig, settings: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Sample]]:
    """What every stage of a trial reads, in order; no step is taken, since none is asked about."""
    read: list[Sample] = []
    starts = dataset.starts

    def noted(clips: Any, rows: Any, *rest: Any) -> Any:
        found = starts(clips, rows, *rest)
        read.extend(zip(rows.tolist(), found.tolist(), strict=True))
        return found

    monkeypatch.setattr(dataset, "starts", noted)
    monkeypatch.setattr(fit, "_train_step", lambda on, plan, optimizer, state: on.feed.batch(state.step))
    trial = run.start(config, settings, lambda: False)
    stages: dict[str, list[Sample]] = {}
    for stage in trial.stages:
        read.clear()
        list(run._advance(trial))
        stages.setdefault(stage.name, []).extend(read)  # `adaptive` retrains in several parts
    monkeypatch.undo()
    return stages


@pytest.mark.parametrize("crops", [None, *(pytest.param(one, marks=pytest.mark.slow) for one in (1, "fresh"))])
def test_every_arm_reads_the_same_samples(crops, settings, monkeypatch) -> None:
    """Stage by stage where stages are of one length, and over the whole trial where they are not."""
    data = {} if crops is None else {"crops": crops}
    arms = {}
    for method in sorted(METHODS):
        for regime in ("frozen", "unfrozen") if method in ("dropin", "plasticity", "stack") else ("frozen",):
            config = make_config(method=method, regime=regime, last_k=1, truncate_to=2, data=data,
                                 train={"steps": 40, "evaluations": 1}, **ELSEWHERE.get(method, {}))  # fmt: skip
            arms[method, regime] = samples(config, settings(share_stages=False), monkeypatch)
    baseline = arms.pop(("baseline", "frozen"))
    assert len(baseline["retrain"]) == 20 * 8
    for name, stages in arms.items():
        assert Counter(stages["train"]) == Counter(baseline["train"]), name
        later = stages["retrain"] + stages.get("consolidate", [])
        assert Counter(later) == Counter(baseline["retrain"]), name
        assert later == baseline["retrain"]  # in the same order, too
        if "consolidate" not in stages:
            assert Counter(stages["retrain"]) == Counter(baseline["retrain"]), name


def test_several_places_of_each_clip_are_read_by_default(settings, monkeypatch) -> None:
    config = make_config(method="dropin", train={"steps": 60, "evaluations": 1})
    stages = samples(config, settings(), monkeypatch)
    places = Counter(clip for clip, _ in set(stages["train"] + stages["retrain"]))
    assert set(places.values()) <= set(range(1, DataConfig().crops + 1))
    assert np.mean(list(places.values())) > 2


@pytest.mark.parametrize("length_samples", [8_000, 24_000, 40_000])  # no clip shorter, some, all
@pytest.mark.parametrize(("crops", "first"), [(1, 0), (3, 0), (4, 17)])
def test_kept_activations_are_those_of_the_samples_that_waveforms_show(
    length_samples, crops, first, settings, cache, tmp_path
) -> None:
    config = make_config(data={"length_samples": length_samples, "crops": crops})
    context = open_context(config, settings(cache=cache), lambda: False)
    reading = context.reading(first)
    stage = Stage("retrain", "none", "new", 20, 1e-3, first)
    parts = parts_of(reading, stage, PrefixOf("w", "gru.1", "clips", length_samples, 1, "float32", "float32"))
    longer = context.train.lengths > length_samples
    apart = int((~longer).any())
    assert sum(len(part.rows) for part in parts.values()) == (~longer).sum() + longer.sum() * (len(parts) - apart)

    class Waves:
        """Stands in for kept activations: the samples themselves."""

        def __init__(self, part: Any) -> None:
            self.part = part

        def read(self, rows: Any) -> torch.Tensor:
            return torch.from_numpy(self.part.clips.cut(self.part.rows[rows], self.part.starts[rows], length_samples))

    at = np.where(longer, np.cumsum(longer), np.cumsum(~longer)) - 1
    kept = KeptCrops(at, longer, {turn: Waves(part) for turn, part in parts.items()})  # type: ignore[misc]
    waves, activations = WaveFeed(reading, CPU, stage.steps), CachedFeed(reading, kept, CPU, stage.steps)
    for step in range(stage.steps):
        (one, labels), (two, also) = waves.batch(step), activations.batch(step)
        assert torch.equal(one, two)
        assert torch.equal(labels, also)


def test_a_stage_keeps_no_turn_that_it_does_not_read(settings) -> None:
    context = open_context(make_config(data={"crops": 4}), settings(), lambda: False)
    of = PrefixOf("w", "gru.1", "clips", 8_000, 1, "float32", "float32")
    reading = context.reading(0)
    for epochs, turns in ((1, {0}), (2, {0, 1}), (9, {0, 1, 2, 3})):
        stage = Stage("retrain", "none", "new", epochs * reading.per_epoch, 1e-3)
        assert set(parts_of(reading, stage, of)) - {None} == turns


def test_fresh_crops_are_never_kept(settings) -> None:
    config = make_config(method="dropin", data={"crops": "fresh"}, train={"steps": 24})
    *_, final = run.run_trial(config, settings(cache_prefix=True))
    assert not any(stage.get("prefix") for stage in final.details["stages"])


def test_a_space_cannot_give_its_arms_different_crops(tmp_path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("base: {method: baseline}\nspace:\n  data.crops: {kind: choice, of: [1, 4]}\n")
    with pytest.raises(SpecError, match=r"data\.crops: a sweep has one crop policy for all its arms"):
        load_sweep(path)


@pytest.mark.parametrize("crops", [0, "random", 1.5])
def test_other_crops_are_refused(crops) -> None:
    with pytest.raises(ValidationError):
        DataConfig.model_validate({"crops": crops})


def test_null_of_older_journals_is_read_as_the_default() -> None:
    assert DataConfig.model_validate({"crops": None}) == DataConfig()
