"""A large file is read by columns and says the same as line by line, whatever is in it, mistakes included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from plastsearch.errors import DataError
from plastsearch.scores import files, keys, large
from plastsearch.scores.files import joined, read_scores
from plastsearch.scores.keys import read_key
from plastsearch.scores.smooth import _below, _width, eer_smooth

NAMES = st.one_of(st.sampled_from(["u1", "u2", "u3", "ü4", "NA", "null", '"u5"', "u1\\", "u,1", "filename", ""]),
                  st.integers(0, 99).map(lambda n: f"LA_E_{n}"))  # fmt: skip
NUMBERS = st.one_of(st.floats(allow_nan=False, allow_infinity=False).map(repr), st.sampled_from(
    ["nan", "inf", "-inf", "1e400", "1e-400", "+1.5", "1_000", ".5", "5.", "0x10", "1,5", "1e5", "-0", "x", "١", ""]
))  # fmt: skip
BLANKS = st.sampled_from([" "] * 12 + ["\t", "  ", "\u00a0", "\x1c", " \t"])
ENDS = st.sampled_from(["\n"] * 12 + ["\r\n", "\n\n", " \n", "\r", "\x0b", "\x85"])
CLASSES = st.sampled_from(["bonafide"] * 4 + ["spoof"] * 4 + ["Real", "0", "maybe"])
ATTACKS = st.sampled_from(["-", "A07", "A08", "A19"])


@st.composite
def texts(draw, *columns):
    head = draw(st.sampled_from(["", "", "", "\ufeff", "filename cm-score\n", "filename\tcm-label\n", " "]))
    blank = draw(st.sampled_from([" ", "\t"]))
    lines = draw(st.lists(st.tuples(*columns), min_size=0, max_size=12))
    odd = draw(st.booleans())  # else few files would be read by columns
    rows = [(draw(BLANKS) if odd else blank).join(row) + (draw(ENDS) if odd else "\n") for row in lines]
    return head + "".join(rows).removesuffix(draw(st.sampled_from(["", "\n"])))


def said(read, path):
    try:
        found = read(path)
    except DataError as error:
        return str(error)
    key = found if isinstance(found, keys.Key) else found.key
    whole = (tuple(found.ids), tuple(found.lines), getattr(found, "values", np.zeros(0)).tobytes())
    return whole if key is None else (
        *whole, tuple(key.ids), key.is_bona.tolist(), key.attacks and tuple(key.attacks),
        key.speakers and tuple(key.speakers), frozenset(key.elsewhere),
    )  # fmt: skip


def agree(monkeypatch, path, text, read):
    path.write_text(text, newline="")
    slowly = said(read, path)
    with monkeypatch.context() as patch:
        for room in (files, keys):
            patch.setattr(room, "is_large", lambda path: True)
        assert said(read, path) == slowly


@settings(max_examples=150)
@given(st.one_of(texts(NAMES, NUMBERS), texts(NAMES, ATTACKS, CLASSES, NUMBERS)))
def test_scores_are_the_same_by_columns(tmp_path_factory, text):
    with pytest.MonkeyPatch.context() as patch:
        agree(patch, tmp_path_factory.mktemp("large") / "s.txt", text, read_scores)


_2019 = (ATTACKS, NAMES, st.just("-"), ATTACKS, CLASSES)
_2021 = (
    ATTACKS,
    NAMES,
    st.just("alaw"),
    st.just("x"),
    ATTACKS,
    CLASSES,
    st.just("notrim"),
    st.sampled_from(["eval", "hidden"]),
)


@settings(max_examples=150)
@given(st.one_of(texts(NAMES, CLASSES), texts(*_2019), texts(*_2021)), st.sampled_from([None, "hidden", "dev"]))
def test_keys_are_the_same_by_columns(tmp_path_factory, text, subset):
    with pytest.MonkeyPatch.context() as patch:
        agree(patch, tmp_path_factory.mktemp("large") / "k.txt", text, lambda path: read_key(path, subset))


@pytest.fixture
def a_million(tmp_path, monkeypatch):
    for room in (files, keys):
        monkeypatch.setattr(room, "is_large", lambda path: True)
    rng = np.random.default_rng(0)
    names = [f"LA_E_{n}" for n in range(200)]
    (tmp_path / "s.txt").write_text(
        "".join(f"{name} {value!r}\n" for name, value in zip(names, rng.random(200).tolist(), strict=True))
    )
    rows = [f"LA_{n % 9} {names[n]} - {'-' if n % 3 else 'A07'} {'bonafide' if n % 3 else 'spoof'}" for n in range(200)]
    return tmp_path, rows


def test_plain_files_are_indeed_read_by_columns(a_million):
    folder, rows = a_million
    (folder / "k.txt").write_text("\n".join(rows) + "\n")
    assert isinstance(read_scores(folder / "s.txt").ids, large.Words)
    assert isinstance(read_key(folder / "k.txt").ids, large.Words)


def test_scores_follow_a_key_of_another_order(a_million):
    folder, rows = a_million
    (folder / "k.txt").write_text("\n".join(rows[::-1]) + "\n")
    scores, key = read_scores(folder / "s.txt"), read_key(folder / "k.txt")
    assert joined(scores, key).tolist() == scores.values[::-1].tolist()


def test_what_does_not_match_is_named_with_its_line(a_million):
    folder, rows = a_million
    (folder / "k.txt").write_text("\n".join([*rows[:7], rows[7].replace("LA_E_7 ", "LA_E_700 "), *rows[8:]]) + "\n")
    with pytest.raises(DataError) as error:
        joined(read_scores(folder / "s.txt"), read_key(folder / "k.txt"))
    assert str(error.value).splitlines() == [
        f"{folder}/k.txt:8: LA_E_700 has no score in {folder}/s.txt",
        f"{folder}/s.txt:8: LA_E_7 is not in {folder}/k.txt",
    ]
    (folder / "k.txt").write_text("\n".join(rows[1:]) + "\n")
    with pytest.raises(DataError, match=r"s.txt:1: LA_E_0 is not in"):
        joined(read_scores(folder / "s.txt"), read_key(folder / "k.txt"))


def test_the_distribution_function_is_left_out_only_where_it_says_nothing():
    distance = np.concatenate([np.linspace(-60, 60, 20_001), [np.nextafter(-39, 0), np.nextafter(9, 0), 0.0]])
    assert _below(distance).tobytes() == ndtr(distance).tobytes()


def test_a_smoothed_rate_is_what_all_halvings_give():
    rng = np.random.default_rng(3)
    bona, spoof = rng.normal(1, 1, 300), rng.normal(-1, 1, 900)
    wide, narrow = _width(bona), _width(spoof)
    low, high = (
        min(bona.min() - 8 * wide, spoof.min() - 8 * narrow),
        max(bona.max() + 8 * wide, spoof.max() + 8 * narrow),
    )
    for _ in range(60):
        threshold = (low + high) / 2
        miss, alarm = float(ndtr((threshold - bona) / wide).mean()), float(ndtr((spoof - threshold) / narrow).mean())
        low, high = (threshold, high) if miss < alarm else (low, threshold)
    assert eer_smooth(bona, spoof) == 50.0 * (miss + alarm)
