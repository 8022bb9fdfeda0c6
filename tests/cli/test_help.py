"""Equal flags mean equal things on all commands, and each `--help` opens with an example that can be typed."""

import shlex
import types
import typing
from collections import defaultdict

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from plastsearch.cli.cluster.k8s import read_command
from plastsearch.cli.main import EXAMPLE, app

# What a flag means wherever it is: words of which its `--help` has one. Others say the same everywhere.
MEANS = {
    "--alias": ("registered", "--register"),
    "--audio": ("protocol's clips",),
    "--batch": ("at a time", "per step"),
    "--cache": ("Decoded clips", "decoded clips"),
    "--corpus": ("asvspoof2019_la",),
    "--dry-run": ("run nothing", "keep nothing"),
    "--from": ("weights",),
    "--json": ("JSON document",),
    "--json-lines": ("line of JSON", "One JSON object for each"),
    "--mlflow": ("MLflow", "Store or server", "Log it as a model there"),
    "--most": ("Clips", "clips"),
    "--name": ("sweep",),
    "--onnx": ("ONNX", "--onnx"),
    "--out": ("Write", "write", "Root of all sweeps", "folder", "Pictures"),
    "--port": ("0",),
    "--protocol": ("Classes", "classes", "protocol", "clips it names"),
    "-p": ("Classes", "classes", "protocol", "clips it names"),
    "--register": ("egister",),
    "--replicates": ("Bootstrap replicates",),
    "--resume": ("Go on",),
    "--seed": ("Of ",),
    "--seeds": ("eeds",),
    "--store": ("tore", "inished stages"),
    "--threads": ("hreads", "read files ahead"),
    "--workers": ("prepare batches", "Decoding processes"),
}


def commands():
    """Each command with its name, its click command and its function."""

    def functions(group, before=""):
        for one in group.registered_commands:
            name = one.name or one.callback.__name__.replace("_", "-")
            yield f"{before} {name}".strip(), one.callback
        for one in group.registered_groups:
            yield from functions(one.typer_instance, f"{before} {one.name}".strip())

    known = dict(functions(app))

    def walk(command, name=""):
        if hasattr(command, "commands"):
            for part, below in command.commands.items():
                yield from walk(below, f"{name} {part}".strip())
        else:
            yield name, command, known[name]

    yield from walk(get_command(app))


def plain(hint):
    """A type without its `or nothing`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [one for one in typing.get_args(hint) if one is not type(None)]
        return plain(rest[0]) if len(rest) == 1 else hint
    return hint


def flags():
    found = defaultdict(list)
    for name, command, function in commands():
        hints = typing.get_type_hints(function)
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name in hints:
                for flag in (*parameter.opts, *parameter.secondary_opts):
                    found[flag].append((name, plain(hints[parameter.name]), parameter.help or ""))
    return {flag: uses for flag, uses in found.items() if len(uses) > 1}


def test_equal_flags_have_one_type():
    unlike = {
        flag: {name: kind for name, kind, _ in uses} for flag, uses in flags().items()
        if len({str(kind) for _, kind, _ in uses}) > 1
    }  # fmt: skip
    assert not unlike


def test_equal_flags_mean_one_thing():
    shared = flags()
    assert len(shared) > 30
    for flag, uses in shared.items():
        if flag in MEANS:
            for name, _, said in uses:
                assert any(words in said for words in MEANS[flag]), f"{name} {flag}: {said!r} is another meaning"
        else:
            said = {text: name for name, _, text in uses}
            assert len(said) == 1, f"{flag} is described in {len(said)} ways: take it from cli/options.py: {said}"
    assert not set(MEANS) - set(shared), "of one command alone: no longer needed here"


def test_what_a_sweep_takes_of_places_a_trial_takes_too():
    known = {name: {flag for one in command.params for flag in one.opts} for name, command, _ in commands()}
    places = {"--store", "--cache", "--clips", "--cache-max-gb", "--store-max-gb", "--checkpoint-s", "--out", "--set"}
    for name in ("sweep", "trial"):
        assert places <= known[name], name
    assert CliRunner().invoke(app, ["trial", "--no-cache", "--set", "no=1"]).exit_code != 0
    told = read_command(shlex.split("trial --no-cache --store /a --cache /b"))
    assert (told.values["activations"], str(told.values["store"]), str(told.values["cache"])) == (False, "/a", "/b")


GROUPS = ["", "data", "store", "journal", "k8s"]


@pytest.mark.parametrize("name", [name for name, *_ in commands()] + GROUPS)
def test_help_opens_with_an_example_that_is_understood(name):
    said = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "300"}).stdout
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    assert lines[0].startswith("Usage: "), said
    assert lines[1].startswith(f"{EXAMPLE}plastsearch "), said
    words = shlex.split(lines[1].removeprefix(f"{EXAMPLE}plastsearch"))
    assert words[: len(name.split())] == name.split()
    read = read_command(words)
    assert not isinstance(read, str), read
