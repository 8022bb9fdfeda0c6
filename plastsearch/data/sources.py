"""From the name of a corpus to its manifest; a synthetic corpus is first written below the cache folder."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from plastsearch.audio import Storage
from plastsearch.cores import usable_cores
from plastsearch.data.cache import Decoder
from plastsearch.data.corpora import read_corpus
from plastsearch.data.decoding import child_environment
from plastsearch.data.manifest import SPLITS, Manifest
from plastsearch.errors import DataError
from plastsearch.files import drafts_of
from plastsearch.spec.data import BONA_FIDE_SHARE


class FilesRequest(Protocol):
    """Which files, of whatever corpus."""

    @property
    def root(self) -> str | None: ...
    @property
    def variant(self) -> str | None: ...
    @property
    def manifest(self) -> str | None: ...


class SearchDevRequest(FilesRequest, Protocol):
    """What the search may score on."""

    @property
    def policy(self) -> Literal["held_out_attacks", "dev", "second_corpus"]: ...
    @property
    def attacks(self) -> tuple[str, ...]: ...
    @property
    def corpus(self) -> str | None: ...


class DataRequest(FilesRequest, Protocol):
    """Which clips, and how they are stored."""

    @property
    def corpus(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def clips(self) -> int | None: ...
    @property
    def difficulty(self) -> float: ...
    @property
    def speech_s(self) -> float | None: ...
    @property
    def bona_fide_share(self) -> float: ...
    @property
    def search_dev(self) -> SearchDevRequest: ...
    @property
    def rate_hz(self) -> int: ...
    @property
    def storage(self) -> Storage: ...
    @property
    def augment(self) -> tuple[str, ...]: ...
    @property
    def on_bad(self) -> Literal["refuse", "skip"]: ...


@dataclass(frozen=True)
class SyntheticCorpus:
    """A corpus to be generated: all that it depends on."""

    layout: str
    seed: int
    difficulty: float
    train: int
    speech_s: float | None = None  # of every clip; None: drawn
    bona_fide_share: float = BONA_FIDE_SHARE

    @property
    def scored(self) -> int:
        """Clips of dev, and of eval."""
        return scored_clips(self.train)

    @property
    def length_s(self) -> tuple[float, float]:
        """The shortest and the longest clip."""
        return (self.speech_s, self.speech_s) if self.speech_s is not None else DRAWN_S

    def name(self, version: int) -> str:
        """Of its folder, for a version of the generator."""
        content: list[object] = [version, self.layout, self.seed, self.train, self.scored, self.difficulty]
        if self.speech_s is not None:
            content.append(self.speech_s)
        if self.bona_fide_share != BONA_FIDE_SHARE:
            content.append({"bona_fide_share": self.bona_fide_share})
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Source:
    """One corpus to read: the part of a request that names files."""

    corpus: str
    root: str | None = None
    variant: str | None = None
    manifest: str | None = None
    seed: int = 0
    clips: int | None = None
    difficulty: float = 0.5
    speech_s: float | None = None
    bona_fide_share: float = BONA_FIDE_SHARE


# synthetic layout → the corpus it is read as, and the folder inside
LAYOUTS = {
    "la": ("asvspoof2019_la", "LA"),
    "pa": ("asvspoof2019_pa", "PA"),
    "for": ("fake_or_real", ""),
    "itw": ("in_the_wild", ""),
}
DRAWN_S = (1.0, 2.0)  # how long clips are, if the configuration does not say
FEWEST_TO_SCORE = 64  # in dev and in evaluation: an EER needs some of both classes
SYNTHETIC_CLIPS = 240  # for training, if the configuration does not say
WRITING = "writing the synthetic corpus"
WORTH_A_CHILD = 100  # clips from which on starting more interpreters pays
WHOLE = ".evaluation"  # in a generated corpus whose evaluation split is there, too
GENERATE = (
    "import json, sys; from pathlib import Path; from plastsearch.synth.corpus import write_corpus; "
    "ask = json.load(sys.stdin); "
    "write_corpus(Path(ask.pop('folder')), **ask, alone=True, advance=lambda *told: print(*told, flush=True))"
)


def read_source(source: Source, decoder: Decoder, *, needed: Collection[str] = SPLITS) -> Manifest:
    """The manifest of a corpus, real or generated."""
    if source.corpus != "synthetic":
        return read_corpus(source.corpus, source.root, variant=source.variant, manifest=source.manifest, needed=needed)
    layout = source.variant or "la"
    if layout not in LAYOUTS:
        raise DataError(f"synthetic: unknown `data.variant` '{layout}'; known layouts: {', '.join(LAYOUTS)}")
    corpus, inner = LAYOUTS[layout]
    folder = generate(source, layout, decoder, evaluation=not needed or "eval" in needed)
    manifest = read_corpus(corpus, folder / inner, needed=needed)
    manifest.corpus, manifest.variant = "synthetic", f"{layout}-{folder.name}"
    return manifest


def scored_clips(train: int) -> int:
    """Clips in each of the two splits that a generated corpus has beside so many for training."""
    return max(FEWEST_TO_SCORE, -(-train * 2 // 3))


def generate(source: Source, layout: str, decoder: Decoder, *, evaluation: bool = True) -> Path:
    """The folder of a generated corpus, written once however many processes ask.

    The evaluation split, which a sweep's first trial would wait for in vain, is written once somebody asks for it.
    """
    from plastsearch.synth import VERSION

    train = source.clips or SYNTHETIC_CLIPS
    wanted = SyntheticCorpus(layout, source.seed, source.difficulty, train, source.speech_s, source.bona_fide_share)
    name = wanted.name(VERSION)
    folder = decoder.cache / "synthetic" / name
    whole = folder / WHOLE
    if not folder.is_dir() or (evaluation and not whole.exists()):
        with decoder.hold(decoder.cache / "synthetic" / f".{name}.lock", WRITING):
            if not folder.is_dir():  # it appears complete or not at all
                _write(folder, wanted, "search", decoder)
            if evaluation and not whole.exists():
                _write(folder, wanted, "evaluation", decoder)
                whole.touch()
    return folder


def _write(folder: Path, wanted: SyntheticCorpus, part: Literal["search", "evaluation"], decoder: Decoder) -> None:
    workers = decoder.workers or usable_cores()
    clips = wanted.scored if part == "evaluation" else wanted.train + wanted.scored

    def advance(done: int, total: int) -> None:
        decoder.say(WRITING, done, total)
        decoder.go_on()

    _clear_unfinished(folder)
    advance(0, clips)
    if workers == 1 or clips < WORTH_A_CHILD:
        from plastsearch.synth.corpus import write_corpus

        write_corpus(
            folder, wanted.layout, wanted.seed, difficulty=wanted.difficulty, length_s=wanted.length_s,
            train=wanted.train, dev=wanted.scored, eval_=wanted.scored,
            bona_fide_share=wanted.bona_fide_share, part=part, advance=advance,
        )  # fmt: skip
        return
    ask = {
        "folder": str(folder), "workers": workers, "layout": wanted.layout, "seed": wanted.seed,
        "difficulty": wanted.difficulty, "length_s": wanted.length_s,
        "train": wanted.train, "dev": wanted.scored, "eval_": wanted.scored,
        "bona_fide_share": wanted.bona_fide_share, "part": part,
    }  # fmt: skip
    # a child of its own: a pool of processes would import the caller's __main__, which may be a script without a guard
    with (
        tempfile.TemporaryFile("w+") as trouble,
        subprocess.Popen(
            [sys.executable, "-c", GENERATE], env=child_environment(), text=True, process_group=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=trouble,
        ) as child,
    ):  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with child.stdin:
                json.dump(ask, child.stdin)
            for line in child.stdout:
                done, total = map(int, line.split())
                advance(done, total)
            status = child.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # its workers, too
            _clear_unfinished(folder)
            raise
        if status:
            trouble.seek(0)
            last = (trouble.read().strip().splitlines() or [f"exit status {status}"])[-1]
            raise DataError(
                f"{folder}: the synthetic corpus could not be written: {last[:500]}; is the disk full? Make room, or "
                "name another cache folder"
            )


def _clear_unfinished(folder: Path) -> None:
    """Remove what a killed process left; whoever holds the lock is the only one to write."""
    for part in drafts_of(folder.parent, folder.name):
        shutil.rmtree(part, ignore_errors=True)


def second_source(corpus: str, other: SearchDevRequest, main: Source) -> Source:
    """Another corpus beside the main one, with the main one's settings where both are generated."""
    return replace(main, corpus=corpus, root=other.root, variant=other.variant, manifest=other.manifest)
