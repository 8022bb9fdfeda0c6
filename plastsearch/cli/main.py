"""The `plastsearch` command: one file per command, heavy imports inside each of them."""

import codecs
import inspect
import io
import locale
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from plastsearch.addresses import EXPECTED, typed
from plastsearch.cli.output import print_error
from plastsearch.cli.start.completion import VARIABLE
from plastsearch.errors import PlastsearchError, out_of_memory
from plastsearch.files import refused
from plastsearch.version import __version__
from plastsearch.words import printable

app = typer.Typer(
    name="plastsearch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Example: plastsearch sweep search_spaces/smoke.yaml\n\n"
    "Find where a speech-deepfake detector should grow, by how much, and what to cut again.",
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


EXAMPLE = "Example: "  # how the paragraph of a docstring begins that --help opens with
# The panels of `--help`, in order: a folder of commands each. Those with subcommands hold an `app`.
PANELS = {
    "start": ("Begin", ("doctor", "new", "schema", "completion")),
    "search": ("Search", ("sweep", "noise", "trial", "check", "sites")),
    "look": ("Look", ("ls", "show", "report", "merge", "ablate", "ui", "sync", "evaluate")),
    "use": ("Use a model", ("score", "calibrate", "export", "compare", "explain", "drift", "demo")),
    "data": ("Data and models", ("pretrain", "data", "store", "journal")),
    "cluster": ("Cluster", ("k8s",)),
}


def _typed_command() -> str | None:
    """The command of the line at whose end Tab was hit, once it is whole: no other has to be imported then."""
    words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()
    return words[1] if VARIABLE in os.environ and len(words) > 2 else None


class Help(NamedTuple):
    """What `--help` says, and the sentence for lists."""

    whole: str
    short: str


def _help_of(function: Callable[..., object]) -> Help:
    """The help of a command opens with the example that its docstring holds; lists show the first sentence."""
    first, *rest = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    example = [part for part in rest if part.startswith(EXAMPLE)]
    return Help("\n\n".join([*example, first, *(part for part in rest if part not in example)]), first)


def _help_of_group(group: typer.Typer) -> Help:
    """The same for a group, whose example is that of its first command; its commands get theirs."""
    example = ""
    for one in group.registered_commands:
        if one.callback is not None:
            one.help, one.short_help = said = _help_of(one.callback)
            example = example or said.whole.partition("\n\n")[0]
    return Help(f"{example}\n\n{group.info.help}", str(group.info.help))


def _register() -> None:
    typed = _typed_command()
    known = {name for _, names in PANELS.values() for name in names}
    for folder, (panel, names) in PANELS.items():
        for name in names:
            if typed in known and typed != name:
                continue
            module = import_module(f"plastsearch.cli.{folder}.{name}")
            if hasattr(module, "app"):
                said = _help_of_group(module.app)
                app.add_typer(module.app, name=name, rich_help_panel=panel, help=said.whole, short_help=said.short)
            else:
                function: Callable[..., None] = getattr(module, name)
                said = _help_of(function)
                app.command(name, rich_help_panel=panel, help=said.whole, short_help=said.short)(function)


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


def _speak_utf8() -> None:
    """Start again with UTF-8 where the locale is C and Python was told to heed it: files and libraries need more."""
    if codecs.lookup(locale.getpreferredencoding(False)).name == "ascii" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, sys.orig_argv)


def _open_what_is_closed() -> None:
    """Streams that whoever started us closed (`>&-`, some daemons) lead nowhere, and no file takes their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(number, True)  # as whoever is started by us expects of them
    os.close(number)
    nowhere = Path(os.devnull)
    sys.stdin = sys.stdin or nowhere.open()
    sys.stdout = sys.stdout or nowhere.open("w")
    sys.stderr = sys.stderr or nowhere.open("w")


def _repeat_printably() -> None:
    """Complaints about a command line repeat what was typed, but not control characters, which a terminal obeys."""
    if all(word.isprintable() for word in sys.argv):
        return
    from typer import rich_utils

    show = rich_utils.rich_format_error

    def shown_printably(error: Any) -> None:
        message = printable(error.format_message())
        error.format_message = lambda: message
        show(error)

    setattr(rich_utils, "rich_format_error", shown_printably)  # noqa: B010 - as the name of a function it is typed


def _say_last(message: str) -> None:
    """The last sentence; where nobody can hear it, the exit status says it alone."""
    with suppress(OSError):
        print_error(message)
        sys.stderr.flush()


def main() -> None:
    """Run the command line; a user's mistake ends in one message and its exit status, a bug in a traceback."""
    _open_what_is_closed()
    if VARIABLE in os.environ:  # a shell asks at a Tab
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    _speak_utf8()
    _hide_typed_password()
    _repeat_printably()
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
        _say_last(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `| head`: the reader has gone, and Python's own complaint at exit would be noise
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        _say_last(refused(error))
        sys.exit(2)
    except Exception as error:
        if not out_of_memory(error):
            raise  # a bug keeps its traceback
        _say_last(
            f"not enough memory: {(str(error) or 'what was asked for does not fit').splitlines()[0]}\n"
            "ask for less (smaller batches, fewer clips, steps or processes), or use a larger machine"
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
