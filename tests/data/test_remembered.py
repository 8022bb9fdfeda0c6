"""Of many trials in one process the first lists and hashes the files of its corpus; what has changed is seen."""

import pytest

from plastsearch.data import cache
from plastsearch.data.cache import Decoder
from plastsearch.data.corpus import Remembered, forget_corpora, open_corpus, open_evaluation
from plastsearch.data.evaluation_key import issue
from plastsearch.data.preparing import check_evaluation
from plastsearch.errors import DataError, EvaluationClosedError
from plastsearch.spec.data import DataConfig, SearchDev


@pytest.fixture
def data(la_tree):
    return DataConfig(corpus="asvspoof2019_la", root=str(la_tree))


@pytest.fixture
def looked_at(monkeypatch):
    """How many files were looked at so far."""
    seen = []
    present = cache.present
    monkeypatch.setattr(cache, "present", lambda manifest, table: seen.append(len(table)) or present(manifest, table))
    return lambda: sum(seen)


def test_the_second_trial_of_a_process_looks_at_no_file(data, tmp_path, looked_at):
    first = open_corpus(data, tmp_path / "cache")
    assert looked_at() == 16 + 12
    other = data.model_copy(update={"length_samples": 8000, "balance": "none", "crops": 3})
    assert open_corpus(other, tmp_path / "cache") is first
    assert looked_at() == 16 + 12
    forget_corpora()
    again = open_corpus(data, tmp_path / "cache")
    assert again is not first
    assert again.fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "change",
    [{"clips": 9}, {"seed": 1}, {"rate_hz": 8000}, {"storage": "float32"}, {"on_bad": "skip"},
     {"search_dev": SearchDev(policy="held_out_attacks", attacks=("A02",))}],
)  # fmt: skip
def test_whatever_chooses_other_clips_is_another_view(change, data, tmp_path):
    first = open_corpus(data, tmp_path / "cache")
    assert open_corpus(data.model_copy(update=change), tmp_path / "cache") is not first
    assert open_corpus(data, tmp_path / "other") is not first


def test_a_changed_corpus_or_cache_is_opened_anew(data, la_tree, tmp_path, protocol_of):
    open_corpus(data, tmp_path / "cache")
    (la_tree / "ASVspoof2019_LA_train/flac/LA_T_1003.flac").unlink()
    with pytest.raises(DataError, match="LA_T_1003: missing file"):
        open_corpus(data, tmp_path / "cache")
    lines = protocol_of(la_tree, "train").read_text().splitlines(keepends=True)
    protocol_of(la_tree, "train").write_text("".join(line for line in lines if "LA_T_1003" not in line))
    before = open_corpus(data, tmp_path / "cache")
    assert len(before.train) == 15
    for shard in (tmp_path / "cache").glob("clips/*train*/*.arrow"):
        shard.unlink()
    after = open_corpus(data, tmp_path / "cache")
    assert after is not before
    assert after.train.wave(0).any()


def test_a_kept_evaluation_split_is_as_closed_as_before(data, tmp_path, looked_at):
    clips = open_evaluation(data, tmp_path / "cache", issue("test"))
    looked = looked_at()
    assert open_evaluation(data, tmp_path / "cache", issue("test")) is clips
    assert looked_at() == looked
    with pytest.raises(EvaluationClosedError):
        open_evaluation(data, tmp_path / "cache", None)


def test_evaluation_clips_are_looked_at_once_and_damage_says_what_for(data, la_tree, tmp_path, looked_at):
    decoder = Decoder(tmp_path / "cache")
    check_evaluation(data, decoder)
    looked = looked_at()
    check_evaluation(data, decoder)
    assert looked_at() == looked
    (la_tree / "ASVspoof2019_LA_eval/flac/LA_E_1029.flac").unlink()
    with pytest.raises(DataError, match=r"looked at before training(.|\n)*LA_E_1029: missing file"):
        check_evaluation(data, decoder)


def test_an_evaluation_split_of_one_class_is_refused_ahead(data, la_tree, tmp_path):
    for path in sorted((la_tree / "ASVspoof2019_LA_eval/flac").iterdir())[::2]:  # every other one is bona fide
        path.unlink()
    with pytest.raises(DataError, match="not both classes are left in eval"):
        check_evaluation(data.model_copy(update={"on_bad": "skip"}), Decoder(tmp_path / "cache"))


def test_the_longest_unused_view_goes_first():
    kept, made = Remembered(2), []
    for name in "abacb":
        kept.get(name, lambda name=name: (made.append(name), [])[:1] + ([],))
    assert made == ["a", "b", "c", "b"]
