"""What a served model is asked and answers, row by row; it needs nothing beyond a model, so that it travels with one.

A row holds either `audio`, a whole file (WAV, FLAC, …) in base64, or `samples` between -1 and 1 with their `rate_hz`.
"""

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from plastsearch.audio import resample
from plastsearch.data.windows import HOP_S
from plastsearch.errors import DataError, PlastsearchError
from plastsearch.use.facts import RATES_HZ
from plastsearch.use.model import Model, Verdict, checked_prior
from plastsearch.use.windows import AGGREGATIONS, Aggregation, Wave

AUDIO, SAMPLES, RATE = "audio", "samples", "rate_hz"
LEAST_HOP_S = 0.05  # a shorter one would let one request occupy the server for hours
BONA_FIDE, SPOOF = "bona fide", "spoof"


@dataclass(frozen=True)
class Question:
    """How scores become answers, as a request says it."""

    verdict: Verdict
    hop_s: float
    aggregation: Aggregation


@dataclass(frozen=True)
class Answer:
    """What is said of one row; `score` is a log-likelihood ratio if the model is calibrated."""

    score: float
    probability: float
    decision: str


def question(model: Model, parameters: Mapping[str, object]) -> Question:
    """The parameters of a request, checked; what it leaves out has the defaults of `Model.score`."""
    prior = checked_prior(_number(parameters, "prior", 0.5))
    threshold = parameters.get("threshold")
    hop_s = _number(parameters, "hop_s", HOP_S)
    if not hop_s >= LEAST_HOP_S:
        raise PlastsearchError(f"hop_s: {hop_s:g} s is too short a step between windows; at least {LEAST_HOP_S} s")
    how = parameters.get("aggregation") or "mean"
    if how not in AGGREGATIONS:
        raise PlastsearchError(f"aggregation: {str(how)[:40]!r} is none of {', '.join(AGGREGATIONS)}")
    limit = model.threshold(prior) if threshold is None else _number(parameters, "threshold", 0.0)
    return Question(Verdict(prior, limit), hop_s, how)


def answers(model: Model, rows: Sequence[Mapping[str, object]], parameters: Mapping[str, object]) -> list[Answer]:
    """An answer for each row; a row that cannot be heard is an error that names it."""
    asked = question(model, parameters)
    if not rows:
        raise DataError(f"no rows; give each clip as a row with {AUDIO}, a file in base64, or {SAMPLES} with {RATE}")
    found: list[Answer] = []
    for number, row in enumerate(rows):
        try:
            wave = _heard(model, row)
        except PlastsearchError as error:
            raise DataError(f"row {number}: {error}") from None
        one = model.judged(wave, asked.verdict, asked.hop_s, asked.aggregation)
        found.append(Answer(one.score, one.probability, BONA_FIDE if one.bona_fide else SPOOF))
    return found


def _heard(model: Model, row: Mapping[str, object]) -> Wave:
    audio, samples = _given(row.get(AUDIO)), _given(row.get(SAMPLES))
    if (audio is None) == (samples is None):
        raise DataError(f"give either {AUDIO}, a file in base64, or {SAMPLES} with {RATE}")
    return _file(model, audio) if audio is not None else _samples(model, samples, row)


def _file(model: Model, audio: object) -> Wave:
    if not isinstance(audio, str | bytes):
        raise DataError(f"{AUDIO}: base64 is text, not {type(audio).__name__}")
    try:
        content = base64.b64decode("".join(audio.split()) if isinstance(audio, str) else audio, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{AUDIO}: no base64 ({error})") from None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip"
        path.write_bytes(content)
        try:
            return model.read(path)
        except DataError as error:
            raise DataError(f"{AUDIO}: {str(error).removeprefix(f'{path}: ')}") from None


def _samples(model: Model, samples: object, row: Mapping[str, object]) -> Wave:
    rate_hz = _number(row, RATE, math.nan)
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1] or rate_hz != int(rate_hz):
        raise DataError(f"{RATE}: {SAMPLES} need their rate, a whole number of {RATES_HZ[0]} to {RATES_HZ[1]:,} Hz")
    try:
        wave: Wave = np.asarray(samples, dtype=np.float32)
    except (TypeError, ValueError):
        raise DataError(f"{SAMPLES}: not one row of numbers") from None
    if wave.ndim != 1 or not len(wave) or not np.isfinite(wave).all():
        raise DataError(f"{SAMPLES}: one row of finite numbers is wanted, not an array of shape {wave.shape}")
    return wave if int(rate_hz) == model.rate_hz else resample(wave, int(rate_hz), model.rate_hz)


def _number(values: Mapping[str, object], name: str, default: float) -> float:
    value = _given(values.get(name))
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise PlastsearchError(f"{name}: {str(value)[:40]!r} is no finite number")
    return float(value)


def _given(value: object) -> object:
    """None also for what a table has in an empty cell."""
    return None if isinstance(value, float) and math.isnan(value) else value
