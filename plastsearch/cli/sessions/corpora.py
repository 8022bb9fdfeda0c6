"""What `plastsearch data` does and prints; loaded by its commands when they run, since pyarrow takes its time."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from plastsearch.audio import Storage
from plastsearch.cli.output import console, drawing, print_listing
from plastsearch.data.cache import Decoder, check_files
from plastsearch.data.corpora import EVALUATION_ONLY
from plastsearch.data.counts import SplitCounts
from plastsearch.data.manifest import Manifest
from plastsearch.data.preparing import Prepared, kept, prepare_splits
from plastsearch.data.sources import Source, read_source
from plastsearch.documents import Table
from plastsearch.errors import DataError
from plastsearch.words import printable

COUNTED = ("clips", "bona fide", "spoof", "attacks", "speakers", "clips per speaker")
DECODED = ("clips", "of listed", "hours", "MB")


@dataclass(frozen=True)
class Decoding:
    """How clips are kept."""

    rate_hz: int
    storage: Storage


def looked_through(source: Source, cache: Path, *, files: bool) -> Manifest:
    """A corpus as its protocols list it; with `files`, what is missing or empty is among its problems."""
    with drawing() as (progress, say):
        found = _read(source, Decoder(cache, None, progress, say))
    if files:
        for split, table in found.splits.items():
            check_files(found, split, table, none_is_fine=True)
    return found


def prepared(source: Source, wanted: list[str], how: Decoding, decoder: Decoder) -> tuple[Manifest, list[Prepared]]:
    """Decode the splits; Ctrl-C and SIGTERM end it with a word about what is kept."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's Ctrl-C
    found, chosen = None, wanted
    try:
        with drawing() as (progress, say):
            decoder = replace(decoder, progress=progress, on_wait=say)
            found = _read(source, decoder)
            chosen = wanted or list(found.splits)
            unknown = [split for split in chosen if split not in found.splits]
            if unknown:
                raise DataError(f"{source.corpus} has no split {', '.join(unknown)}; it has {', '.join(found.splits)}")
            return found, prepare_splits(found, chosen, how.rate_hz, how.storage, decoder)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the last word is short
        text = "stopped before anything was decoded"
        if found is not None:
            held, listed = kept(found, chosen, how.rate_hz, how.storage, decoder.cache)
            text = f"stopped; {held:,} of {listed:,} clips are decoded and kept in {decoder.cache / 'clips'}"
        sys.stderr.write(f"{text}; the same command continues\n")
        raise typer.Exit(130) from None


def _read(source: Source, decoder: Decoder) -> Manifest:
    return read_source(source, decoder, needed=("eval",) if source.corpus in EVALUATION_ONLY else ())


def print_counts(found: Manifest, counts: Sequence[SplitCounts]) -> None:
    """A line for each split, then clips per attack, one column per split."""
    variant = f" {found.variant}" if found.variant else ""
    splits = Table(
        ("split", *COUNTED, "published counts"),
        tuple(_counted(entry) for entry in counts),
        left=frozenset({"split", "published counts"}),
    )
    print_listing(splits, f"{found.corpus}{variant} below {found.root}")
    attacks = sorted({name for entry in counts for name in entry.attacks})
    rows = tuple((name, *(f"{entry.attacks.get(name, 0):,}" for entry in counts)) for name in attacks)
    by_attack = Table(("attack", *(entry.split for entry in counts)), rows, left=frozenset({"attack"}))
    print_listing(by_attack, "\nclips per attack")
    for note in found.notes:
        console().print(f"Note: {printable(note)}.", markup=False)


def _counted(entry: SplitCounts) -> tuple[str, ...]:
    per = entry.speakers.values()
    spread = f"{min(per):,}-{max(per):,}" if per else "-"
    said = {None: "none known", True: "equal", False: "; ".join(entry.differences[:4])}[entry.matches]
    numbers = (entry.clips, entry.bona_fide, entry.spoof, len(entry.attacks), len(entry.speakers))
    return entry.split, *(f"{n:,}" for n in numbers), spread, said


def print_problems(found: Manifest) -> None:
    """How many clips cannot be used, and why."""
    n = len(found.problems)
    said = "clip(s) or line(s) cannot be used:" if n else "clips are known to be unusable."
    console().print(f"\n{n:,} {said}")
    if n:
        console().print(printable(found.problems.text()), markup=False)


def print_prepared(done: Sequence[Prepared]) -> None:
    """A line for each split that was decoded."""
    rows = tuple(
        (entry.split, f"{entry.clips:,}", f"{entry.listed:,}", f"{entry.hours:.2f}", f"{entry.megabytes:,.0f}",
         entry.folder)
        for entry in done
    )  # fmt: skip
    print_listing(Table(("split", *DECODED, "folder"), rows, frozenset({"split", "folder"})))


def problems_json(found: Manifest) -> dict[str, object]:
    """The problems for programs; a large corpus may have many alike, so only the first hundred are spelt out."""
    return {
        "count": len(found.problems),
        "kinds": dict(found.problems.kinds),
        "first": [str(entry) for entry in found.problems.entries[:100]],
    }


def corpus_json(found: Manifest, counts: Sequence[SplitCounts]) -> dict[str, object]:
    """What was counted, for programs."""
    return {
        "corpus": found.corpus,
        "variant": found.variant,
        "root": str(found.root),
        "splits": [entry.document() for entry in counts],
        "problems": problems_json(found),
        "notes": found.notes,
    }
