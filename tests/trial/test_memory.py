"""Laws of short memory in a trial: scoring, calibration, kept activations and timing go on with smaller batches."""

from typing import Any

import numpy as np
import pytest
import torch

from plastsearch.models.build import build
from plastsearch.models.detector import Detector
from plastsearch.store.activations import PrefixOf
from plastsearch.trial import cached_prefix as keeping
from plastsearch.trial import changing, cost, methods, scoring
from plastsearch.trial.context import TrialContext, open_context
from plastsearch.trial.networks import change_, new_network
from plastsearch.trial.run import run_trial
from tests.trial.conftest import MakeSettings, make_config

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture
def context(settings: MakeSettings) -> TrialContext:
    return open_context(make_config(), settings(), lambda: False)


def _short(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """A GPU whose memory takes so many clips at a time; which sizes were tried."""
    tried: list[int] = []
    prefix = Detector.prefix

    def look(self: Detector, wave_BT: torch.Tensor, cut: str) -> torch.Tensor:
        tried.append(len(wave_BT))
        if len(wave_BT) > most:
            raise torch.OutOfMemoryError("CUDA out of memory (pretended)")
        return prefix(self, wave_BT, cut)

    monkeypatch.setattr(Detector, "prefix", look)
    return tried


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grnn", "resnet18", "wav2vec2"])
def test_scores_do_not_depend_on_how_many_clips_fit(name: str, context: TrialContext, monkeypatch) -> None:
    module = build(name, "tiny", seed=2)
    whole = scoring.dev_scores(context, module)
    tried = _short(monkeypatch, 5)
    parts = scoring.dev_scores(context, module)
    assert max(tried) > 5
    assert sum(size for size in tried if size <= 5) == len(whole)
    np.testing.assert_allclose(parts, whole, **CLOSE)


@pytest.mark.slow
def test_means_for_compensation_do_not_depend_on_it(context: TrialContext, monkeypatch) -> None:
    module = build("grnn", "tiny", seed=2)
    whole = changing.tap_means(context, module, ["gru.0", "gru.1"])
    tried = _short(monkeypatch, 3)
    parts = changing.tap_means(context, module, ["gru.0", "gru.1"])
    assert min(tried) <= 3 < max(tried)
    for site, mean in whole.items():
        torch.testing.assert_close(parts[site], mean, **CLOSE)


@pytest.mark.slow
def test_kept_activations_do_not_depend_on_it(context: TrialContext, monkeypatch) -> None:
    module = build("grnn", "tiny", seed=2)
    rows = np.arange(len(context.search_dev))
    of = PrefixOf("w", "gru.1", "c", 4000, 1, "float32", "float32")
    part = keeping.CachedPart(of, context.search_dev, rows, np.zeros_like(rows))
    whole = torch.cat(list(keeping._computed(context, module, part)))
    _short(monkeypatch, 7)
    parts = torch.cat(list(keeping._computed(context, module, part)))
    torch.testing.assert_close(parts, whole, **CLOSE)


def test_gradmax_grows_with_what_fits(settings: MakeSettings, monkeypatch) -> None:
    config = make_config(model={"name": "wav2vec2"}, layers=("encoder.2.ffn",), regime="unfrozen", init="gradmax")
    context = open_context(config, settings(), lambda: False)
    stage = next(stage for stage in stages_of(config, context) if stage.name == "dropin")
    network = new_network(config)
    tried = _short(monkeypatch, 5)
    loss = changing._calibration_loss(context, network.module)
    found = change_(network, config, stage, loss=loss)
    assert min(tried) <= 5 < max(tried)
    assert found.units == {"encoder.2.ffn": 4}


def stages_of(config: Any, context: TrialContext) -> Any:
    return methods.stages_of(config, len(context.train))


@pytest.mark.slow
def test_a_trial_is_timed_with_the_clips_that_fit_and_says_so(settings: MakeSettings, monkeypatch) -> None:
    config = make_config(timing_batch=4)
    *_, whole = run_trial(config, settings())
    step = cost._step

    def short(context: TrialContext, network: Any, cut: Any, clips: int) -> Any:
        made = step(context, network, cut, clips)
        if cut is None and clips > 1:  # the reference, in which everything learns, takes the most

            def forward() -> torch.Tensor:
                raise torch.OutOfMemoryError("CUDA out of memory (pretended)")

            return cost.StepUnderTest(forward, made.optimizer)
        return made

    monkeypatch.setattr(cost, "_step", short)
    *_, parts = run_trial(config, settings())
    assert (whole.details["device"]["batch"], parts.details["device"]["batch"]) == (4, 1)
    assert "timed with 1 clips instead of timing_batch=4" in "\n".join(parts.details["warnings"])
    assert "timed with" not in "\n".join(whole.details["warnings"])
    assert parts.metrics["backward_ratio"] > 0
    assert parts.metrics["backward_gflop"] == pytest.approx(whole.metrics["backward_gflop"], rel=0.01)
