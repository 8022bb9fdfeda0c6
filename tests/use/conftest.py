"""Clips as people have them: of any length, rate and format, some of them broken."""

from pathlib import Path

import numpy as np
import pytest

from plastsearch.audio import write_audio


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty files of 0.2 to 4 s, a text that is called audio, an empty file and a silent one."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for n in range(40):
        rate = (16_000, 8_000, 44_100)[n % 3]
        ending = (".wav", ".flac", ".ogg")[n % 2 if n % 5 else 2]
        write_audio(folder / f"LA_D_{n:07d}{ending}", 0.1 * rng.standard_normal(int(rate * rng.uniform(0.2, 4))), rate)
    (folder / "text.wav").write_text("no audio at all")
    (folder / "nothing.flac").touch()
    write_audio(folder / "zero.wav", np.zeros(4000), 16_000)
    return folder


@pytest.fixture(scope="session")
def protocol(clips: Path) -> Path:
    """The forty, every third bona fide."""
    path = clips.parent / f"{clips.name}-protocol.txt"
    lines = [f"LA_0001 LA_D_{n:07d} - {'-' if n % 3 == 0 else 'A01'} {'spoof' if n % 3 else 'bonafide'}"
             for n in range(40)]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    return path
