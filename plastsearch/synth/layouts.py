"""Which clips a generated corpus holds and how its files and protocols are named, quirks of the real ones included.

No audio is made here (corpus.py), and nothing is read back (data/corpora.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import PurePosixPath

import numpy as np

from plastsearch.errors import DataError
from plastsearch.synth.attacks import KNOWN, UNKNOWN

BONA_FIDE = "-"
ENVIRONMENTS = tuple("".join(letters) for letters in product("abc", repeat=3))
REPLAYS = tuple("".join(letters) for letters in product("ABC", repeat=2))
FOR_VARIANTS = {
    "for-original": ("for-original", ""),
    "for-norm": ("for-norm", "_16k.wav_norm.wav_mono.wav_silence.wav"),
    "for-2sec": ("for-2seconds", "_16k.wav_norm.wav_mono.wav_silence.wav_2sec.wav"),
    "for-rerec": ("for-rerecorded", "_16k.norm.wav_mono.wav_silence.wav_2sec.wav_rerec.wav"),
}


@dataclass(frozen=True)
class Counts:
    """How many clips each split has, and what they are made of."""

    train: int
    dev: int
    eval_: int
    bona_fide_share: float
    speakers: int


@dataclass(frozen=True)
class ClipRecipe:
    """One clip to be rendered: where it goes and what it is."""

    number: int  # its own random stream
    voice: int  # the speaker's random stream
    path: PurePosixPath
    attack: str = BONA_FIDE
    environment: str = ""  # physical access
    length_s: float | None = None  # None: drawn
    evaluation: bool = False  # read by nobody but finalists, so it may be written when they come


@dataclass(frozen=True)
class _Row:
    """A clip before it has a name."""

    voice: int
    attack: str
    environment: str = ""


Contents = tuple[list[ClipRecipe], dict[PurePosixPath, str]]
Arrange = Callable[[Counts, np.random.Generator, str | None], Contents]


def logical_access(counts: Counts, rng: np.random.Generator, variant: str | None) -> Contents:
    """LA: attacks A01-A06 in train and dev, others in eval; third column unused."""
    _no_variant("la", variant)
    splits = {
        "train": _rows(counts.train, tuple(KNOWN), counts, 0, rng),
        "dev": _rows(counts.dev, tuple(KNOWN), counts, 1, rng),
        "eval": _rows(counts.eval_, tuple(UNKNOWN), counts, 2, rng),
    }
    return _asvspoof2019("LA", splits, surplus=0, rng=rng)


def physical_access(counts: Counts, rng: np.random.Generator, variant: str | None) -> Contents:
    """PA: the same nine replay attacks everywhere, environments in column three, enrolment files beside the clips."""
    _no_variant("pa", variant)
    splits = {}
    sizes = {"train": counts.train, "dev": counts.dev, "eval": counts.eval_}
    for k, (split, count) in enumerate(sizes.items()):
        rooms = [str(room) for room in rng.choice(ENVIRONMENTS, count)]
        rows = _rows(count, REPLAYS, counts, k, rng)
        splits[split] = [_Row(row.voice, row.attack, room) for row, room in zip(rows, rooms, strict=True)]
    return _asvspoof2019("PA", splits, surplus=8, rng=rng)


def fake_or_real(counts: Counts, rng: np.random.Generator, variant: str | None) -> Contents:
    """FoR: folders only; names keep the history of processing, and both classes use the same numbers."""
    variant = variant or "for-norm"
    if variant not in FOR_VARIANTS:
        raise DataError(f"unknown variant {variant!r} of fake_or_real; known: {', '.join(FOR_VARIANTS)}")
    inner, suffix = FOR_VARIANTS[variant]
    length_s = 2.0 if variant in ("for-2sec", "for-rerec") else None
    clips: list[ClipRecipe] = []
    sizes = {"training": counts.train, "validation": counts.dev, "testing": counts.eval_}
    for k, (split, count) in enumerate(sizes.items()):
        used = {"real": 0, "fake": 0}
        for row in _rows(count, tuple(UNKNOWN if split == "testing" else KNOWN), counts, k, rng):
            label = "real" if row.attack == BONA_FIDE else "fake"
            used[label] += 1
            source = "mp3" if rng.random() < 0.2 and suffix else "wav"
            path = PurePosixPath(variant, inner, split, label, f"file{used[label]}.{source}{suffix}")
            evaluation = split == "testing"
            clips.append(ClipRecipe(len(clips), row.voice, path, row.attack, length_s=length_s, evaluation=evaluation))
    return clips, {}


def in_the_wild(counts: Counts, rng: np.random.Generator, variant: str | None) -> Contents:
    """In-the-Wild: one folder, meta.csv, no splits, celebrities for speakers, a hyphen in the label."""
    _no_variant("itw", variant)
    total = counts.train + counts.dev + counts.eval_
    clips, lines = [], ["file,speaker,label"]
    for k, row in enumerate(_rows(total, tuple(KNOWN | UNKNOWN), counts, 0, rng)):
        clips.append(ClipRecipe(k, row.voice, PurePosixPath("release_in_the_wild", f"{k}.wav"), row.attack))
        label = "bona-fide" if row.attack == BONA_FIDE else "spoof"
        lines.append(f"{k}.wav,Speaker {chr(65 + row.voice % 26)}. Example,{label}")
    return clips, {PurePosixPath("release_in_the_wild", "meta.csv"): "\n".join(lines) + "\n"}


LAYOUTS: dict[str, Arrange] = {"la": logical_access, "pa": physical_access, "for": fake_or_real, "itw": in_the_wild}


def _no_variant(layout: str, variant: str | None) -> None:
    if variant is not None:
        raise DataError(f"layout {layout!r} of the synthetic corpus has no variants, got {variant!r}")


def _rows(count: int, attacks: tuple[str, ...], counts: Counts, split: int, rng: np.random.Generator) -> list[_Row]:
    """Both classes spread evenly over attacks and the split's own speakers, in random order."""
    bona = round(count * counts.bona_fide_share)
    kinds = [BONA_FIDE] * bona + [attacks[i % len(attacks)] for i in range(count - bona)]
    voices: list[int] = []
    for size in (bona, count - bona):  # each class meets every speaker equally often
        voices += [split * counts.speakers + int(v) % counts.speakers for v in rng.permutation(size)]
    order = rng.permutation(count)
    return [_Row(voices[i], kinds[i]) for i in order]


def _asvspoof2019(task: str, splits: dict[str, list[_Row]], surplus: int, rng: np.random.Generator) -> Contents:
    clips: list[ClipRecipe] = []
    texts: dict[PurePosixPath, str] = {}
    for split, rows in splits.items():
        evaluation = split == "eval"
        letter = {"train": "T", "dev": "D", "eval": "E"}[split]
        audio = PurePosixPath(task, f"ASVspoof2019_{task}_{split}", "flac")
        extra = surplus if rows and split != "train" else 0
        numbers = rng.choice(9_000_000, len(rows) + extra, replace=False) + 1_000_000
        lines = []
        for row, number in zip(rows, numbers, strict=False):
            name = f"{task}_{letter}_{number}"
            path = audio / f"{name}.flac"
            clips.append(ClipRecipe(len(clips), row.voice, path, row.attack, row.environment, evaluation=evaluation))
            lines.append(_line(task, name, row))
        for number in numbers[len(rows) :]:  # enrolment audio: in the folder, in no protocol of ours
            path = audio / f"{task}_{letter}_{number}.flac"
            first = rows[0]
            clips.append(
                ClipRecipe(len(clips), first.voice, path, environment=first.environment, evaluation=evaluation)
            )
        kind = "trn" if split == "train" else "trl"
        protocol = f"ASVspoof2019.{task}.cm.{split}.{kind}.txt"
        texts[PurePosixPath(task, f"ASVspoof2019_{task}_cm_protocols", protocol)] = "".join(lines)
        if split != "train":
            scores = f"ASVspoof2019.{task}.asv.{split}.gi.trl.scores.txt"
            texts[PurePosixPath(task, f"ASVspoof2019_{task}_asv_scores", scores)] = _asv_scores(rows, rng)
    texts[PurePosixPath(task, f"README.{task}.txt")] = "Generated speech-like signals in the layout of ASVspoof2019.\n"
    return clips, texts


def _line(task: str, name: str, row: _Row) -> str:
    key = "bonafide" if row.attack == BONA_FIDE else "spoof"
    # The quirk of the real protocols: LA has its unused column before the attack, PA its environment.
    third = row.environment if task == "PA" else "-"
    return f"{task}_{1001 + row.voice:04d} {name} {third} {row.attack} {key}\n"


def _asv_scores(rows: list[_Row], rng: np.random.Generator) -> str:
    """Scores of an imaginary speaker verifier, which min t-DCF needs: targets high, others low, spoofs between."""
    lines = []
    for row in rows:
        if row.attack == BONA_FIDE:
            lines.append(f"bonafide target {rng.normal(4, 1.5):.6f}\n")
            lines.append(f"bonafide nontarget {rng.normal(-4, 1.5):.6f}\n")
        else:
            lines.append(f"{row.attack} spoof {rng.normal(2, 2):.6f}\n")
    return "".join(lines)
