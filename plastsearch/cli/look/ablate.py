"""`plastsearch ablate`: why a trial won, field by field, by runs. Once it runs: sessions/ablate.py."""

import sys
from typing import Annotated

import typer

from plastsearch.addresses import address_of
from plastsearch.cli import completing, options
from plastsearch.cli.running import end_with
from plastsearch.spec.limits import MOST_REPEATS

Trial = Annotated[
    str,
    typer.Argument(
        help="Its number, or best (that grew), or knee (of the front).", autocompletion=completing.trials_of
    ),
]
Seeds = Annotated[
    int,
    typer.Option(min=1, max=MOST_REPEATS, help="Seeds of every run, the trial's own first; intervals cover them, too."),
]
Metric = Annotated[
    str | None,
    typer.Option(help="What is gained or lost; else the sweep's first objective.", autocompletion=completing.metrics),
]
MaxRuns = Annotated[
    int | None, typer.Option(min=1, help="Runs at most, of all sessions; the paths end where they stand.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count runs, shared stages and time; run nothing.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an ablation that was interrupted.")]


def ablate(
    sweep: options.SweepFolder,
    trial: Trial = "best",
    seeds: Seeds = 1,
    metric: Metric = None,
    max_runs: MaxRuns = None,
    dry_run: DryRun = False,
    resume: Resume = False,
    executor: options.Executor = "tune",
    address: options.Address = None,
    parallel: options.Parallel = None,
    store: options.Store = None,
    cache: options.Cache = None,
    clips: options.Clips = None,
    mlflow: options.Mlflow = None,
    deterministic: options.Deterministic = False,
    quiet: options.Quiet = False,
    as_json: options.JsonAtEnd = False,
) -> None:
    """Tell why a trial won: from the baseline to it, one field at a time, by runs that share its sweep's stages.

    Example: plastsearch ablate plastsearch-runs/w2v_layers best --dry-run

    Greedy both ways: forward adds what helps most, backward takes away what costs least. Exit status as of sweep.
    """
    if mlflow:
        address_of(mlflow)
    from plastsearch.preflight.machine import check_limits

    if not dry_run:
        check_limits(executor)  # before what takes most is loaded
    from plastsearch.cli.sessions.ablate import Asked, attempt, print_forecast

    asked = Asked(sweep, trial, seeds, metric, max_runs)
    if dry_run:
        print_forecast(asked, as_json)
        return
    from plastsearch.ablation.session import AblationOptions

    where = AblationOptions(
        root=sweep / "ablate", resume=resume, executor=executor, address=address, store=store, cache=cache,
        clips=clips, finalists=False, mlflow=mlflow, deterministic=deterministic, seeds=seeds, metric=metric,
        most=max_runs, parallel=parallel,
    )  # fmt: skip
    try:
        outcome = attempt(asked, where, quiet=quiet, as_json=as_json)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped before any run had begun; the same command starts again\n")
        raise typer.Exit(130) from None
    end_with(outcome)
