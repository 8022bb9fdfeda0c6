"""A served model answers files in base64 and samples alike, and says of each row that it cannot hear what is wrong."""

import base64

import numpy as np
import pytest

from plastsearch import load_model
from plastsearch.audio import write_audio
from plastsearch.errors import PlastsearchError
from plastsearch.use.answering import answers

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def model(found_root):
    return load_model(f"{found_root / 'grnn'}:1", "cpu")


@pytest.fixture(scope="module")
def wave():
    return np.random.default_rng(0).uniform(-0.4, 0.4, 20_000).astype(np.float32)


@pytest.fixture(scope="module")
def clip(wave, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    write_audio(path, wave, RATE_HZ)
    return path


def test_a_file_and_its_samples_have_the_scores_that_the_model_gives(model, clip, wave):
    text = base64.b64encode(clip.read_bytes()).decode()
    broken = "\n".join(text[n : n + 76] for n in range(0, len(text), 76))  # as MIME writes it
    rows = [
        {"audio": text},
        {"audio": broken, "samples": None, "rate_hz": float("nan")},
        {"samples": model.read(clip).tolist(), "rate_hz": 16_000.0, "audio": None},
    ]
    expected = model.score(clip, prior=0.2, hop_s=0.5, aggregation="min")
    for found in answers(model, rows, {"prior": 0.2, "hop_s": 0.5, "aggregation": "min"}):
        assert (found.score, found.probability) == pytest.approx((expected.score, expected.probability), abs=1e-6)
        assert found.decision == ("bona fide" if expected.bona_fide else "spoof")


def test_samples_of_another_rate_are_resampled_and_the_threshold_decides(model, wave):
    (found,) = answers(model, [{"samples": wave, "rate_hz": 8000}], {"threshold": 1e9})
    assert found.score == pytest.approx(model.score(wave, 8000).score, abs=1e-6)
    assert found.decision == "spoof"
    (found,) = answers(model, [{"samples": wave, "rate_hz": 8000}], {"threshold": -1e9})
    assert found.decision == "bona fide"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"audio": "!!"}, "row 1: audio: no base64"),
        ({"audio": 7}, "row 1: audio: base64 is text, not int"),
        ({"audio": base64.b64encode(b"hello there").decode()}, "row 1: audio: not audio: text: 'hello there'"),
        ({"audio": ""}, "row 1: audio: empty file"),
        ({}, "row 1: give either audio, a file in base64, or samples with rate_hz"),
        ({"audio": "aaaa", "samples": [1.0], "rate_hz": 16_000}, "row 1: give either audio"),
        ({"samples": [0.1, 0.2]}, "row 1: rate_hz: samples need their rate, a whole number of 1000 to 768,000 Hz"),
        ({"samples": [0.1], "rate_hz": 16_000.5}, "row 1: rate_hz: samples need their rate"),
        ({"samples": [0.1], "rate_hz": "fast"}, "row 1: rate_hz: 'fast' is no finite number"),
        ({"samples": [], "rate_hz": 16_000}, "row 1: samples: one row of finite numbers is wanted"),
        ({"samples": [[0.1], [0.2]], "rate_hz": 16_000}, r"row 1: samples: .* not an array of shape \(2, 1\)"),
        ({"samples": [0.1, float("nan")], "rate_hz": 16_000}, "row 1: samples: one row of finite numbers"),
        ({"samples": "abc", "rate_hz": 16_000}, "row 1: samples: not one row of numbers"),
    ],
)
def test_a_row_that_cannot_be_heard_is_named(model, clip, row, said):
    good = {"audio": base64.b64encode(clip.read_bytes()).decode()}
    with pytest.raises(PlastsearchError, match=said):
        answers(model, [good, row], {})


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"prior": 1.0}, "a prior is a probability between 0 and 1"),
        ({"prior": True}, "prior: 'True' is no finite number"),
        ({"threshold": "high"}, "threshold: 'high' is no finite number"),
        ({"hop_s": 1e-9}, "hop_s: 1e-09 s is too short a step"),
        ({"aggregation": "mode"}, "aggregation: 'mode' is none of mean, median, min, max, first"),
    ],
)
def test_parameters_without_a_sense_are_refused(model, wave, parameters, said):
    with pytest.raises(PlastsearchError, match=said):
        answers(model, [{"samples": wave, "rate_hz": 16_000}], parameters)


def test_a_table_without_rows_is_a_mistake(model):
    with pytest.raises(PlastsearchError, match="no rows; give each clip as a row"):
        answers(model, [], {})
