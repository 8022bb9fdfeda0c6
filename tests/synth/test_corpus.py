"""The generated corpus: true layouts, same bits from a seed, and no class told apart by anything but its traces."""

import hashlib
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile

from plastsearch.errors import DataError
from plastsearch.synth import corpus as synthetic
from plastsearch.synth.attacks import KNOWN, UNKNOWN
from plastsearch.synth.corpus import render, write_corpus
from plastsearch.synth.layouts import ENVIRONMENTS, REPLAYS, ClipRecipe, Counts, logical_access

SHORT = {"train": 12, "dev": 9, "eval_": 10, "length_s": (0.3, 0.5)}


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def la(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora") / "la"
    write_corpus(folder, "la", 3, **SHORT)
    return folder


def test_la_has_the_tree_and_columns_of_the_real_one(la: Path) -> None:
    for split, letter, kind, count in (("train", "T", "trn", 12), ("dev", "D", "trl", 9), ("eval", "E", "trl", 10)):
        protocol = la / "LA" / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{split}.{kind}.txt"
        rows = [line.split(" ") for line in protocol.read_text().splitlines()]
        audio = la / "LA" / f"ASVspoof2019_LA_{split}" / "flac"
        assert {f"{row[1]}.flac" for row in rows} == {path.name for path in audio.iterdir()}
        assert len(rows) == count
        for speaker, name, unused, attack, key in rows:
            assert speaker.startswith("LA_")
            assert name.startswith(f"LA_{letter}_")
            assert unused == "-"
            assert (attack == "-") == (key == "bonafide")


def test_files_are_16_bit_flac_at_16_khz(la: Path) -> None:
    for path in la.rglob("*.flac"):
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", 16_000, 1)
        assert 0.3 <= info.duration <= 0.5
        wave, _ = soundfile.read(path)
        assert np.isfinite(wave).all()
        assert 1e-3 < np.abs(wave).max() < 1


def test_some_attacks_are_in_eval_only_and_speakers_in_one_split() -> None:
    plans, _ = logical_access(Counts(60, 40, 60, 0.4, 6), np.random.default_rng(0), None)
    attacks = {split: {p.attack for p in plans if f"LA_{split}" in str(p.path)} for split in ("train", "dev", "eval")}
    assert attacks["train"] == attacks["dev"] == {"-", "A01", "A02", "A03", "A04", "A05", "A06"}
    assert attacks["eval"] == {"-", "A07", "A08", "A09", "A10", "A11", "A12", "A16", "A19"}
    voices = [{p.voice for p in plans if f"LA_{split}" in str(p.path)} for split in ("train", "dev", "eval")]
    assert all(len(v) == 6 for v in voices)
    assert not voices[0] & voices[1] | voices[0] & voices[2] | voices[1] & voices[2]


def test_both_classes_meet_every_speaker_equally_often() -> None:
    plans, _ = logical_access(Counts(100, 0, 0, 0.4, 8), np.random.default_rng(0), None)
    assert set(Counter(p.voice for p in plans if p.attack == "-").values()) == {5}
    assert set(Counter(p.voice for p in plans if p.attack != "-").values()) <= {7, 8}


def test_same_seed_same_bits_for_any_number_of_workers(la: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "two", "la", 3, **SHORT, workers=2)
    assert digests(tmp_path / "two") == digests(la)
    write_corpus(tmp_path / "other", "la", 4, **SHORT)
    assert not set(digests(tmp_path / "other").values()) & {v for k, v in digests(la).items() if k.endswith("flac")}


def test_pa_has_environments_and_enrolment_files_in_no_protocol(tmp_path: Path) -> None:
    write_corpus(tmp_path / "pa", "pa", 0, train=12, dev=12, eval_=12, length_s=(0.3, 0.4))
    root = tmp_path / "pa" / "PA"
    for split, kind in (("train", "trn"), ("dev", "trl"), ("eval", "trl")):
        text = (root / "ASVspoof2019_PA_cm_protocols" / f"ASVspoof2019.PA.cm.{split}.{kind}.txt").read_text()
        rows = [line.split(" ") for line in text.splitlines()]
        assert all(row[2] in ENVIRONMENTS and (row[3] in REPLAYS) == (row[4] == "spoof") for row in rows)
        files = {path.stem for path in (root / f"ASVspoof2019_PA_{split}" / "flac").iterdir()}
        assert len(files - {row[1] for row in rows}) == (0 if split == "train" else 8)


@pytest.mark.parametrize("variant", ["for-norm", "for-2sec", "for-rerec", "for-original"])
def test_fake_or_real_has_folders_odd_names_and_no_protocol(tmp_path: Path, variant: str) -> None:
    write_corpus(tmp_path / "for", "for", 0, train=6, dev=4, eval_=4, length_s=(0.3, 0.4), variant=variant)
    inner = {"for-2sec": "for-2seconds", "for-rerec": "for-rerecorded"}.get(variant, variant)
    root = tmp_path / "for" / variant / inner
    files = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    assert {path.parts[:2] for path in files} == {
        (split, label) for split in ("training", "validation", "testing") for label in ("real", "fake")
    }
    assert {path.suffix for path in files} == {".wav"}
    names = Counter(path.name.split(".")[0] for path in files)
    assert names["file1"] == 6  # the same number in every folder: names alone are no ids
    if variant in ("for-2sec", "for-rerec"):
        assert soundfile.info(root / files[0]).frames == 32_000


def test_in_the_wild_has_one_folder_and_a_table(tmp_path: Path) -> None:
    write_corpus(tmp_path / "itw", "itw", 0, **SHORT)
    folder = tmp_path / "itw" / "release_in_the_wild"
    header, *rows = (folder / "meta.csv").read_text().splitlines()
    assert header == "file,speaker,label"
    assert {row.split(",")[2] for row in rows} == {"bona-fide", "spoof"}
    assert {row.split(",")[0] for row in rows} == {path.name for path in folder.glob("*.wav")}
    assert len(rows) == 31


@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_every_attack_renders_at_both_ends_of_the_difficulty(difficulty: float) -> None:
    for attack in (*KNOWN, *UNKNOWN):
        plan = ClipRecipe(5, 1, PurePosixPath("x.flac"), attack)
        wave = render(plan, 0, difficulty, (0.4, 0.4))
        assert np.isfinite(wave).all(), attack
        assert len(wave) == 6400


def test_a_spoof_differs_from_its_bona_fide_twin() -> None:
    def distance(attack: str) -> float:
        path = PurePosixPath("x.flac")
        real, fake = (render(ClipRecipe(9, 1, path, a), 0, 0.5, (1.0, 1.0)) for a in ("-", attack))
        return float(np.sqrt(np.mean((real - fake) ** 2) / np.mean(real**2)))

    assert all(distance(attack) > 0.02 for attack in (KNOWN | UNKNOWN))


def test_mistakes_are_named(la: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown layout 'xx' of the synthetic corpus; known: la, pa, for, itw"):
        write_corpus(tmp_path / "a", "xx")
    with pytest.raises(DataError, match="is not empty"):
        write_corpus(la, "la")
    with pytest.raises(DataError, match=r"must lie in 0\.\.1"):
        write_corpus(tmp_path / "a", "la", difficulty=2)
    with pytest.raises(DataError, match="unknown variant 'for-x'"):
        write_corpus(tmp_path / "a", "for", variant="for-x")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_corpus_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "write_audio", stop)
    with pytest.raises(KeyboardInterrupt):
        write_corpus(tmp_path / "a", "la", **SHORT)
    assert not list(tmp_path.iterdir())
