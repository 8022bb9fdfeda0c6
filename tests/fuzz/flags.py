"""Every flag of every command, as the command line itself knows them, with values that may be none."""

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import typer

from tests.fuzz import mutations

LONG = "a" * 300
PLACES = (
    "in/loop", "in/loop/x", "in", "in/space.yaml", "in/space.yaml/x", LONG, f"out/{LONG}", "ü" * 200, "~",
    "~nobody-of-that-name", "~nobody-of-that-name/x", "in/\udcff", "out/\udcff", "out/a b ü", "out/\x1b[31m",
    "/dev/null",
    "/dev/full", "/dev/null/x", "/proc/nowhere", "", ".", "in/nothing", "in/to_null", "in/to_nothing", "out/\n",
    "in/pipe",
    "in/store", "in/sweep", "in/cache", "in/clips", "in/model", "in/scores.txt", "a" * 5000,
)  # fmt: skip
NUMBERS = (
    "-1", "0", "1", "2", "3", "nan", "inf", "-inf", "1e300", "1e-320", "0.5", "9" * 5000, "9" * 20, "1e15",
    str(10**9), str(10**12), str(10**15), str(10**15 + 1), "²", "٣", "1_0", "0x10", " 1", "1 ", "", "-0", "1,5",
    "1e3",
)  # fmt: skip
NAMES = (
    "cuda:99", "cuda:-1", "cuda:²", "cpu:1", "meta", "mps", "float32", "2021", "5", "x=1e6", "params_total=nan",
    "params_total=1e6", "dev_eer=" + "9" * 5000, "gpu=2.5/h", "gpu=nan/h", "gpu=-1/h", "=/h", "http://127.0.0.1:1",
    "http://[::1", "file:out/m", "sqlite:///in/space.yaml", "sqlite:///out/m.db", "env:NOTHING", "env:HOME",
    "s3://b/p", "none",
    "gru.0", "gru.1", "gru.{0..99999999}", "grad-cam", "best", "knee", "dev", "plain", "llr", "dev,eval", ",",
    "a/b", "../x",
)  # fmt: skip
# What would wait for somebody who does not come, or for a cluster.
NEVER = {"--help", "-h", "--address", "--browser", "--no-browser"}


@dataclass(frozen=True)
class Flag:
    """An option of a command, and the kind of its value; None: it has none."""

    names: tuple[str, ...]
    kind: str | None


@cache
def flags_of(command: str) -> tuple[Flag, ...]:
    from plastsearch.cli.main import app

    found: Any = typer.main.get_command(app)  # of a click that typer keeps to itself
    for name in command.split():
        found = found.commands[name]
    return tuple(
        Flag((*one.opts, *one.secondary_opts), None if one.is_flag else str(one.type_descriptor.annotation))
        for one in found.params
        if one.param_type_name == "option" and not NEVER & set(one.opts)
    )


def one_more(rng: random.Random, command: str) -> list[str]:
    """A flag for a command line, with its value."""
    chosen = rng.choice(flags_of(command))
    name = rng.choice(chosen.names)
    return [name] if chosen.kind is None else [name, value(rng, chosen.kind)]


def value(rng: random.Random, kind: str) -> str:
    """A word for an option of that type; now and then one of another."""
    if rng.random() < 0.1:
        return rng.choice((*PLACES, *NUMBERS, *NAMES))
    if "Path" in kind:
        return rng.choice(PLACES)
    if "int" in kind or "float" in kind:
        return rng.choice(NUMBERS)
    return rng.choice((*mutations.WORDS, *NAMES, *NAMES, *PLACES))
