"""A corpus of recorded speech and of attacks on it, in the layout of ASVspoof 2019 LA, from packages of Debian.

    python benchmarks/real_speech.py OUT            # 1,000 / 400 / 800 clips, ten minutes on two cores
    python benchmarks/real_speech.py OUT --seed 1   # other sentences, clips and channels

What it is made of, and under which licences: docs/real_speech.md. Speakers are disjoint over the splits, evaluation
holds other attacks than training and dev, and both classes pass the same channel. At the end it prints how far a
classifier comes that looks at level, length, bandwidth and silence alone.
"""

import argparse
import io
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import numpy as np
import soundfile
from real_attacks import MEANT, PROGRAMS, RATE_HZ, SEEN, UNSEEN, Rng, Source, Wave, optional_missing
from real_cues import NAMES, cue_eers, cues
from results import Table, write
from scipy.signal import butter, resample_poly, sosfiltfilt

SOUNDS = Path("/usr/share/asterisk/sounds")
SHORTEST_S, LONGEST_S = 0.8, 4.0
WRITTEN_HZ = 16_000
LEAST_CUE_EER = 40.0


@dataclass(frozen=True)
class Speaker:
    """Who speaks, where the recordings lie, and the package that brings them."""

    name: str
    folder: str
    language: str
    package: str


# Allison speaks English and Spanish: one voice, one split.
SPEAKERS = {
    "train": (
        Speaker("EN", "en_US_f_Allison", "en", "asterisk-core-sounds-en-wav"),
        Speaker("ES", "es_MX_f_Allison", "es", "asterisk-core-sounds-es-wav"),
        Speaker("FR", "fr_CA_f_June", "fr", "asterisk-core-sounds-fr-wav"),
    ),
    "dev": (
        Speaker("RU", "ru_RU_f_IvrvoiceRU", "ru", "asterisk-core-sounds-ru-wav"),
        Speaker("IT", "it_IT_m_Carlo", "it", "asterisk-core-sounds-it-wav"),
    ),
    "eval": (
        Speaker("ME", "it_IT_f_Menardi", "it", "asterisk-prompt-it-menardi-wav"),
        Speaker("AR", "fr", "fr", "asterisk-prompt-fr-armelle"),
        Speaker("CO", "es", "es", "asterisk-prompt-es-co"),
    ),
}
COUNTS = {"train": (350, 650), "dev": (150, 250), "eval": (250, 550)}  # bona fide, spoof
PROTOCOLS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}


@dataclass(frozen=True)
class Job:
    """One clip of the corpus; all that it draws comes from its own seed."""

    split: str
    name: str
    speaker: Speaker
    attack: str  # "-": the recording itself
    recording: Path
    samples: int  # at RATE_HZ
    seed: tuple[int, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the clips, for a quick look")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    if options.out.exists():
        raise SystemExit(f"{options.out} exists: give the name of a new folder")
    refuse_missing()
    lacking = optional_missing()
    for attack, way in lacking.items():
        print(f"{attack} ({MEANT[attack]}) is left out; to have it: {way}")
    jobs = [job for split in SPEAKERS for job in planned(split, options.seed, options.share, set(lacking))]
    write_protocols(options.out, jobs)
    with ProcessPoolExecutor(options.processes) as pool:
        found = []
        for n, value in enumerate(pool.map(make, jobs, [options.out] * len(jobs), chunksize=8), 1):
            found.append(value)
            if n % 100 == 0 or n == len(jobs):
                print(f"{n:,} of {len(jobs):,} clips", flush=True)
    table = told(jobs, found, judged(jobs, found))
    print(table.markdown())
    if options.share == 1:
        write("real_speech", {"corpus": table})


def refuse_missing() -> None:
    """Everything that is missing, with the packages that bring it, in one message."""
    packages = {package for program, package in PROGRAMS.items() if which(program) is None}
    packages |= {one.package for group in SPEAKERS.values() for one in group if not (SOUNDS / one.folder).is_dir()}
    if packages:
        raise SystemExit(f"not installed here: apt-get install {' '.join(sorted(packages))}")


def recordings(speaker: Speaker) -> Iterator[tuple[Path, float]]:
    """Prompts of this speaker that are long enough to cut a clip from, and their length in seconds."""
    for path in sorted((SOUNDS / speaker.folder).rglob("*")):
        if path.suffix not in (".wav", ".gsm") or "silence" in str(path) or "beep" in path.name or not path.is_file():
            continue
        if path.name.startswith("tt-"):  # jokes and noises
            continue
        wave = read(path)
        spoken = trimmed(wave) if len(wave) and np.abs(wave).max() > 0.02 else wave[:0]
        if len(spoken) >= SHORTEST_S * RATE_HZ and len(wave) < 10 * RATE_HZ:
            yield path, len(spoken) / RATE_HZ


def planned(split: str, seed: int, share: float, lacking: set[str]) -> list[Job]:
    """The clips of a split: recordings that stand as bona fide are no source of attacks, and all have like lengths."""
    rng = np.random.default_rng([seed, list(SPEAKERS).index(split)])
    pool = [(one, path, seconds) for one in SPEAKERS[split] for path, seconds in recordings(one)]
    n_bona, n_spoof = (round(n * share) for n in COUNTS[split])
    order = rng.permutation(len(pool))
    bona, sources = order[:n_bona], order[n_bona:]
    if not len(sources):
        raise SystemExit(f"{split}: {len(pool)} prompts are too few for {n_bona} clips; are all packages whole?")
    names = [name for name in (UNSEEN if split == "eval" else SEEN) if name not in lacking]
    chosen = [(int(i), "-") for i in bona]
    chosen += [(int(sources[n % len(sources)]), names[n % len(names)]) for n in range(n_spoof)]
    # One lot of lengths for both classes: a clip is as long as its draw, unless its recording is shorter.
    lengths = rng.uniform(SHORTEST_S, LONGEST_S, len(chosen))
    jobs = []
    for number, place in enumerate(rng.permutation(len(chosen)), 1):
        index, attack = chosen[place]
        speaker, path, seconds = pool[index]
        samples = round(min(seconds, lengths[place]) * RATE_HZ)
        name = f"LA_{split[0].upper()}_{number:07d}"
        jobs.append(Job(split, name, speaker, attack, path, samples, (seed, *name.encode())))
    return jobs


def write_protocols(out: Path, jobs: list[Job]) -> None:
    """The folders of the layout, and for each split who speaks, by which attack."""
    folder = out / "ASVspoof2019_LA_cm_protocols"
    folder.mkdir(parents=True)
    for split, name in PROTOCOLS.items():
        (out / f"ASVspoof2019_LA_{split}" / "flac").mkdir(parents=True)
        lines = [
            f"{job.speaker.name} {job.name} - {job.attack} {'bonafide' if job.attack == '-' else 'spoof'}\n"
            for job in jobs
            if job.split == split
        ]
        (folder / f"ASVspoof2019.LA.cm.{name}.txt").write_text("".join(lines))


def make(job: Job, out: Path) -> Wave:
    """One clip, written; its cues come back."""
    rng = np.random.default_rng(job.seed)
    recorded = trimmed(read(job.recording))
    if job.attack == "-":
        wave = recorded
    else:
        source = Source(cut(recorded, job.samples, rng), job.speaker.language, job.samples)
        wave = (SEEN | UNSEEN)[job.attack](source, rng)
        if job.recording.suffix == ".gsm":  # as the speaker's own prompts were kept
            wave = coded(wave / (np.abs(wave).max() + 1e-9) * 0.7, "GSM610")
    wave = through_channel(cut(trimmed(wave), job.samples, rng), rng)
    path = out / f"ASVspoof2019_LA_{job.split}" / "flac" / f"{job.name}.flac"
    soundfile.write(path, wave, WRITTEN_HZ, subtype="PCM_16")
    return cues(wave)


def read(path: Path) -> Wave:
    """A prompt at RATE_HZ."""
    if path.suffix == ".gsm":
        wave, rate_hz = soundfile.read(
            path, dtype="float64", format="RAW", subtype="GSM610", samplerate=RATE_HZ, channels=1
        )
    else:
        wave, rate_hz = soundfile.read(path, dtype="float64")
    return wave if rate_hz == RATE_HZ else np.asarray(resample_poly(wave, RATE_HZ, rate_hz))


def trimmed(wave: Wave) -> Wave:
    """Without what is 30 dB below the loudest 20 ms, before and after the speech."""
    power = np.convolve(np.square(wave), np.ones(160) / 160, "same")
    loud = np.flatnonzero(power > power.max() * 1e-3)
    return wave[loud[0] : loud[-1] + 1]


def cut(wave: Wave, samples: int, rng: Rng) -> Wave:
    """So many samples from a random place, or what there is."""
    start = int(rng.integers(0, max(0, len(wave) - samples) + 1))
    return wave[start : start + samples]


BAND = butter(4, (250, 3400), "bandpass", fs=RATE_HZ, output="sos")


def through_channel(wave: Wave, rng: Rng) -> Wave:
    """A telephone's band and codec, a level, silence around and noise over all: the same draws for either class."""
    wave = sosfiltfilt(BAND, wave)
    wave = wave / (np.abs(wave).max() + 1e-9) * 0.7
    codec = str(rng.choice(["none", "ULAW", "GSM610"]))
    if codec != "none":
        wave = coded(wave, codec)
    wave = np.asarray(resample_poly(wave, WRITTEN_HZ, RATE_HZ))
    wave = wave / np.sqrt(np.square(wave).mean() + 1e-12) * 10 ** (rng.uniform(-35, -20) / 20)
    before, after = (np.zeros(round(rng.uniform(0.02, 0.15) * WRITTEN_HZ)) for _ in range(2))
    wave = np.concatenate([before, wave, after])
    noise = rng.standard_normal(len(wave)) * 10 ** (rng.uniform(-70, -55) / 20)
    return np.clip(wave + noise, -1, 1)


def coded(wave: Wave, subtype: str) -> Wave:
    """Through a telephone codec and back; what a codec adds to fill its last block is left out."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE_HZ, format="WAV", subtype=subtype)
    buffer.seek(0)
    return np.asarray(soundfile.read(buffer, dtype="float64")[0])[: len(wave)]


def judged(jobs: list[Job], found: list[Wave]) -> dict[str, float]:
    """EER of the cue classifier on dev and evaluation; a corpus that gives itself away ends with status 1."""
    by_split = {
        split: (
            [value for job, value in zip(jobs, found, strict=True) if job.split == split],
            [int(job.attack == "-") for job in jobs if job.split == split],
        )
        for split in SPEAKERS
    }
    eers = cue_eers(by_split.pop("train"), by_split)
    low = [split for split, value in eers.items() if value < LEAST_CUE_EER]
    if low:
        print(f"cues tell the classes of {', '.join(low)} apart: below {LEAST_CUE_EER:g} %", file=sys.stderr)
    return eers


def told(jobs: list[Job], found: list[Wave], eers: dict[str, float]) -> Table:
    """What was made, split by split."""
    rows: list[list[float | str | None]] = []
    for split, speakers in SPEAKERS.items():
        mine = [(job, value) for job, value in zip(jobs, found, strict=True) if job.split == split]
        attacks = sorted({job.attack for job, _ in mine} - {"-"})
        spoof = sum(job.attack != "-" for job, _ in mine)
        minutes = sum(float(value[NAMES.index("seconds")]) for _, value in mine) / 60
        rows.append([split, len(speakers), len(mine) - spoof, spoof, len(attacks), minutes, eers.get(split)])
    columns = [
        ("split", ""), ("voices", ""), ("bona fide", ",.0f"), ("spoof", ",.0f"), ("attacks", ""), ("minutes", ".1f"),
        ("EER of cues, %", ".1f"),
    ]  # fmt: skip
    return Table(columns, rows)


if __name__ == "__main__":
    main()
