"""What commands that run sweeps have in common: how the process ends."""

import os
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from plastsearch.sweep.options import Outcome


def end_with(outcome: "Outcome") -> None:
    """Leave with the outcome's status, unless all went well."""
    if outcome.stuck:  # a dead Ray would hold back the interpreter's end, and then end the process with its own status
        os._exit(outcome.exit_code)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)
