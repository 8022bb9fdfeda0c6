"""`plastsearch sweep`: the whole search, from a space's file to the front. Once it runs: sessions/sweep.py."""

import sys
from pathlib import Path

import typer

from plastsearch.addresses import address_of
from plastsearch.cli import options
from plastsearch.cli.running import end_with
from plastsearch.errors import PlastsearchError
from plastsearch.imports import uncollected


def sweep(
    space: options.Space,
    sets: options.Sets = None,
    trials: options.Trials = None,
    seed: options.Seed = None,
    name: options.Name = None,
    out: options.Out = Path("plastsearch-runs"),
    resume: options.Resume = False,
    dry_run: options.DryRun = False,
    price: options.Price = None,
    final: options.Final = True,
    parallel: options.Parallel = None,
    executor: options.Executor = "tune",
    address: options.Address = None,
    store: options.Store = None,
    cache: options.Cache = None,
    clips: options.Clips = None,
    cache_max_gb: options.CacheMaxGb = None,
    store_max_gb: options.StoreMaxGb = None,
    checkpoint_s: options.CheckpointS = None,
    mlflow: options.Mlflow = None,
    metrics_port: options.MetricsPort = None,
    metrics_host: options.MetricsHost = "127.0.0.1",
    deterministic: options.Deterministic = False,
    notify: options.Notify = None,
    quiet: options.Quiet = False,
    as_json: options.JsonAtEnd = False,
    json_lines: options.JsonLines = False,
) -> None:
    """Search: run trials of a space until its budget is spent, and show which are not dominated.

    Example: plastsearch sweep search_spaces/w2v_layers.yaml --trials 8

    An interrupted sweep goes on with --resume and loses nothing. Exit status: 0 done, 2 bad input, 3 the cluster cannot
    fit a trial, 4 too many failures, 75 another driver has the folder, 130 interrupted.
    """
    if mlflow:
        address_of(mlflow)  # a variable that is not set shows before anything runs
    if price and not dry_run:
        raise PlastsearchError("--price: tells what a dry run would cost; add --dry-run, or leave it out")
    short = {"search.trials": trials, "search.seed": seed, "base.seed": seed, "search.parallel": parallel}
    overrides = [*(sets or []), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    from plastsearch.preflight.machine import check_limits

    if not dry_run:
        check_limits(executor)  # before what takes most is loaded
    with uncollected():
        from plastsearch.cli.sessions.sweep import Showing, attempt, load
        from plastsearch.sweep.notify import target
        from plastsearch.sweep.options import Options

    for text in notify or ():
        target(text)  # so is a command that is not there
    if dry_run:
        from plastsearch.cli.sessions.space import print_dry_run

        spec, notes = load(space, overrides, executor, final)
        kept = cache or out / "cache"
        print_dry_run(spec, as_json, kept, cache_max_gb, finalists=final, prices=price or (), notes=notes)
        return
    where = Options(
        root=out, name=name, resume=resume, executor=executor, address=address, store=store, cache=cache, clips=clips,
        finalists=final, space_file=space, overrides=overrides, mlflow=mlflow, cache_max_gb=cache_max_gb,
        store_max_gb=store_max_gb, checkpoint_s=checkpoint_s, deterministic=deterministic, notify=notify or (),
        metrics_port=metrics_port, metrics_host=metrics_host,
    )  # fmt: skip
    try:
        outcome = attempt(space, where, Showing(quiet=quiet, as_json=as_json, json_lines=json_lines))
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped before any trial had begun; the same command starts again\n")
        raise typer.Exit(130) from None
    end_with(outcome)
