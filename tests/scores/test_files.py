"""Score files go out and come back digit for digit; keys of every edition are read; mismatches name file and line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plastsearch.errors import DataError
from plastsearch.scores.files import joined, judge, read_scores, write_scores
from plastsearch.scores.keys import read_key, read_verifier
from plastsearch.scores.metrics import eer

IDS = ["u1", "u2", "u3", "u4"]
VALUES = [1.25, -3.5, 1 / 3, -2e-9]
BONA = [True, False, True, False]
ATTACKS = ["-", "A07", "-", "A08"]
LINES = {
    "2019": "LA_0001 {} - {} {}",
    "2019pa": "PA_0001 {} aaa {} {}",
    "2021la": "LA_0001 {} alaw ita_tx {} {} notrim eval",
    "2021df": "LA_0001 {} nocodec asvspoof {} {} notrim eval vocoder - - - -",
    "2021pa": "PA_0001 {} R1 M1 d1 r1 m1 s1 {} {} notrim eval",
    "5": "T_0001 {} F - - - AC3 {} {} -",
}


def protocol(folder, layout, rows=None):
    path = folder / f"{layout}.txt"
    rows = rows or zip(IDS, ATTACKS, ["bonafide" if bona else "spoof" for bona in BONA], strict=True)
    path.write_text("".join(LINES[layout].format(*row) + "\n" for row in rows))
    return path


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9), st.sampled_from(["2021", "5"])
)
def test_what_is_written_is_read_back_exactly(tmp_path_factory, values, edition):
    path = tmp_path_factory.mktemp("scores") / "scores.txt"
    ids = [f"clip{n}" for n in range(len(values))]
    write_scores(path, ids, values, edition)
    back = read_scores(path)
    assert back.ids == tuple(ids)
    assert back.values.tolist() == values


def test_a_2019_file_brings_its_key(tmp_path):
    write_scores(tmp_path / "s.txt", IDS, VALUES, "2019", BONA, ATTACKS)
    assert (tmp_path / "s.txt").read_text().splitlines()[1] == "u2 A07 spoof -3.5"
    found = judge(read_scores(tmp_path / "s.txt"), None, replicates=5)
    assert found.summary.eer == 0
    assert found.summary.per_attack == {"A07": 0, "A08": 0}


@pytest.mark.parametrize("layout", list(LINES))
def test_keys_of_every_edition(tmp_path, layout):
    key = read_key(protocol(tmp_path, layout))
    assert key.ids == tuple(IDS)
    assert key.is_bona.tolist() == BONA
    assert key.attacks is None if layout == "2021pa" else key.attacks == ("-", "A07", "-", "A08")
    assert key.lines == (1, 2, 3, 4)


def test_a_key_below_a_header(tmp_path):
    (tmp_path / "key.tsv").write_text("filename\tcm-label\nu1\tbonafide\nu2\tspoof\n")
    key = read_key(tmp_path / "key.tsv")
    assert key.ids == ("u1", "u2")
    assert key.is_bona.tolist() == [True, False]


def test_scores_follow_the_keys_order(tmp_path):
    write_scores(tmp_path / "s.txt", IDS[::-1], VALUES[::-1])
    assert joined(read_scores(tmp_path / "s.txt"), read_key(protocol(tmp_path, "2019"))).tolist() == VALUES


def test_subsets_of_2021(tmp_path):
    path = protocol(tmp_path, "2021la")
    path.write_text(path.read_text() + "LA_0001 u5 alaw ita_tx A09 spoof notrim hidden\n")
    write_scores(tmp_path / "s.txt", [*IDS, "u5"], [*VALUES, 9.0])
    scores = read_scores(tmp_path / "s.txt")
    assert judge(scores, read_key(path), replicates=0).summary.n_spoof == 2  # eval alone
    with pytest.raises(DataError, match="no bona fide scores"):
        judge(scores, read_key(path, "hidden"))
    with pytest.raises(DataError, match="no clip is of subset 'dev'; it has eval, hidden"):
        read_key(path, "dev")
    with pytest.raises(DataError, match="leave out --subset"):
        read_key(protocol(tmp_path, "2019"), "eval")


def test_mismatched_rows_are_named_with_file_and_line(tmp_path):
    write_scores(tmp_path / "s.txt", ["u1", "u2", "x9", "u4"], VALUES)
    with pytest.raises(DataError) as error:
        joined(read_scores(tmp_path / "s.txt"), read_key(protocol(tmp_path, "2019")))
    assert str(error.value).splitlines() == [
        f"{tmp_path}/2019.txt:3: u3 has no score in {tmp_path}/s.txt",
        f"{tmp_path}/s.txt:3: x9 is not in {tmp_path}/2019.txt",
    ]


def test_the_protocol_of_another_split_is_recognised(tmp_path):
    write_scores(tmp_path / "s.txt", ["x1", "x2"], VALUES[:2])
    with pytest.raises(DataError, match=r"none of the 4 clips of .* \(the first is u1\) has a score .*first is x1"):
        joined(read_scores(tmp_path / "s.txt"), read_key(protocol(tmp_path, "2019")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no scores in it; expected lines like `LA_E_2834763 -1.25`"),
        ("u1 1.0\nu2 many\nu1 2\nu3\nu4 nan\n", "s.txt:4: 1 columns instead of 2"),
        ("u1 1.0\nu2 many\n", "s.txt:2: 'many' is not a number"),
        ("u1 1.0\nu2 2\nu1 3\n", "s.txt:3: u1 stands already in line 1"),
        ("u1 1.0\nu2 inf\n", "s.txt:2: the score is inf"),
        ("u1 A07 maybe 1.0\n", "'maybe' in column 3 is not bonafide or spoof"),
        ("a b c d e f\n", "s.txt:1: 6 columns; a score file has 2"),
        ("".join(f"u{n} x\n" for n in range(9)), "… and 4 more such mistakes"),
    ],
)
def test_broken_score_files_say_where(tmp_path, text, words):
    (tmp_path / "s.txt").write_text(text)
    with pytest.raises(DataError) as error:
        read_scores(tmp_path / "s.txt")
    assert words in str(error.value)


def test_files_that_are_no_files(tmp_path):
    (tmp_path / "junk").write_bytes(b"\xff\xfe\x00\x81" * 40)
    for path, words in [("none.txt", "no such file"), (".", "is a folder"), ("junk", "not text")]:
        with pytest.raises(DataError, match=words):
            read_scores(tmp_path / path)
    with pytest.raises(DataError, match="known have 5"):
        read_key(tmp_path / protocol_of_six(tmp_path))


def protocol_of_six(folder):
    (folder / "six.txt").write_text("a b c d e f\n")
    return "six.txt"


def test_a_plain_score_file_needs_its_protocol(tmp_path):
    write_scores(tmp_path / "s.txt", IDS, VALUES)
    with pytest.raises(DataError, match="--protocol"):
        judge(read_scores(tmp_path / "s.txt"), None)


def test_swapped_and_hard_scores_are_warned_of(tmp_path):
    ids = [f"u{n}" for n in range(40)]
    bona = [n % 2 == 0 for n in range(40)]
    scores = np.where(bona, -1.0, 1.0) * np.arange(1, 41)
    write_scores(tmp_path / "s.txt", ids, scores, "2019", bona, ["-" if one else "A01" for one in bona])
    found = judge(read_scores(tmp_path / "s.txt"), None, replicates=0)
    assert found.summary.eer == 100
    assert "negated scores have an EER of 0.00 %" in found.warnings[0]
    write_scores(tmp_path / "s.txt", ids, np.sign(-scores), "2019", bona, ["-" if one else "A01" for one in bona])
    assert "only 2 different scores" in judge(read_scores(tmp_path / "s.txt"), None, replicates=0).warnings[0]


def test_verifier_scores_of_2019_and_2021_agree(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(kind, value) for kind, mean in (("target", 4), ("nontarget", -4), ("spoof", 1))
            for value in rng.normal(mean, 2, 40).tolist()]  # fmt: skip
    (tmp_path / "2019").write_text("".join(f"A07 {kind} {value!r}\n" for kind, value in rows))
    (tmp_path / "score").write_text("".join(f"LA_1 u{n} {value!r}\n" for n, (_, value) in enumerate(rows)))
    (tmp_path / "key").write_text(
        "".join(f"LA_1 u{n} alaw ita_tx - {kind} notrim eval\n" for n, (kind, _) in enumerate(rows))
    )
    assert read_verifier(tmp_path / "2019") == read_verifier(tmp_path / "score", tmp_path / "key")
    (tmp_path / "key").write_text("LA_1 u1 alaw ita_tx - target notrim eval\n")
    with pytest.raises(DataError, match="1 rows for 120 verifier scores"):
        read_verifier(tmp_path / "score", tmp_path / "key")
    (tmp_path / "2019").write_text("A07 spoof 1.0\n-  nontarget -1.0\n")
    with pytest.raises(DataError, match="2019: no target trials of the verifier; its error rates need target, nont"):
        read_verifier(tmp_path / "2019")


def test_judging_equals_the_metrics(tmp_path):
    rng = np.random.default_rng(1)
    ids, bona = [f"u{n}" for n in range(200)], rng.random(200) < 0.3
    values = rng.normal(2.0 * bona, 1)
    rows = [(name, "-" if one else "A07", "bonafide" if one else "spoof") for name, one in zip(ids, bona, strict=True)]
    write_scores(tmp_path / "s.txt", ids, values)
    found = judge(read_scores(tmp_path / "s.txt"), read_key(protocol(tmp_path, "2019", rows)), replicates=20)
    assert found.summary.eer == eer(values[bona], values[~bona])[0]
    assert found.summary.interval_over == "clips"  # one speaker says nothing about speakers
