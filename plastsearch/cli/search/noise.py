"""`plastsearch noise`: before a search is paid for, how far its results differ by configuration and how far by luck."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plastsearch.cli import completing, options
from plastsearch.cli.output import console, print_blocks, print_json
from plastsearch.cli.running import end_with
from plastsearch.errors import PlastsearchError
from plastsearch.spec.limits import MOST_REPEATS

if TYPE_CHECKING:
    from plastsearch.sweep.options import Options


def noise(
    target: Annotated[
        Path,
        typer.Argument(help="A search space, or the folder of a sweep that has run.", autocompletion=completing.spaces),
    ],
    configurations: Annotated[
        int,
        typer.Option(
            "--configurations", "-k", min=3, max=MOST_REPEATS, help="How many, drawn at random from the space."
        ),
    ] = 8,
    seeds: Annotated[
        int, typer.Option(min=2, max=MOST_REPEATS, help="With how many seeds each runs; the same for all.")
    ] = 4,
    detect: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="Difference in EER that is to be shown; else the spread that is found.",
        ),
    ] = None,
    power: Annotated[float, typer.Option(min=0.05, max=0.99, help="How often it is to be shown.")] = 0.8,
    sets: options.Sets = None,
    name: options.Name = None,
    out: options.Out = Path("plastsearch-runs"),
    resume: options.Resume = False,
    parallel: options.Parallel = None,
    executor: options.Executor = "tune",
    address: options.Address = None,
    store: options.Store = None,
    cache: options.Cache = None,
    clips: options.Clips = None,
    checkpoint_s: options.CheckpointS = None,
    quiet: options.Quiet = False,
    as_json: options.JsonAtEnd = False,
) -> None:
    """Measure a space's noise: k configurations × r seeds, which metric to search by, how many seeds it takes.

    Example: plastsearch noise search_spaces/w2v_layers.yaml -k 8 --seeds 4

    Of a sweep's folder nothing is run: its replicates and finalists are read. Exit status as of `sweep`.
    """
    from plastsearch.preflight.machine import check_limits

    if not target.is_dir():
        check_limits(executor)  # before what takes most is loaded
    from plastsearch.analysis.seeds import as_json as plain
    from plastsearch.analysis.seeds import measure, page
    from plastsearch.sweep.options import Options
    from plastsearch.tracking.journal import read
    from plastsearch.tracking.records import trials

    if detect is not None and not 0 < detect <= 100:
        raise PlastsearchError(f"--detect {detect:g}: a difference above 0, in points of EER")
    folder = target
    if not target.is_dir():
        # The baseline opens every seed but the first, so that it is there to be compared with.
        asked = {
            "search.trials": configurations * seeds + seeds - 1, "search.replicate": seeds, "search.sampler": "random",
            "search.anchors": "false", "controls": "[baseline]", "halt": "{kind: none}", "try_first": "[]",
            "search.parallel": parallel,
        }  # fmt: skip
        overrides = [*(sets or []), *(f"{key}={value}" for key, value in asked.items() if value is not None)]
        where = Options(
            root=out, name=name or f"{target.stem}-noise", resume=resume, executor=executor, address=address,
            store=store, cache=cache, clips=clips, finalists=False, space_file=target, overrides=overrides,
            mlflow="none", checkpoint_s=checkpoint_s,
        )  # fmt: skip
        folder = _run(target, where, quiet=quiet or as_json)
    records = list(trials(read(folder)).values())
    found = measure(records)
    if not found:
        raise PlastsearchError(
            f"{folder}: nothing can be said of noise: at least three configurations have to finish, and one of them "
            f"with two seeds; run `plastsearch noise SPACE`, or a sweep with `search: {{replicate: auto}}`"
        )
    if as_json:
        print_json(plain(found, detect, power) | {"folder": str(folder)})
        return
    print_blocks(console(), page(found, detect, power))
    console().print(f"\nRuns: {folder}", markup=False, soft_wrap=True)


def _run(space: Path, where: "Options", *, quiet: bool) -> Path:
    """Run what is missing, and leave unless all of it is done."""
    from plastsearch.cli.sessions.sweep import Showing, attempt

    outcome = attempt(space, where, Showing(quiet=quiet, as_json=False, json_lines=False, tables=False))
    end_with(outcome)
    return outcome.folder
