"""`plastsearch data`: what a corpus on disk holds, and decoding it ahead of a sweep."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from plastsearch.audio import Storage
    from plastsearch.data.cache import Decoder
    from plastsearch.data.counts import SplitCounts
    from plastsearch.data.manifest import Manifest
    from plastsearch.data.preparing import Prepared
    from plastsearch.data.sources import Source

app = typer.Typer(no_args_is_help=True, help="Look at a corpus, or decode it ahead of a sweep.")

CORPORA = (
    "asvspoof2019_la, asvspoof2019_pa, asvspoof2021_la, asvspoof2021_df, asvspoof5, fake_or_real, in_the_wild, "
    "manifest or synthetic."
)
Name = Annotated[str, typer.Argument(help=CORPORA)]
Root = Annotated[str | None, typer.Option(help="The folder that holds the corpus.")]
Variant = Annotated[
    str | None,
    typer.Option(help="fake_or_real: for-original, for-norm, for-2sec or for-rerec; synthetic: la, pa, for or itw."),
]
Table = Annotated[str | None, typer.Option("--manifest", help="manifest: a CSV or Parquet table.")]
Cache = Annotated[Path, typer.Option(help="Where decoded clips and generated corpora are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")]
CACHE = Path("plastsearch-runs/cache")


@app.command()
def inspect(
    name: Name,
    root: Root = None,
    variant: Variant = None,
    manifest: Table = None,
    files: Annotated[bool, typer.Option(help="Look whether every listed file is there.")] = True,
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Count clips per split, class, attack and speaker, and say whether they equal the published counts."""
    from plastsearch.cli.output import print_json
    from plastsearch.cli.progress import drawing
    from plastsearch.data.cache import Decoder
    from plastsearch.data.counts import count
    from plastsearch.data.decoded import check_files
    from plastsearch.data.sources import Source

    with drawing() as (progress, say):
        found = _read(Source(name, root, variant, manifest), Decoder(cache, None, progress, say))
    counts = count(found)
    if files:
        for split, table in found.splits.items():
            check_files(found, split, table, none_is_fine=True)
    if as_json:
        print_json(_document(found, counts))
        return
    _print_counts(found, counts)
    _print_problems(found)


@app.command()
def prepare(
    name: Name,
    root: Root = None,
    variant: Variant = None,
    manifest: Table = None,
    splits: Annotated[str, typer.Option(help="Which ones, with commas between them; default: all there are.")] = "",
    rate_hz: Annotated[int, typer.Option("--rate", min=1000, help="Samples per second of the decoded clips.")] = 16_000,
    storage: Annotated[str, typer.Option(help="int16 or float32.")] = "int16",
    on_bad: Annotated[str, typer.Option(help="refuse: fail if any file is unusable; skip: only list them.")] = "refuse",
    workers: Annotated[int | None, typer.Option(min=1, help="Decoding processes; default: all cores.")] = None,
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Decode a corpus once into the shared cache; sweeps then start at once. An interrupted run resumes."""
    from dataclasses import asdict

    from plastsearch.cli.output import print_json
    from plastsearch.data.cache import Decoder
    from plastsearch.data.sources import Source
    from plastsearch.errors import DataError

    if storage not in ("int16", "float32") or on_bad not in ("refuse", "skip"):
        raise DataError("--storage is int16 or float32, --on-bad is refuse or skip")
    wanted = [split.strip() for split in splits.split(",")] if splits else []
    how: tuple[int, Storage] = rate_hz, "float32" if storage == "float32" else "int16"
    found, done = _prepared(Source(name, root, variant, manifest), wanted, how, Decoder(cache, workers))
    if as_json:
        print_json({"splits": [asdict(split) for split in done], "problems": _problems(found)})
    else:
        _print_prepared(done)
        if on_bad == "skip":
            _print_problems(found)
    if on_bad == "refuse":
        found.problems.refuse(name, "give `--on-bad skip` (in a sweep: `data.on_bad: skip`)")


def _prepared(
    source: "Source", wanted: list[str], how: tuple[int, "Storage"], decoder: "Decoder"
) -> tuple["Manifest", list["Prepared"]]:
    """Decode the splits; Ctrl-C and SIGTERM end it with a word about what is kept."""
    from dataclasses import replace

    from plastsearch.cli.progress import drawing
    from plastsearch.data.preparing import kept, prepare_splits
    from plastsearch.errors import DataError

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
            return found, prepare_splits(found, chosen, *how, decoder)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the last word is short
        text = "stopped before anything was decoded"
        if found is not None:
            held, listed = kept(found, chosen, *how, decoder.cache)
            text = f"stopped; {held:,} of {listed:,} clips are decoded and kept in {decoder.cache / 'clips'}"
        sys.stderr.write(f"{text}; the same command continues\n")
        raise typer.Exit(130) from None


def _read(source: "Source", decoder: "Decoder") -> "Manifest":
    from plastsearch.data.corpora import EVALUATION_ONLY
    from plastsearch.data.sources import read_source

    return read_source(source, decoder, needed=("eval",) if source.corpus in EVALUATION_ONLY else ())


def _print_counts(found: "Manifest", counts: list["SplitCounts"]) -> None:
    from rich.table import Table

    from plastsearch.cli.output import console

    variant = f" {found.variant}" if found.variant else ""
    table = Table(title=f"{found.corpus}{variant} below {found.root}", title_justify="left", box=None, pad_edge=False)
    table.add_column("split")
    for name in ("clips", "bona fide", "spoof", "attacks", "speakers", "clips per speaker"):
        table.add_column(name, justify="right")
    table.add_column("published counts")
    for entry in counts:
        per = entry.speakers.values()
        spread = f"{min(per):,}-{max(per):,}" if per else "-"
        said = {None: "none known", True: "equal", False: "; ".join(entry.differences[:4])}[entry.matches]
        numbers = (entry.clips, entry.bona_fide, entry.spoof, len(entry.attacks), len(entry.speakers))
        table.add_row(entry.split, *(f"{n:,}" for n in numbers), spread, said)
    console().print(table)
    console().print(_breakdown(counts))
    for note in found.notes:
        console().print(f"Note: {note}.")


def _breakdown(counts: list["SplitCounts"]) -> Any:
    """Clips per attack, one column per split."""
    from rich.table import Table

    table = Table(title="\nclips per attack", title_justify="left", box=None, pad_edge=False)
    table.add_column("attack")
    for entry in counts:
        table.add_column(entry.split, justify="right")
    for name in sorted({name for entry in counts for name in entry.attacks}):
        table.add_row(name, *(f"{entry.attacks.get(name, 0):,}" for entry in counts))
    return table


def _print_problems(found: "Manifest") -> None:
    from plastsearch.cli.output import console

    n = len(found.problems)
    said = "clip(s) or line(s) cannot be used:" if n else "clips are known to be unusable."
    console().print(f"\n{n:,} {said}")
    if n:
        console().print(found.problems.text(), markup=False)


def _print_prepared(done: list[Any]) -> None:
    from rich.table import Table

    from plastsearch.cli.output import console

    table = Table(box=None, pad_edge=False)
    table.add_column("split")
    for name in ("clips", "of listed", "hours", "MB"):
        table.add_column(name, justify="right")
    table.add_column("folder")
    for entry in done:
        sums = f"{entry.clips:,}", f"{entry.listed:,}", f"{entry.hours:.2f}", f"{entry.megabytes:,.0f}"
        table.add_row(entry.split, *sums, entry.folder)
    console().print(table)


def _problems(found: "Manifest") -> dict[str, Any]:
    return {
        "count": len(found.problems),
        "kinds": dict(found.problems.kinds),
        "first": [str(entry) for entry in found.problems.entries[:100]],
    }


def _document(found: "Manifest", counts: list["SplitCounts"]) -> dict[str, Any]:
    return {
        "corpus": found.corpus,
        "variant": found.variant,
        "root": str(found.root),
        "splits": [entry.document() for entry in counts],
        "problems": _problems(found),
        "notes": found.notes,
    }
