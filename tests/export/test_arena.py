"""Files for the arena: its lines, its error rate, its sheet, and what is not known left for its check to refuse."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
import yaml
from huggingface_hub.constants import ENDPOINT

from plastsearch.errors import PlastsearchError
from plastsearch.export.arena import Submission, answers_in, arena_eer, lacking, slug, write_arena

DATA_SET = "SpeechAntiSpoofingBenchmarks/ASVspoof2019_LA"
WHOLE = """
system: {name: Grown One, code: "https://example.org/code", params_millions: 0.04}
submitter: {hf_username: somebody, contact: somebody@example.org}
dataset: {revision: 151aa4c6}
artifact: {commit: 0123abc}
notes: as a test
"""


def submission(**changes):
    return Submission("smoke:1", DATA_SET, "somebody/detector", "a grnn", **changes)


def test_scores_and_sheet_lie_where_their_repositories_want_them(tmp_path):
    scores, sheet = write_arena(
        tmp_path, submission(eer=12.5, parameters=41_362), ["A_1", "A_2"], np.array([0.25, -1.5])
    )
    assert scores == tmp_path / ".eval_results" / DATA_SET / "scores.txt"
    assert scores.read_text() == "A_1 0.25\nA_2 -1.5\n"
    assert sheet == tmp_path / "submissions" / "smoke-1.yaml"
    said = yaml.safe_load(sheet.read_text())
    assert said["schema_version"] == 4
    assert said["artifact"]["scores_sha256"] == hashlib.sha256(scores.read_bytes()).hexdigest()
    assert said["scores"] == {"eer_percent": 12.5, "n_trials": 2, "n_skipped": 0}
    assert said["system"]["params_millions"] == 0.041362
    assert lacking(said) == ["system.code", "dataset.revision", "submitter.contact", "artifact.scores_url"]
    assert "# 2. Fill in: system.code, dataset.revision, submitter.contact, artifact.scores_url." in sheet.read_text()


def test_a_persons_answers_make_it_whole(tmp_path):
    (tmp_path / "meta.yaml").write_text(WHOLE)
    answers = answers_in(tmp_path / "meta.yaml")
    _, sheet = write_arena(tmp_path, submission(eer=1.0, answers=answers), ["A"], np.array([1.0]))
    said = yaml.safe_load(sheet.read_text())
    assert lacking(said) == []
    assert sheet.name == "grown-one.yaml"
    assert "Fill in" not in sheet.read_text()
    assert said["artifact"]["scores_url"] == (
        f"{ENDPOINT}/somebody/detector/resolve/0123abc/.eval_results/{DATA_SET}/scores.txt"
    )
    assert set(said["artifact"]) == {"scores_url", "scores_sha256", "bench_version"}
    assert said["system"]["name"] == "Grown One"
    assert said["notes"] == "as a test"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a list", "sections are wanted: system, submitter"),
        ("systen: {}", "systen: unknown section; known: system"),
        ("system: {nmae: x}", "system.nmae: unknown field; known: name"),
        ("system: yes", "system: fields are wanted: name"),
        ("artifact: {commit: main}", "'main' is no hash of a commit"),
        ("a: [", "no YAML"),
    ],
)
def test_answers_that_no_sheet_has_are_refused(tmp_path, text, said):
    (tmp_path / "meta.yaml").write_text(text)
    with pytest.raises(PlastsearchError, match=said):
        answers_in(tmp_path / "meta.yaml")


def crossing(scores, is_bona):
    """The same by counting at each threshold, and a line through the two rates around the crossing."""
    bona, spoof = scores[is_bona], scores[~is_bona]
    points = [(np.mean(spoof >= t), np.mean(bona < t)) for t in sorted(set(scores))]
    for (alarm, miss), (alarm_2, miss_2) in pairwise(points):
        if np.sign(alarm - miss) != np.sign(alarm_2 - miss_2):
            share = (alarm - miss) / ((alarm - miss) - (alarm_2 - miss_2))
            return 50 * (alarm + share * (alarm_2 - alarm) + miss + share * (miss_2 - miss))
    nearest = min(points, key=lambda point: abs(point[0] - point[1]))
    return 50 * sum(nearest)


@pytest.mark.parametrize("seed", range(20))
def test_the_error_rate_is_the_arenas(seed):
    draws = np.random.default_rng(seed)
    is_bona = draws.random(60) < 0.3
    is_bona[:2] = (True, False)
    scores = draws.standard_normal(60) + 1.2 * is_bona
    if seed % 2:
        scores = scores.round(1)  # ties
    assert arena_eer(scores, is_bona) == pytest.approx(crossing(scores, is_bona), abs=1e-9)


def test_names_that_the_hub_or_a_line_cannot_hold_are_refused(tmp_path):
    with pytest.raises(PlastsearchError, match="'here' is no data set on the hub: give organisation/name"):
        write_arena(tmp_path, Submission("a", "here", "b/c", ""), [], np.array([]))
    with pytest.raises(PlastsearchError, match="clip 'a b': the arena's score files part name and score by a space"):
        write_arena(tmp_path, submission(), ["a b"], np.array([1.0]))
    with pytest.raises(PlastsearchError, match="a system's name needs letters or digits"):
        slug("…")
    assert list(tmp_path.iterdir()) == []
