"""`plastsearch store`: what finished stages there are, making room, and sweeps kept as objects in a bucket."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from plastsearch.cli import options
from plastsearch.cli.output import console, print_json, print_table
from plastsearch.documents import Table
from plastsearch.errors import PlastsearchError, StorageError
from plastsearch.words import shown

app = typer.Typer(
    help="Finished stages that trials share: list them, drop old ones; keep sweeps in a bucket.", no_args_is_help=True
)

Where = Annotated[Path, typer.Option("--store", help="The store's folder.")]
DEFAULT = Path("plastsearch-runs/store")


@app.command("ls")
def list_stages(
    store: Where = DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """List finished stages, the least useful first: seconds saved per GB, halved with every day unused.

    Example: plastsearch store ls --store plastsearch-runs/store
    """
    from plastsearch.store.records import StageRecords
    from plastsearch.store.room import entries as listed
    from plastsearch.store.room import foreign

    with reached(_existing(store), "looked through"):
        entries = listed(StageRecords(store))
        strange = foreign(StageRecords(store))
    for path, why in strange:
        sys.stderr.write(f"Note: {shown(path)} is none of the stages ({shown(why)}); it is left alone\n")
    if as_json:
        print_json({"store": str(store), "stages": [vars(entry) for entry in entries]})
        return
    rows = tuple(
        (
            entry.key,
            entry.stage,
            f"{entry.size / 1e6:.1f}",
            f"{entry.seconds:.1f}",
            _age(entry.used),
            str(entry.needed_by),
            str(entry.followed_by),
        )
        for entry in entries
    )
    columns = ("key", "stage", "MB", "seconds", "used", "needed by", "followed by")
    print_table(console(), Table(columns, rows, frozenset({"key", "stage"})))
    console().print(f"{len(entries)} stages, {sum(entry.size for entry in entries) / 1e6:.1f} MB")


@app.command("gc")
def collect_stages(
    store: Where = DEFAULT,
    max_gb: Annotated[float | None, typer.Option(min=0, help="Drop the least useful until this much is left.")] = None,
    unused_days: Annotated[float | None, typer.Option(min=0, help="Drop what was not used for so long.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Drop stages, to be computed again when needed; those in use, and those that others keep tensors in, stay.

    Example: plastsearch store gc --max-gb 20
    """
    from plastsearch.store.records import StageRecords
    from plastsearch.store.room import collect

    if max_gb is None and unused_days is None:
        raise PlastsearchError("store gc: give --max-gb or --unused-days, or nothing would be dropped")
    place = _existing(store)
    if not (place / "stages").is_dir():
        raise PlastsearchError(f"{store}: no store (it has no folder `stages`); name one with --store (<out>/store)")
    with reached(place, "cleared"):
        dropped = collect(
            StageRecords(place),
            None if max_gb is None else max_gb * 1e9,
            None if unused_days is None else unused_days * 86_400,
        )
    freed = sum(entry.size for entry in dropped)
    if as_json:
        print_json({"store": str(store), "dropped": [entry.key for entry in dropped], "bytes": freed})
    else:
        console().print(f"{len(dropped)} stages dropped, {freed / 1e6:.1f} MB freed")


Endpoint = Annotated[
    str | None, typer.Option(metavar="URL", help="The S3 server, if it is not Amazon's; else AWS_ENDPOINT_URL.")
]


@app.command("push")
def push_sweep(
    sweep: options.SweepFolder,
    address: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX", help="Where to; one prefix for each sweep.")],
    endpoint: Endpoint = None,
    store: Annotated[Path | None, typer.Option("--store", help="The store; else the one beside the sweep.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Stages of all trials, not only of the front.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Copy a sweep, finished or not, into a bucket: journal, reports, scores, and the stages of its front.

    Example: plastsearch store push plastsearch-runs/w2v_layers s3://bucket/w2v_layers

    What is there already is not sent again; after a kill the same command goes on. Credentials: AWS_ACCESS_KEY_ID and
    the other usual variables or files.
    """
    from plastsearch.store.objects import Objects, Place
    from plastsearch.sweep.archive import push

    objects = Objects(Place.of(address), endpoint)
    done = push(sweep.resolve(), store or sweep.resolve().parent / "store", objects, everything=everything, say=_say)
    if as_json:
        print_json({"sweep": done.name, "files": done.files, "bytes": done.bytes, "sent": done.sent})
    else:
        console().print(
            f"{done.name}: {done.files} files, {done.bytes / 1e6:.1f} MB, {done.sent} of them sent now", markup=False
        )


@app.command("pull")
def pull_sweep(
    address: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX", help="Where a sweep was pushed to.")],
    folder: Annotated[Path, typer.Argument(help="Where it goes: FOLDER/<sweep>, and its stages into FOLDER/store.")],
    endpoint: Endpoint = None,
    as_json: options.AsJson = False,
) -> None:
    """Bring a pushed sweep back, every file checked against its checksum; put in place once all is there.

    Example: plastsearch store pull s3://bucket/w2v_layers plastsearch-runs
    """
    from plastsearch.store.objects import Objects, Place
    from plastsearch.sweep.archive import pull

    done = pull(Objects(Place.of(address), endpoint), folder, say=_say)
    if as_json:
        print_json({"sweep": done.name, "folder": str(folder / done.name), "files": done.files, "bytes": done.bytes})
    else:
        console().print(f"{folder / done.name}: {done.files} files, {done.bytes / 1e6:.1f} MB", markup=False)
        console().print(f"plastsearch report {folder / done.name}", markup=False)


def _say(text: str) -> None:
    console(stderr=True).print(text, markup=False)


def _existing(store: Path) -> Path:
    if not store.is_dir():
        raise PlastsearchError(f"{store}: no such folder; name the store with --store (a sweep's is <out>/store)")
    return store


@contextmanager
def reached(store: Path, what: str) -> Iterator[None]:
    """What a file system refuses, a folder of somebody else's among others, in a sentence."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{error.filename or store}: {store} cannot be {what} ({error.strerror or error}); ask its owner, or run "
            "this as whoever may"
        ) from None


def _age(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "now"
