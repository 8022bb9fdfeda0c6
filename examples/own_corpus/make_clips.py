"""Ten clips for clips.csv: tones with a voice's harmonics; the spoofs have a buzz that no voice has."""

import csv
from pathlib import Path

import numpy as np

from plastsearch.audio import write_audio

RATE_HZ = 16_000
HERE = Path(__file__).resolve().parent


def clip(row: dict[str, str], rng: np.random.Generator) -> np.ndarray:
    """One second: a pitch for each speaker, breath, and the mark of its class."""
    time_s = np.arange(RATE_HZ) / RATE_HZ
    pitch_hz = 90 + 20 * sum(map(ord, row["speaker"])) % 140
    voice = sum(np.sin(2 * np.pi * k * pitch_hz * time_s + rng.uniform(0, 6)) / k for k in range(1, 12))
    if row["label"] == "spoof":
        voice = voice + 0.8 * np.sign(np.sin(2 * np.pi * 50 * time_s))
    return 0.1 * voice + 0.01 * rng.standard_normal(RATE_HZ)


if __name__ == "__main__":
    (HERE / "clips").mkdir(exist_ok=True)
    with (HERE / "clips.csv").open(encoding="utf-8") as table:
        for number, row in enumerate(csv.DictReader(table)):
            write_audio(HERE / "clips" / row["path"], clip(row, np.random.default_rng(number)), RATE_HZ)
