"""What a front end computes is computed once, with the statistics of the training clips, and equal to what it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plastsearch.data.windows import starts
from plastsearch.export.portable.clips import cut as portable_cut
from plastsearch.export.portable.clips import starts as portable_starts
from plastsearch.models.frontend import FilterBank
from plastsearch.trial import run, scoring
from plastsearch.trial.context import open_context
from plastsearch.use.facts import Facts
from plastsearch.use.model import Model
from plastsearch.use.windows import cut
from tests.trial.conftest import alike, make_config, steady


def kept_features(cache: Path) -> list[Path]:
    return [path for path in (cache / "prefix").glob("*/shape.json") if '"features"' in path.read_text()]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many clips each call of a front end was given."""
    counts: list[int] = []
    plain = FilterBank.forward

    def counted(self: FilterBank, wave_BT: torch.Tensor) -> torch.Tensor:
        counts.append(len(wave_BT))
        return plain(self, wave_BT)

    monkeypatch.setattr(FilterBank, "forward", counted)
    return counts


@pytest.mark.parametrize(
    "model",
    [{"name": "grnn", "masks": 1}, pytest.param({"name": "resnet18", "normalise": "none"}, marks=pytest.mark.slow)],
)
def test_features_are_computed_once_and_training_is_what_it_was(
    model: dict[str, Any], settings: Any, tmp_path: Path, heard: list[int]
) -> None:
    # 24 steps of 8 are four epochs of 48 clips, with two places each.
    config = make_config(
        model=model,
        method="baseline",
        layers=(),
        neurons=0,
        data={"crops": 2, "length_samples": 6000},
        train={"steps": 24},
    )
    found, calls = [], []
    for keep in (False, True):
        heard.clear()
        where = settings(store=tmp_path / f"store{keep}", cache=tmp_path / "cache", cache_prefix=keep)
        reports = list(run.run_trial(config, where))
        found.append(steady(reports[-1]))
        calls.append(sum(heard))
        assert bool(kept_features(tmp_path / "cache")) == keep
    alike(found[1], found[0])
    assert calls[1] < 0.7 * calls[0]
    heard.clear()
    again = settings(store=tmp_path / "another", cache=tmp_path / "cache", cache_prefix=True)
    alike(steady(list(run.run_trial(config.model_copy(update={"train": config.train}), again))[-1]), found[1])
    assert sum(heard) < calls[1] - 48  # other trials read the same: what is left are statistics and timings


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"augment": ("band_limit",)}, {"crops": "fresh"}])
def test_clips_that_change_have_their_features_computed_anew(changes: Any, settings: Any, tmp_path: Path) -> None:
    config = make_config(method="baseline", data=changes)
    where = settings(cache=tmp_path / "cache", cache_prefix=True)
    list(run.run_stages(run.start(config, where, lambda: False)))
    assert not kept_features(tmp_path / "cache")


def test_statistics_are_those_of_the_training_clips_and_lie_with_the_weights(settings: Any) -> None:
    config = make_config(method="baseline")
    trial = run.start(config, settings(), lambda: False)
    list(run.run_stages(trial))
    module = trial.load().module
    clips = trial.context.train
    power = build_like(module)
    power.measure_([torch.from_numpy(clips.batch(np.arange(len(clips)), 8000))])
    stored = trial.context.store.load(trial.records[-1].key)
    for name in ("mean", "deviation"):
        assert torch.allclose(stored[f"front_end.{name}"], getattr(power, name), atol=1e-3, rtol=1e-3)
        assert stored[f"front_end.{name}"].abs().min() > 0


def build_like(module: Any) -> FilterBank:
    one = module.front_end
    return FilterBank(one.kind, one.rate_hz, one.shape, one.normalise, one.deltas)


def test_long_clips_are_scored_on_dev_by_the_windows_that_a_found_model_hears(settings: Any, tmp_path: Path) -> None:
    config = make_config(data={"length_samples": 5000, "score": "windows"})
    context = open_context(config, settings(), lambda: False)
    trial = run.start(config, settings(), lambda: False)
    module = trial.load().module.eval()
    clips = context.search_dev
    where = scoring.places(context, clips)
    assert len(where.rows) > len(clips)
    ours = scoring.dev_scores(context, module)
    facts = Facts(name="made", network={"model_type": "grnn"}, growth={}, rate_hz=16_000, length_samples=5000)
    model = Model(module, facts, torch.device("cpu"))
    theirs = [float(model.score(clips.wave(n), 16_000)) for n in range(len(clips))]
    assert ours == pytest.approx(np.array(theirs, np.float32), abs=1e-5)
    heads = scoring.dev_scores(
        open_context(make_config(data={"length_samples": 5000}), settings(), lambda: False), module
    )
    assert np.abs(heads - ours).max() > 1e-4


@pytest.mark.parametrize("n", [300, 999, 1000])
def test_a_clip_shorter_than_the_crop_is_repeated_wherever_it_is_cut(n: int, settings: Any) -> None:
    """In training, by a found model and by an exported one: nothing is filled with zeros."""
    context = open_context(make_config(), settings(), lambda: False)
    length = int(context.train.lengths[0]) + n
    wave = context.train.wave(0)
    trained = context.train.batch([0], length)[0]
    assert np.array_equal(trained, np.resize(wave, length))
    assert np.array_equal(cut(wave, 0, length), trained)
    assert np.array_equal(portable_cut(torch.from_numpy(wave.copy()), 0, length).numpy(), trained)
    assert starts(length - n, length, 100) == portable_starts(length - n, length, 100) == [0]
