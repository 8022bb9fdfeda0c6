"""YAML as plain data: strict numbers and keys, known lines, overrides that reach any depth."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plastsearch.errors import SpecError
from plastsearch.spec.document import Document, override, read_document
from plastsearch.spec.limits import MOST_VALUES


@pytest.fixture
def read(tmp_path):
    def done(text):
        path = tmp_path / "space.yaml"
        path.write_text(text)
        return read_document(path)

    return done


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("2e3", 2000), ("2000.0", 2000.0), ("1_000", 1000), ("-3", -3), (".5", 0.5),
        ("no", "no"), ("on", "on"), ("true", True), ("~", None), ("'1'", "1"), ('"true"', "true"), ("1:30", "1:30"),
        ("0x10", "0x10"), ("2020-01-01", "2020-01-01"),
    ],
)  # fmt: skip
def test_a_scalar_is_a_number_only_where_a_person_means_one(read, text, value):
    found = read(f"key: {text}").data["key"]
    assert (found, type(found)) == (value, type(value))


def test_a_place_has_its_line_and_an_unknown_one_that_of_what_holds_it(read):
    document = read("a:\n  b:\n    - 1\n    - 2\n")
    assert document.where(("a", "b", 1)).endswith(":4")
    assert document.where(("a", "b", 7)).endswith(":2")
    assert document.say(("a", "c"), "no").endswith("a.c: no")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2", "given twice, on lines 1 and 2"),
        ("a: &x {b: *x}", "an alias that contains itself"),
        ("a: !!python/name:os.system", "tag .* is not read"),
        ("a: {<<: {b: 1}}", "merge keys"),
        ("a: .inf", "no usable number"),
        ("a: 1e999", "too large"),
        ("? [1]\n: 2", "a key should be a word"),
    ],
)
def test_what_yaml_allows_and_a_space_does_not_is_noted(read, text, words):
    document = read(text)
    assert re.search(words, document.mistakes[0][1])


def test_a_small_file_cannot_unfold_without_end(read):
    levels = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 7)]
    with pytest.raises(SpecError, match=f"more than {MOST_VALUES:,} values"):
        read("\n".join(levels))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), st.integers(-(10**17), 10**17))
def test_an_override_stands_where_its_path_says(keys, value):
    document = Document("test")
    override(document, f"{'.'.join(keys)}={value}", [])
    found = document.data
    for key in keys:
        found = found[key]
    assert found == value
    assert document.where(tuple(keys)) == f"--set {'.'.join(keys)}={value}"


def test_an_override_finds_items_of_lists_and_keys_with_dots():
    document = Document("test", {"list": [{"a": 1}, 2], "space": {"train.lr": {"low": 1}}})
    for text in ("list.0.a=5", "list.1=6", "space.train.lr.low=7", "space.base.x={kind: choice}"):
        override(document, text, ["base.x"])
    assert document.mistakes == []
    assert document.data["list"] == [{"a": 5}, 6]
    assert document.data["space"] == {"train.lr": {"low": 7}, "base.x": {"kind": "choice"}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("list.9=1", "'list' is a list of 2; count its items from 0"),
        ("list.x=1", "'list' is a list of 2"),
        ("list.1.a=1", "'list.1' is a value, nothing stands below it"),
        ("list", "write it as path=value"),
        ("list=[", "the value is not YAML"),
    ],
)
def test_an_override_that_leads_nowhere_changes_nothing_and_says_why(text, words):
    document = Document("test", {"list": [{"a": 1}, 2]})
    override(document, text, [])
    assert document.data == {"list": [{"a": 1}, 2]}
    assert words in document.mistakes[0][1]
