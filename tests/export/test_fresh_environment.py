"""The exported file runs where there is torch, torchaudio and soundfile, and nothing else of ours or of others."""

import subprocess
import sys
import venv
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from plastsearch.export.export import Asked, export
from plastsearch.export.portable.sound import read_wave
from tests.export.made_models import built, clips_in, encoder, grown, model_of

NAMED = ("torch", "torchaudio", "soundfile")
ASK = """
import sys
from detector import load
model = load(".")
print(*[float(model.score(clip)) for clip in sys.argv[1:]])
print(*sorted(name for name in ("plastsearch", "transformers", "safetensors") if name in sys.modules))
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the three packages and what they themselves ask for, and no other."""
    place = tmp_path_factory.mktemp("fresh")
    venv.create(place, with_pip=False, symlinks=True)
    packages = next(place.glob("lib/python*/site-packages"))
    for one in _closure(NAMED):
        for top in {path.parts[0] for path in one.files or () if path.parts[0] not in ("..", "__pycache__")}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(one.locate_file(top))))
    return place / "bin" / "python"


def _closure(names: tuple[str, ...]) -> list[Distribution]:
    found: dict[str, Distribution] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # one for another platform
            continue
        for line in found[name].requires or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                todo.append(wanted.name)
    return list(found.values())


def _ran(python: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-I", *words] if words[0] != "-c" else [str(python), *words],
        cwd=cwd, text=True, capture_output=True, check=False, timeout=240,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("network", ["grnn", "resnet18", "wav2vec2", "wavlm"])
def test_it_scores_as_ours_without_anything_of_ours(network, fresh, tmp_path):
    made = {
        "grnn": lambda: grown(built("grnn"), {"gru.0": 5}),
        "resnet18": lambda: grown(built("resnet18", activation="lif"), {"layer3.0": 7}),
        "wav2vec2": lambda: grown(encoder("wav2vec2"), {"encoder.0.attention": 12, "encoder.1.ffn": 3}),
        "wavlm": lambda: grown(encoder("wavlm", pooling="attention"), {"encoder.1.ffn": 3}),
    }
    model = model_of(made[network](), calibrated=True)
    export(model, tmp_path / "out", Asked(transformers=False))
    clips = clips_in(tmp_path)
    ours = [model.score(clip).score for clip in clips]
    for other in ("plastsearch", "transformers", "safetensors"):
        assert _ran(fresh, "-c", f"import {other}", cwd=tmp_path).returncode == 1
    asked = _ran(fresh, "-c", ASK, *map(str, clips), cwd=tmp_path / "out")
    scores, *others = asked.stdout.splitlines()
    assert [float(score) for score in scores.split()] == pytest.approx(ours, abs=1e-5), asked.stderr
    assert others in ([], [""])
    typed = _ran(fresh, "detector.py", *map(str, clips), str(tmp_path / "none.wav"), cwd=tmp_path / "out")
    head, *lines = [line.split("\t") for line in typed.stdout.splitlines()]
    assert head == ["score", "probability", "decision", "clip"]
    assert [float(line[0]) for line in lines] == pytest.approx(ours, abs=1e-5)
    assert typed.returncode == 1
    assert "none.wav" in typed.stderr
    assert "Traceback" not in typed.stderr


def test_wav_is_read_without_soundfile_too(tmp_path, monkeypatch):
    """Python's own reader gives the same samples, so that torch and torchaudio are enough for WAV of 16 bits."""
    clips = clips_in(tmp_path)
    ours = [read_wave(clip, 16_000, "int16") for clip in clips]
    monkeypatch.setitem(sys.modules, "soundfile", None)
    for clip, wave in zip(clips, ours, strict=True):
        assert (read_wave(clip, 16_000, "int16") - wave).abs().max() < 1e-6
    (tmp_path / "not.flac").write_bytes(b"fLaC")
    with pytest.raises(ValueError, match="to read more than WAV of 16 bits: pip install soundfile"):
        read_wave(tmp_path / "not.flac", 16_000, "int16")
