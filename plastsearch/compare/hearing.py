"""What a model and a plain meter say of a folder's clips: score, features under the head, level, band, silence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from plastsearch.audio import SUFFIXES
from plastsearch.data.windows import starts
from plastsearch.errors import DataError, PlastsearchError
from plastsearch.models.detector import HEAD_CUT
from plastsearch.scores.metrics import Floats
from plastsearch.use.model import Model
from plastsearch.use.windows import Wave, cut

WINDOWS = 4  # of a clip, spread over it: enough for what it is like
FRAME_S = 0.02
QUIET_DB = -40.0  # under the loudest frame
ROLL_OFF = 0.95

FACTS = {  # name → how a person reads it
    "score": "score",
    "length_s": "length (s)",
    "level_db": "level (dB of full scale)",
    "band_khz": "band that holds 95 % of the power (kHz)",
    "silence": "share of quiet frames",
}


@dataclass(frozen=True)
class Heard:
    """A folder's clips, in the order of their names."""

    folder: Path
    paths: tuple[Path, ...]
    facts: dict[str, Floats]  # by the names of FACTS
    features: Floats  # [clips, D]: what the head reads, mean over windows
    bad: tuple[str, ...]  # files that could not be read, and why


def hear(model: Model, folder: Path, most: int, tick: Callable[[str, int, int], None]) -> Heard:
    """Listen to at most so many clips, spread evenly over the sorted names."""
    paths = clips_in(folder)
    if len(paths) > most:
        paths = [paths[at] for at in np.linspace(0, len(paths) - 1, most).round().astype(int)]
    rows: list[dict[str, float]] = []
    features: list[Floats] = []
    kept: list[Path] = []
    bad: list[str] = []
    for number, path in enumerate(paths, 1):
        try:
            wave = model.read(path)
        except DataError as error:
            bad.append(str(error))
        else:
            score, pooled = _judged(model, wave)
            rows.append({"score": score, **_measured(wave, model.rate_hz)})
            features.append(pooled)
            kept.append(path)
        tick(str(folder), number, len(paths))
    if len(kept) < 2:
        raise DataError(f"{folder}: {len(kept)} of {len(paths)} clips can be read; a comparison needs two or more")
    facts = {name: np.array([row[name] for row in rows]) for name in FACTS}
    return Heard(folder, tuple(kept), facts, np.stack(features), tuple(bad))


def clips_in(folder: Path) -> list[Path]:
    """Every audio file below a folder."""
    if not folder.is_dir():
        raise PlastsearchError(f"{folder}: no such folder")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"{folder}: no audio in it; known endings: {', '.join(sorted(SUFFIXES))}")
    return found


def _judged(model: Model, wave: Wave) -> tuple[float, Floats]:
    """Mean score and features over a few windows."""
    length = model.window_samples
    at: Sequence[int] = starts(len(wave), length, length)
    if len(at) > WINDOWS:
        at = [at[k] for k in np.linspace(0, len(at) - 1, WINDOWS).round().astype(int)]
    wave_BT = torch.from_numpy(np.stack([cut(wave, start, length) for start in at])).to(model.device)
    with torch.inference_mode():
        frames_BTD = model.detector.prefix(wave_BT, HEAD_CUT)
        pooled_BD = model.detector.pool(frames_BTD.float())
        logits_BC = model.detector.classify(frames_BTD).float()
    plain = (logits_BC[:, 1] - logits_BC[:, 0]).double().cpu().numpy()
    calibration = model.facts.calibration
    scores = plain if calibration is None else calibration.slope * plain + calibration.offset
    return float(scores.mean()), pooled_BD.mean(0).double().cpu().numpy()


def _measured(wave: Wave, rate_hz: int) -> dict[str, float]:
    frame = max(1, round(FRAME_S * rate_hz))
    whole = wave[: len(wave) // frame * frame].reshape(-1, frame) if len(wave) >= frame else wave[None]
    power: NDArray[np.float64] = (whole.astype(np.float64) ** 2).mean(axis=1)
    decibels = 10 * np.log10(power + 1e-12)
    spectrum = np.abs(np.fft.rfft(whole.astype(np.float64), axis=1)) ** 2
    shares = np.cumsum(spectrum.sum(axis=0))
    at = int(np.searchsorted(shares, ROLL_OFF * shares[-1])) if shares[-1] > 0 else 0
    return {
        "length_s": len(wave) / rate_hz,
        "level_db": float(10 * np.log10(power.mean() + 1e-12)),
        "band_khz": at * rate_hz / whole.shape[1] / 1000,
        "silence": float((decibels < decibels.max() + QUIET_DB).mean()),
    }
