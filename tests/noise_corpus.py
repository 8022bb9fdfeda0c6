"""Ten clips of noise in each split, and their table: the smallest corpus that is decoded like any other."""

from pathlib import Path

import numpy as np
import soundfile

from plastsearch.spec.data import DataConfig


def noise_corpus(folder: Path) -> DataConfig:
    """Write it; `eval3.wav` stands in line 25 of the table."""
    lines = []
    for split in ("train", "dev", "eval"):
        for i in range(10):
            path = folder / f"{split}{i}.wav"
            soundfile.write(path, np.random.default_rng(len(lines)).uniform(-0.5, 0.5, 800), 16_000)
            lines.append(f"{path.name},{'real' if i % 2 else 'fake'},{split}")
    (folder / "clips.csv").write_text("\n".join(["path,label,split", *lines, ""]))
    return DataConfig(corpus="manifest", manifest=str(folder / "clips.csv"))
