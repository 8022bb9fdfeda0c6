"""`plastsearch data`: what a corpus on disk holds, and decoding it ahead of a sweep. The work: sessions/corpora.py."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from plastsearch.cli import completing, options
from plastsearch.cli.output import print_json
from plastsearch.spec.limits import MOST_RATE_HZ, MOST_WORKERS
from plastsearch.spec.vocabulary import Corpus

app = typer.Typer(no_args_is_help=True, help="Look at a corpus, or decode it ahead of a sweep.")

GENERATED, *ON_DISK = get_args(Corpus)
Name = Annotated[str, typer.Argument(help=options.listed(*ON_DISK, GENERATED), autocompletion=completing.corpora)]
CACHE = Path("plastsearch-runs/cache")


@app.command()
def inspect(
    name: Name,
    root: options.CorpusRoot = None,
    variant: options.CorpusVariant = None,
    manifest: options.Manifest = None,
    files: Annotated[bool, typer.Option(help="Look whether every listed file is there.")] = True,
    cache: options.ClipCache = CACHE,
    as_json: options.AsJson = False,
) -> None:
    """Count clips per split, class, attack and speaker, and say whether they equal the published counts.

    Example: plastsearch data inspect asvspoof2019_la --root data/LA
    """
    from plastsearch.cli.sessions import corpora
    from plastsearch.data.counts import count
    from plastsearch.data.sources import Source

    found = corpora.looked_through(Source(name, root, variant, manifest), cache, files=files)
    counts = count(found)
    if as_json:
        print_json(corpora.corpus_json(found, counts))
    else:
        corpora.print_counts(found, counts)
        corpora.print_problems(found)


@app.command()
def prepare(
    name: Name,
    root: options.CorpusRoot = None,
    variant: options.CorpusVariant = None,
    manifest: options.Manifest = None,
    splits: Annotated[str, typer.Option(help="Which ones, with commas between them; default: all there are.")] = "",
    rate_hz: Annotated[
        int, typer.Option("--rate", min=1000, max=MOST_RATE_HZ, help="Samples per second of the decoded clips.")
    ] = 16_000,
    storage: Annotated[str, typer.Option(help="int16 or float32.")] = "int16",
    on_bad: Annotated[str, typer.Option(help="refuse: fail if any file is unusable; skip: only list them.")] = "refuse",
    workers: Annotated[
        int | None, typer.Option(min=1, max=MOST_WORKERS, help="Decoding processes; default: all cores.")
    ] = None,
    cache: options.ClipCache = CACHE,
    as_json: options.AsJson = False,
) -> None:
    """Decode a corpus once into the shared cache; sweeps then start at once. An interrupted run resumes.

    Example: plastsearch data prepare asvspoof2019_la --root data/LA
    """
    from dataclasses import asdict

    from plastsearch.cli.sessions import corpora
    from plastsearch.data.cache import Decoder
    from plastsearch.data.sources import Source
    from plastsearch.errors import DataError

    if storage not in ("int16", "float32") or on_bad not in ("refuse", "skip"):
        raise DataError("--storage is int16 or float32, --on-bad is refuse or skip")
    wanted = [split.strip() for split in splits.split(",")] if splits else []
    how = corpora.Decoding(rate_hz, "float32" if storage == "float32" else "int16")
    found, done = corpora.prepared(Source(name, root, variant, manifest), wanted, how, Decoder(cache, workers))
    if as_json:
        print_json({"splits": [asdict(split) for split in done], "problems": corpora.problems_json(found)})
    else:
        corpora.print_prepared(done)
        if on_bad == "skip":
            corpora.print_problems(found)
    if on_bad == "refuse":
        found.problems.refuse(name, "give `--on-bad skip` (in a sweep: `data.on_bad: skip`)")
