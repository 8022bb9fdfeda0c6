"""benchmarks/real_speech.py in its parts: who is heard where, what attacks do, the channel, the cues."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from plastsearch.data.corpora import read_corpus
from plastsearch.scores.metrics import eer

FOLDER = Path(__file__).parents[1] / "benchmarks"
RATE_HZ = 8000


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module; its neighbours are imported by their names."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("real_speech")


@pytest.fixture
def attacks(corpus: ModuleType) -> ModuleType:
    return importlib.import_module("real_attacks")


@pytest.fixture
def prompts(corpus: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few made recordings of every speaker, in the place of the packages, and attacks that need no program."""
    rng = np.random.default_rng(0)
    for group in corpus.SPEAKERS.values():
        for speaker in group:
            folder = tmp_path / "sounds" / speaker.folder
            folder.mkdir(parents=True)
            for k in range(8):
                soundfile.write(folder / f"said{k}.wav", voice(1.2 + 0.2 * k, 110 + 20 * k, rng), RATE_HZ)
            soundfile.write(folder / "tt-monkeys.wav", voice(3, 200, rng), RATE_HZ)
            soundfile.write(folder / "short.wav", voice(0.3, 200, rng), RATE_HZ)
    monkeypatch.setattr(corpus, "SOUNDS", tmp_path / "sounds")
    return tmp_path / "sounds"


def voice(seconds: float, pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Harmonics that come and go, and a little noise."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * k * pitch_hz * t) / k for k in range(1, 12))
    return 0.1 * tone * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)) + 0.002 * rng.standard_normal(len(t))


def test_no_voice_is_in_two_splits_and_no_attack_of_evaluation_is_seen_before(
    corpus: ModuleType, attacks: ModuleType
) -> None:
    people = {split: {one.folder.split("_")[-1] for one in group} for split, group in corpus.SPEAKERS.items()}
    assert not people["train"] & people["dev"]
    assert not people["eval"] & (people["train"] | people["dev"])
    assert not set(attacks.SEEN) & set(attacks.UNSEEN)
    assert set(attacks.MEANT) == set(attacks.SEEN) | set(attacks.UNSEEN)


@pytest.mark.parametrize("name", ["A03", "A04", "A05", "A11", "A12"])
def test_a_resynthesised_clip_is_another_wave_of_the_same_length_and_band(attacks: ModuleType, name: str) -> None:
    source = attacks.Source(voice(1.5, 140, np.random.default_rng(0)), "en", RATE_HZ)
    found = (attacks.SEEN | attacks.UNSEEN)[name](source, np.random.default_rng(1))
    again = (attacks.SEEN | attacks.UNSEEN)[name](source, np.random.default_rng(1))
    assert np.array_equal(found, again)
    assert np.isfinite(found).all()
    assert len(found) == pytest.approx(len(source.wave), rel=0.05)
    n = min(len(found), len(source.wave))
    assert np.abs(np.corrcoef(found[:n], source.wave[:n])[0, 1]) < 0.99
    # It still is that speech: where the recording is loud, so is this.
    loud = [np.sqrt((wave[:n] ** 2)[: n // 400 * 400].reshape(-1, 400).mean(1)) for wave in (found, source.wave)]
    assert np.corrcoef(*loud)[0, 1] > 0.5


def test_the_phase_vocoder_moves_the_pitch_by_two_to_four_semitones(attacks: ModuleType) -> None:
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    source = attacks.Source(np.sin(2 * np.pi * 500 * t), "en", RATE_HZ)
    for seed in range(4):
        found = attacks.phase_vocoder(source, np.random.default_rng(seed))
        peak_hz = np.abs(np.fft.rfft(found * np.hanning(len(found)))).argmax() * RATE_HZ / len(found)
        assert 1.9 < abs(12 * np.log2(peak_hz / 500)) < 4.1


def test_bona_fide_recordings_are_no_source_of_attacks_and_a_seed_plans_the_same(
    corpus: ModuleType, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "COUNTS", {"dev": (6, 20)})
    jobs = corpus.planned("dev", 0, 1.0, set())
    bona = {job.recording for job in jobs if job.attack == "-"}
    assert len(bona) == 6
    assert not bona & {job.recording for job in jobs if job.attack != "-"}
    assert {job.attack for job in jobs} == {"-", "A01", "A02", "A03", "A04", "A05"}
    assert not any(job.recording.name in ("tt-monkeys.wav", "short.wav") for job in jobs)
    assert jobs == corpus.planned("dev", 0, 1.0, set())
    assert jobs != corpus.planned("dev", 1, 1.0, set())


def test_what_is_made_is_read_as_asvspoof_2019_la(
    corpus: ModuleType, attacks: ModuleType, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ("A03", "A04", "A05", "A11", "A12")
    monkeypatch.setattr(corpus, "COUNTS", dict.fromkeys(corpus.SPEAKERS, (3, 5)))
    lacking = {name for name in attacks.MEANT if name not in own}
    jobs = [job for split in corpus.SPEAKERS for job in corpus.planned(split, 0, 1.0, lacking)]
    corpus.write_protocols(tmp_path / "LA", jobs)
    found = [corpus.make(job, tmp_path / "LA") for job in jobs]
    read = read_corpus("asvspoof2019_la", tmp_path / "LA")
    assert {split: len(read.splits[split]) for split in corpus.SPEAKERS} == dict.fromkeys(corpus.SPEAKERS, 8)
    assert [row[5] for row in corpus.told(jobs, found, {"dev": 50.0}).rows][:2] == pytest.approx(
        [sum(value[2] for job, value in zip(jobs, found, strict=True) if job.split == split) / 60
         for split in ("train", "dev")]
    )  # fmt: skip


def test_the_channel_says_nothing_of_level_band_or_silence(corpus: ModuleType) -> None:
    """The same speech once loud, wide and padded, once faint and narrow, comes out alike."""
    rng = np.random.default_rng(0)
    wave = voice(2, 150, rng)
    loud = np.concatenate([np.zeros(4000), 5 * wave, np.zeros(2000)])
    heard = [corpus.through_channel(corpus.trimmed(one), np.random.default_rng(3)) for one in (loud, 0.05 * wave)]
    lengths = [len(one) for one in heard]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.01)
    rms = [20 * np.log10(np.sqrt((one**2).mean())) for one in heard]
    assert rms[0] == pytest.approx(rms[1], abs=0.3)


def test_cues_find_a_planted_level_and_nothing_where_nothing_is(corpus: ModuleType) -> None:
    cues = importlib.import_module("real_cues")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    waves = [rng.standard_normal(8000) * 10 ** (rng.uniform(-40, -20) / 20) for _ in labels]
    plain = [cues.cues(wave) for wave in waves]
    planted = [cues.cues(wave * (1 if label else 20)) for wave, label in zip(waves, labels, strict=True)]
    half = slice(0, 100), slice(100, 200)

    def found(rows: list[np.ndarray]) -> float:
        parts = [(rows[part], labels[part].tolist()) for part in half]
        value: float = cues.cue_eers(parts[0], {"dev": parts[1]})["dev"]
        return value

    assert found(planted) < 25
    assert found(plain) > 35
    assert eer(np.array([1.0]), np.array([0.0]))[0] == 0  # what cue_eers measures with: 0 is told apart


def test_what_is_missing_is_named_with_its_package(
    corpus: ModuleType, attacks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "which", lambda program: None if program == "c2enc" else program)
    monkeypatch.setattr(corpus, "SOUNDS", tmp_path)
    for group in corpus.SPEAKERS.values():
        for speaker in group:
            if speaker.name != "RU":
                (tmp_path / speaker.folder).mkdir()
    with pytest.raises(SystemExit, match=r"apt-get install asterisk-core-sounds-ru-wav codec2$"):
        corpus.refuse_missing()
    monkeypatch.setattr(attacks, "which", lambda program: None)
    monkeypatch.setattr(attacks, "find_spec", lambda name: None)
    assert {name: way.split()[-1] for name, way in attacks.optional_missing().items()} == {
        "A15": "compiled)", "A16": "compiled)", "A17": "festvox-kallpc16k"
    }  # fmt: skip
