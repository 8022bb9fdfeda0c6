"""Drift: the same kind of audio shows none, another kind shows what is other about it."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from plastsearch import load_model
from plastsearch.audio import write_audio
from plastsearch.cli.main import app
from plastsearch.compare.drift import drift
from plastsearch.compare.hearing import FACTS, Heard, hear
from plastsearch.errors import PlastsearchError


def folder(path: Path, seed: int, count: int = 24, gain: float = 0.1, smooth: int = 1, beat: float = 0.0) -> Path:
    """Noise of one colour and level, clips of unequal length."""
    rng = np.random.default_rng(seed)
    path.mkdir()
    for k in range(count):
        wave = np.convolve(rng.standard_normal(9000 + 200 * (k % 7)), np.ones(smooth) / smooth, "same")
        wave *= 1 + beat * np.sign(np.sin(np.arange(len(wave)) / 500))
        write_audio(path / f"{k:03d}.wav", gain * wave, 16_000)
    return path


@pytest.fixture(scope="module")
def model(found_root):
    return load_model(f"{found_root}/grnn:1")


def told(model, old: Path, new: Path):
    found = drift(model.facts.name, model.threshold(), *(hear(model, one, 100, lambda *_: None) for one in (old, new)))
    return {one.name: one.shown for one in found.shifts}, found


def test_two_draws_of_the_same_audio_show_none(model, tmp_path):
    shown, found = told(model, folder(tmp_path / "old", 0), folder(tmp_path / "new", 1))
    assert set(shown) == {*FACTS, "features before the head"}
    assert not any(shown.values())
    assert not found.shown


def test_quieter_and_duller_audio_is_told_by_level_and_band_not_by_length(model, tmp_path):
    shown, _ = told(model, folder(tmp_path / "old", 0), folder(tmp_path / "new", 1, gain=0.02, smooth=8))
    assert shown["level_db"]
    assert shown["band_khz"]
    assert not shown["length_s"]


def test_audio_of_another_rhythm_is_told_by_what_the_network_computes(model, tmp_path):
    shown, _ = told(model, folder(tmp_path / "old", 0), folder(tmp_path / "new", 1, beat=0.95))
    assert shown["features before the head"]


def test_clips_far_from_all_of_the_reference_are_counted_and_the_farthest_comes_first():
    rng = np.random.default_rng(0)

    def heard(name: str, features: np.ndarray) -> Heard:
        paths = tuple(Path(name) / f"{k}.wav" for k in range(len(features)))
        facts = {fact: rng.normal(size=len(features)) for fact in FACTS}
        return Heard(Path(name), paths, facts, features, ())

    odd = np.vstack([rng.normal(size=(19, 8)), np.full((1, 8), 9.0)])
    found = drift("made", 0.0, heard("old", rng.normal(size=(60, 8))), heard("new", odd))
    assert found.farthest[0].path == "19.wav"
    assert found.farthest[0].times > 3
    assert 0.05 <= found.outside <= 0.3
    far = drift("made", 0.0, heard("old", rng.normal(size=(60, 8))), heard("new", rng.normal(size=(40, 8)) + 4))
    assert far.outside == 1.0
    assert {one.name for one in far.shifts if one.shown} == {"features before the head"}


@pytest.mark.slow
def test_p_values_of_equal_samples_are_spread_evenly():
    from plastsearch.compare.drift import _gap_test

    rng = np.random.default_rng(0)
    values = [_gap_test(rng.normal(size=20), rng.normal(size=25), rng)[1] for _ in range(100)]
    assert 0.35 < np.mean(values) < 0.75
    assert sum(value < 0.05 for value in values) <= 12


def test_the_command_writes_a_page_and_names_what_it_could_not_read(found_root, tmp_path):
    old, new = folder(tmp_path / "old", 0, count=6), folder(tmp_path / "new", 1, count=6)
    (new / "broken.wav").write_text("no audio at all")
    command = [
        "drift",
        f"{found_root}/grnn:1",
        "--reference",
        str(old),
        "--new",
        str(new),
        "--out",
        str(tmp_path / "o"),
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "broken.wav" in done.stdout
    plain = json.loads((tmp_path / "o" / "drift.json").read_text())
    assert plain["clips"] == {"reference": 6, "new": 6}
    assert (tmp_path / "o" / "drift.html").stat().st_size > 100_000


@pytest.mark.parametrize("bad", ["missing", "empty"])
def test_a_folder_without_audio_is_told(model, tmp_path, bad):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PlastsearchError, match="no such folder" if bad == "missing" else "no audio in it"):
        hear(model, tmp_path / bad, 10, lambda *_: None)
