"""Memory and hours of networks that are too large to be timed here follow from their shapes."""

import pytest
import torch

from plastsearch.models.build import build
from plastsearch.preflight.demand import demand
from plastsearch.preflight.dry_run import _steps
from plastsearch.preflight.forecast import Demand, ForecastRequest
from plastsearch.preflight.forecast_child import _unfilled, answer
from plastsearch.preflight.hours import needs
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.data import DataConfig
from plastsearch.spec.training import TrainConfig
from plastsearch.trial.operations import backward_gflop


def config(**train: object) -> TrialConfig:
    return TrialConfig.model_validate(
        {"model": {"name": "wav2vec2", "head": "mhfa"}, "data": {"length_samples": 8000}, "train": train}
    )


def test_shapes_alone_tell_what_real_weights_tell() -> None:
    with torch.device("meta"):
        empty = build("wav2vec2", head="mhfa")
    found = demand(config(), empty)
    real = build("wav2vec2", head="mhfa")
    again = demand(config(), real)
    assert found.parameters == sum(one.numel() for one in real.parameters())
    assert found.clip_gflop == pytest.approx(again.clip_gflop)
    assert found.clip_bytes == pytest.approx(again.clip_bytes, rel=0.05)
    wave = torch.zeros(1, 8000)
    assert found.clip_gflop == pytest.approx(1.5 * backward_gflop(lambda: real(wave)), rel=0.01)


@pytest.mark.slow
def test_layers_computed_twice_take_less_memory_and_more_time() -> None:
    with torch.device("meta"):
        network = build("wav2vec2", "base", head="aasist")
    usual, again = (
        demand(config(checkpoint_layers=twice).model_copy(update={"data": DataConfig()}), network)
        for twice in (False, True)
    )
    assert again.clip_bytes < 0.7 * usual.clip_bytes  # of what is left most is the stem's, which is no block
    assert again.clip_gflop == pytest.approx(usual.clip_gflop * 2 / 1.5)


def test_a_published_encoder_is_forecast_as_itself_and_not_as_the_preset() -> None:
    model = {"name": "wav2vec2", "preset": "tiny", "from": "microsoft/wavlm-base-plus", "head": "mhfa"}
    network = _unfilled(TrialConfig.model_validate({"model": model}))
    assert network.backbone.config.model_type == "wavlm"
    assert sum(one.numel() for one in network.parameters()) == pytest.approx(94.38e6 + 1.25e6, rel=0.005)


def test_networks_for_gpus_are_told_of_and_tiny_ones_are_not() -> None:
    for source, told in (("microsoft/wavlm-base-plus", True), (None, False)):
        asked = TrialConfig.model_validate({"model": {"name": "wav2vec2", "from": source, "head": "mhfa"}})
        found = answer(ForecastRequest(configs=(asked,)))
        assert (found.demand is not None) is told


def test_hours_follow_from_steps_and_operations_in_words() -> None:
    asked = Demand(parameters=316_000_000, clip_bytes=900_000_000, clip_gflop=300.0)
    train = TrainConfig(epochs=1, batch_size=14, accumulate=2)
    found = needs(asked, train, 1813)
    assert found.at_once == 7
    assert found.memory_gb == pytest.approx(5.056 + 7 * 0.45)
    assert found.hours is not None
    assert found.hours["A100"] == pytest.approx(300 * 14 * 1813 / (312e3 * 0.35) / 3600)
    assert found.hours["T4"] > found.hours["A100"] > found.hours["H100"]
    assert "memory of a full training step: about 8.2 GB" in found.text()
    assert "1 min on A100" in found.text()
    assert f"{100 * found.hours['A100']:.1f} h on A100" in needs(asked, train, 181_300).text()
    assert "hours: not known before the clips are counted" in needs(asked, train, None).text()


def test_epochs_of_a_published_corpus_are_steps_before_it_is_here() -> None:
    made = TrialConfig.model_validate(
        {"data": {"corpus": "asvspoof2019_la", "root": "nowhere"}, "train": {"epochs": 2, "batch_size": 14}}
    )
    assert _steps(made) == -(-2 * 25_380 // 14)
    assert _steps(made.model_copy(update={"data": made.data.model_copy(update={"corpus": "manifest"})})) is None
