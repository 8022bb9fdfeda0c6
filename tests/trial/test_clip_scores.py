"""Every trial keeps what its network said of each clip, exactly, and files that are not such are refused."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from plastsearch.errors import DataError
from plastsearch.scores.clip_scores import keep_scores, read_clip_scores
from plastsearch.scores.metrics import eer
from plastsearch.trial.finalist import run_finalist
from tests.trial.conftest import MakeSettings, make_config


@dataclass
class Clips:
    ids: list[str] = field(default_factory=lambda: ["a b", 'c"d', "e\tf", "g"])
    speakers: list[str] = field(default_factory=lambda: ["s1", "-", "s 2", "s1"])
    attacks: list[str] = field(default_factory=lambda: ["-", "A01", "A 2", "-"])
    labels: list[int] = field(default_factory=lambda: [1, 0, 0, 1])


def test_what_is_kept_is_read_back_exactly(tmp_path) -> None:
    scores = np.array([0.1, -1 / 3, 1e-30, 123456.789], dtype=np.float32)
    path = keep_scores(tmp_path, "abc", "search_dev", Clips(), scores)
    found = read_clip_scores(path)
    assert path == tmp_path / "scores" / "abc.search_dev.tsv"
    assert (list(found.ids), found.speakers.tolist(), found.attacks.tolist()) == (
        Clips().ids, Clips().speakers, Clips().attacks,
    )  # fmt: skip
    assert found.is_bona.tolist() == [True, False, False, True]
    assert np.array_equal(found.scores.astype(np.float32), scores)
    assert list(path.parent.iterdir()) == [path]  # no draft is left


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not enough values"), ("clip\tscore\na\t1\n", "its lines are not clip, speaker"),
        ("clip\tspeaker\tattack\tlabel\tscore\na\ts\t-\tspoof\n", "its lines are not clip, speaker"),
        ("clip\tspeaker\tattack\tlabel\tscore\na\ts\t-\tmaybe\t1\n", "its lines are not clip, speaker"),
        ("clip\tspeaker\tattack\tlabel\tscore\na\ts\t-\tspoof\tnan\n", "a score is no finite number"),
        ("clip\tspeaker\tattack\tlabel\tscore\na\ts\t-\tspoof\tlow\n", "could not convert string to float"),
        (None, "No such file"),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_refused(tmp_path, text, words) -> None:
    path = tmp_path / "x.tsv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=rf"x.tsv: no scores of clips can be read there \(.*{words}"):
        read_clip_scores(path)


def test_a_column_that_is_too_short_leaves_no_file(tmp_path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        keep_scores(tmp_path, "abc", "search_dev", Clips(), [0.0])
    assert list((tmp_path / "scores").iterdir()) == []


def test_a_trial_keeps_the_scores_behind_its_error_rate(settings: MakeSettings) -> None:
    *_, final = run_finalist(make_config(), settings())
    assert list(final.details["scores"]) == ["search_dev", "evaluation"]
    for split, metric in (("search_dev", "dev_eer"), ("evaluation", "eval_eer")):
        path = settings().store / "scores" / f"{final.details['model_key']}.{split}.tsv"
        assert final.details["scores"][split] == str(path)
        found = read_clip_scores(path)
        assert eer(found.scores[found.is_bona], found.scores[~found.is_bona])[0] == final.metrics[metric]
        assert len(found.ids) == len(set(found.ids)) > 20
        assert len(np.unique(found.speakers)) > 2
