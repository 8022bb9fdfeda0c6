"""The `plastsearch` command: one file per command, heavy imports inside each of them."""

import io
import os
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from typing import Annotated

import typer

from plastsearch.addresses import EXPECTED, typed
from plastsearch.cli.output import print_error
from plastsearch.errors import PlastsearchError, out_of_memory
from plastsearch.files import refused
from plastsearch.version import __version__

app = typer.Typer(
    name="plastsearch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find where a speech-deepfake detector should grow, by how much, and what to cut again.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"plastsearch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _register() -> None:
    # In this order `--help` lists them, panel by panel.
    for name in ("sweep", "noise", "trial", "check", "sites"):
        _command(name, "Search")
    for name in ("report", "ablate", "ui", "evaluate"):
        _command(name, "Look")
    # A found model at work, one line for each command.
    in_use = (
        "score",
        "calibrate",
        "export",
        "compare",
        "explain",
        "drift",
        "demo",
    )
    for name in in_use:
        _command(name, "Use a model")
    for name in ("data", "store"):
        _group(name, "Data and models")
    _group("journal", "Data and models", "sessions.journal")
    _command("pretrain", "Data and models")
    _group("k8s", "Cluster")


def _command(name: str, panel: str) -> None:
    function: Callable[..., None] = getattr(import_module(f"plastsearch.cli.{name}"), name)
    app.command(name, rich_help_panel=panel)(function)


def _group(name: str, panel: str, file: str | None = None) -> None:
    app.add_typer(import_module(f"plastsearch.cli.{file or name}").app, name=name, rich_help_panel=panel)


_register()


def _hide_typed_password() -> None:
    """Start again with a typed MLflow address in the environment: everybody on a machine can read command lines."""
    words = list(sys.orig_argv)
    for n, (before, word) in enumerate(pairwise(sys.orig_argv), 1):
        address = word.removeprefix("--mlflow=")
        if (before == "--mlflow" or address != word) and typed(address) != address:
            words[n] = word.replace(address, typed(address))
            os.environ[EXPECTED] = address
    if words != sys.orig_argv:
        os.execv(sys.executable, words)


def main() -> None:
    """Run the command line; a user's mistake ends in one message and its exit status, a bug in a traceback."""
    _hide_typed_password()
    for stream in (sys.stdout, sys.stderr):
        # Under a C locale, or where a file's name is no UTF-8, a character that cannot be said is said by its number.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # what a full disk refuses of a redirected output is met here, not at exit
    except PlastsearchError as error:
        print_error(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `| head`: the reader has gone, and Python's own complaint at exit would be noise
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        print_error(refused(error))
        sys.exit(2)
    except Exception as error:
        if not out_of_memory(error):
            raise  # a bug keeps its traceback
        print_error(
            f"not enough memory: {(str(error) or 'what was asked for does not fit').splitlines()[0]}\n"
            "ask for less (smaller batches, fewer clips, steps or processes), or use a larger machine"
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
