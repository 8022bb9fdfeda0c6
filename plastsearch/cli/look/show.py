"""`plastsearch show`: a sweep or one of its trials in one place. What stands there: sessions/show.py."""

from typing import Annotated

import typer

from plastsearch.cli import completing, options
from plastsearch.cli.output import console, print_blocks, print_json

Trial = Annotated[
    str | None,
    typer.Argument(help="Its number, or best, or knee; else the sweep.", autocompletion=completing.trials_of),
]


def show(sweep: options.SweepFolder, trial: Trial = None, as_json: options.AsJson = False) -> None:
    """Show a sweep, or one trial of it: state, front, configuration, where it grew, metrics, finalists, commands.

    Example: plastsearch show plastsearch-runs/w2v_layers best

    Running sweeps are shown as far as they are, damaged ones by their sound lines. Nothing is written.
    """
    from plastsearch.cli.data.journal import print_left_out
    from plastsearch.cli.sessions import show as shown

    results, left_out = shown.opened(sweep)
    print_left_out(sweep, left_out, console(stderr=True))
    row = None if trial is None else shown.chosen(results, trial)
    if as_json:
        print_json(shown.sweep_json(results, left_out) if row is None else shown.trial_json(results, row, left_out))
        return
    print_blocks(console(), shown.sweep_blocks(results) if row is None else shown.trial_blocks(results, row))
