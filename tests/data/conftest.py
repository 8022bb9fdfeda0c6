"""Small corpora of real audio files in the true layouts, with the quirks of each; quick, and made without synth."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE_HZ = 16_000


def write_wave(path: Path, number: int, n_samples: int = 1600, rate_hz: int = RATE_HZ, **options: str) -> np.ndarray:
    """A file of noise that no other number shares; returns its samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(number).uniform(-0.5, 0.5, n_samples).astype(np.float32)
    soundfile.write(str(path), wave, rate_hz, **options)
    return wave


@pytest.fixture
def write_clip() -> Callable[..., np.ndarray]:
    """The function that writes one clip."""
    return write_wave


@pytest.fixture
def la_tree(tmp_path: Path) -> Path:
    """ASVspoof2019 LA with 16 + 12 + 8 clips, two known and one unknown attack; returns the folder `LA`."""
    root = tmp_path / "LA"
    number = 0
    for split, kind, n, attacks in (
        ("train", "trn", 16, ("-", "A01", "A02")),
        ("dev", "trl", 12, ("-", "A01", "A02")),
        ("eval", "trl", 8, ("-", "A07")),
    ):
        lines = []
        for i in range(n):
            number += 1
            attack, name = attacks[i % len(attacks)], f"LA_{split[0].upper()}_{1000 + number}"
            write_wave(root / f"ASVspoof2019_LA_{split}" / "flac" / f"{name}.flac", number, 1600 + 10 * number)
            key = "bonafide" if attack == "-" else "spoof"
            lines.append(f"LA_{split[0]}{i % 3:03d} {name} - {attack} {key}\n")
        protocol = root / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{split}.{kind}.txt"
        protocol.parent.mkdir(exist_ok=True)
        protocol.write_text("".join(lines))
    return root


def la_protocol(root: Path, split: str) -> Path:
    """The protocol file of one split."""
    kind = "trn" if split == "train" else "trl"
    return root / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{split}.{kind}.txt"


@pytest.fixture
def protocol_of() -> Callable[[Path, str], Path]:
    """Where the protocol of a split of LA lies."""
    return la_protocol


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes decode, however little there is."""
    monkeypatch.setattr("plastsearch.data.cache.WORTH_A_CHILD", 1.0)
