"""Durations and sizes are written in one way."""

import os
import subprocess

import pytest

from plastsearch.words import duration, printable, roughly, sized, typed_again


@pytest.mark.parametrize(
    ("seconds", "live", "reported"),
    [
        (3.4, "3 s", "3 s"),
        (75, "1 min 15 s", "75 s"),
        (100, "1 min 40 s", "1 min 40 s"),
        (4000, "1 h 06 min", "66 min 40 s"),
        (7300, "2 h 01 min", "2 h 01 min"),
    ],
)
def test_durations(seconds: float, live: str, reported: str) -> None:
    assert duration(seconds) == live
    assert duration(seconds, units_from=1.5) == reported


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "5 s"),
        (73, "75 s"),
        (119, "2 min"),
        (1900, "32 min"),
        (5300, "88 min"),
        (5500, "1 h 30 min"),
        (1e5, "27 h 45 min"),
    ],
)
def test_what_was_estimated_has_no_more_digits_than_it_deserves(seconds: float, words: str) -> None:
    assert roughly(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (1500, "1.5 kB"), (2.5e6, "2.5 MB"), (1e9, "1 GB"), (1.234e12, "1,234 GB")]
)
def test_sizes(size: float, words: str) -> None:
    assert sized(size) == words


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain, ü – \u00a0x", "plain, ü – \u00a0x"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\ud800 and \u202e", "\\ud800 and \\u202e"),
        ("one\rover", "one\\rover"),
    ],
)
def test_a_terminal_is_shown_control_characters_and_does_not_obey_them(given, shown):
    assert printable(given) == shown


@pytest.mark.parametrize(
    "words",
    [
        ["plastsearch", "--out", "a b"],
        ["x", ""],
        ["out/\x1b[31m", "it's \\ so\n"],
        ["\udcff", "a\u202eb"],
        ["\x01f"],
    ],
)
def test_a_command_is_taken_back_by_a_shell_and_shows_nothing_that_a_terminal_obeys(words):
    line = typed_again(words)
    assert line.isprintable()
    told = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout
    assert [os.fsdecode(word) for word in told.split(b"\0")[:-1]] == words
