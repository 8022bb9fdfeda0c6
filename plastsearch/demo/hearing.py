"""What the page shows of one clip: score, verdict, windows, a picture of its spectrum and where the model listened."""

import base64
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from plastsearch.data.windows import HOP_S
from plastsearch.errors import DataError
from plastsearch.explain.overlay import overlay
from plastsearch.models.frontend import build_front_end
from plastsearch.scores.metrics import Floats
from plastsearch.use.model import Model, Verdict, checked_prior
from plastsearch.use.windows import Wave

BANDS = 80
RANGE_DB = 70.0  # under the loudest band: the rest is drawn as silence
MOST_S = 600  # of a clip that is drawn and scored
MOST_COLUMNS = 1200
MODEL_HOP_S = 0.25  # finer than scoring files, so that a timeline of a short clip has a shape


def heard(model: Model, audio: bytes, name: str, prior: float) -> dict[str, object]:
    """Everything the page asks for, as plain data."""
    wave = _wave(model, audio, name)
    said = model.judged(wave, Verdict(checked_prior(prior), model.threshold(prior)), HOP_S, "mean")
    fine = model.judged(wave, Verdict(), MODEL_HOP_S, "mean") if len(wave) > model.window_samples else said
    drawn, hertz, columns = spectrum(wave, model.rate_hz)
    return {
        "name": name,
        "seconds": len(wave) / model.rate_hz,
        "score": said.score,
        "calibrated": model.calibrated,
        "probability": said.probability,
        "threshold": model.threshold(prior),
        "bona_fide": said.bona_fide,
        "windows": [asdict(window) for window in fine.windows],
        "window_s": model.window_samples / model.rate_hz,
        "spectrum": drawn,
        "relevance": listened(model, wave, hertz / 1000, columns),
    }


def _wave(model: Model, audio: bytes, name: str) -> Wave:
    # libsndfile tells formats apart by content, but its MP3 reader wants a file that it can seek in.
    with tempfile.NamedTemporaryFile(suffix=Path(name).suffix[:8]) as file:
        file.write(audio)
        file.flush()
        try:
            wave = model.read(file.name)
        except DataError as error:
            raise DataError(str(error).replace(file.name, "this clip")) from None
    if len(wave) > MOST_S * model.rate_hz:
        raise DataError(
            f"this clip lasts {len(wave) / model.rate_hz:.0f} s; the page takes {MOST_S} s, `score` any length"
        )
    return wave


def listened(model: Model, wave: Wave, khz: Floats, columns: int) -> str:
    """How much each place of the spectrum matters, for whichever class, as bytes; the root shows weak places, too."""
    weights = np.sqrt(np.abs(overlay(model, wave, khz, columns)))
    return base64.b64encode(np.rint(255 * weights).astype(np.uint8).tobytes()).decode()


def spectrum(wave: Wave, rate_hz: int) -> tuple[dict[str, object], Floats, int]:
    """Mel bands over time as bytes (0 quiet, 255 loud), rows from low to high; frequencies of the rows; columns."""
    front_end = build_front_end("log_mel", rate_hz, bins=BANDS, normalise="none")
    least = front_end.shape.n_fft // 2 + 1
    padded = np.pad(wave, (0, max(0, least - len(wave))))
    decibels: Floats = front_end(torch.from_numpy(padded)[None])[0].double().numpy()
    every = -(-decibels.shape[1] // MOST_COLUMNS)
    columns = decibels.shape[1] // every * every
    decibels = decibels[:, :columns].reshape(BANDS, -1, every).max(axis=2)
    shares = np.clip((decibels - decibels.max()) / RANGE_DB + 1, 0, 1)
    pixels = np.rint(255 * shares).astype(np.uint8)
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    centres = 700 * (10 ** (np.arange(1, BANDS + 1) / (BANDS + 1) * top / 2595) - 1)
    drawn: dict[str, object] = {
        "rows": pixels.shape[0],
        "columns": pixels.shape[1],
        "pixels": base64.b64encode(pixels.tobytes()).decode(),
        "hertz": [round(float(value)) for value in centres],
    }
    return drawn, centres, pixels.shape[1]
