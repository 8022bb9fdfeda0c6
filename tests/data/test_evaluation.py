"""Nothing but the finalists step opens the evaluation split: this file tries."""

import ast
import copy
import gc
import pickle
from pathlib import Path

import pytest

import plastsearch
from plastsearch.data import evaluation
from plastsearch.data.cache import Decoder, decode_rows, shards_of
from plastsearch.data.clips import ClipSet
from plastsearch.data.corpora import read_corpus
from plastsearch.data.corpus import open_corpus, open_evaluation, verifier_scores
from plastsearch.data.evaluation import EvaluationKey, require
from plastsearch.data.evaluation_key import issue
from plastsearch.data.preparing import prepare_evaluation
from plastsearch.errors import DataError, EvaluationClosedError
from plastsearch.spec.data import DataConfig, SearchDev

PACKAGE = Path(plastsearch.__file__).parent


@pytest.fixture
def data(la_tree):
    return DataConfig(corpus="asvspoof2019_la", root=str(la_tree))


def test_the_holder_of_a_key_gets_the_whole_split(data, tmp_path):
    clips = open_evaluation(data, tmp_path / "cache", issue("test"))
    assert (len(clips), clips.split, clips.bad_clips) == (8, "eval", 0)
    assert set(clips.attacks) == {"-", "A07"}


def test_without_a_key_nothing_opens(data, tmp_path):
    with pytest.raises(TypeError):
        open_evaluation(data, tmp_path / "cache")
    with pytest.raises(EvaluationClosedError, match="without a valid key, but the evaluation split is opened once"):
        open_evaluation(data, tmp_path / "cache", None)
    with pytest.raises(EvaluationClosedError, match="without a valid key"):
        verifier_scores(data, tmp_path / "cache", None)
    assert not list(tmp_path.glob("cache/clips/*eval*"))  # not a clip was decoded


def test_a_key_cannot_be_made_copied_pickled_or_subclassed():
    with pytest.raises(EvaluationClosedError, match="an evaluation key was asked for, but the evaluation split is"):
        EvaluationKey()
    key = issue("test")
    for forge in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(EvaluationClosedError):
            forge(key)
    with pytest.raises(EvaluationClosedError):
        type("Mine", (EvaluationKey,), {})


def test_forged_keys_open_nothing(data, tmp_path):
    unissued = object.__new__(EvaluationKey)
    unissued.purpose = issue("test").purpose

    class Impostor:
        purpose = "test"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash(genuine)

    genuine = issue("test")
    Impostor.__name__ = "EvaluationKey"
    for key in (None, True, "key", unissued, Impostor()):
        with pytest.raises(EvaluationClosedError, match="without a valid key"):
            open_evaluation(data, tmp_path / "cache", key)


def test_a_key_that_nobody_holds_any_more_is_gone():
    key = issue("test")
    require("eval", key)
    del key
    gc.collect()
    assert not evaluation._issued


def test_the_parts_underneath_are_locked_too(data, la_tree, tmp_path):
    manifest = read_corpus("asvspoof2019_la", la_tree)
    shards = shards_of(manifest, "eval", 16_000, "int16")
    table, keys, index = decode_rows(manifest, "eval", manifest.splits["eval"], shards, Decoder(tmp_path / "cache", 1))
    with pytest.raises(EvaluationClosedError):  # `data prepare` may decode it; where the samples lie stays closed
        index.locate(keys)
    with pytest.raises(EvaluationClosedError):
        ClipSet("eval", table, None, 16_000, "int16")


def test_the_search_cannot_ask_for_it_by_configuration(data, la_tree, tmp_path):
    view = open_corpus(data, tmp_path / "cache")
    assert not any(name.startswith("LA_E") for name in [*view.train.ids, *view.search_dev.ids])
    held = SearchDev(policy="held_out_attacks", attacks=("A07",))  # an attack of the evaluation split
    with pytest.raises(DataError, match=r"no dev clip of asvspoof2019_la has attack A07"):
        open_corpus(data.model_copy(update={"search_dev": held}), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("clips/*eval*"))


def test_only_the_finalists_step_speaks_of_making_keys():
    """Read the code, also for what an import contract cannot see: imports by a string, and the list of issued keys."""
    words = {"evaluation_key": "issues", "_issued": "lists", "open_evaluation": "opens"}
    found = {word: set() for word in words}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            texts = [getattr(node, name, None) for name in ("id", "attr", "name", "module")]
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
                texts.append(node.value)
            for word in words:
                if any(isinstance(text, str) and word in text for text in texts):
                    found[word].add(str(path.relative_to(PACKAGE)))
    assert found["evaluation_key"] == {"trial/finalist.py"}
    assert found["_issued"] == {"data/evaluation.py", "data/evaluation_key.py"}
    assert found["open_evaluation"] == {"data/corpus.py", "trial/finalist.py"}


def test_evaluation_audio_that_was_trained_on_is_found(data, la_tree, tmp_path):
    stolen = (la_tree / "ASVspoof2019_LA_train/flac/LA_T_1001.flac").read_bytes()
    (la_tree / "ASVspoof2019_LA_eval/flac/LA_E_1029.flac").write_bytes(stolen)
    open_corpus(data, tmp_path / "cache")
    with pytest.raises(DataError, match="LA_E_1029: same audio in two splits: also in train"):
        open_evaluation(data, tmp_path / "cache", issue("test"))
    skipping = data.model_copy(update={"on_bad": "skip"})
    clips = open_evaluation(skipping, tmp_path / "cache", issue("test"))
    assert (len(clips), clips.bad_clips) == (7, 1)


def test_preparing_ahead_finds_what_the_finalists_would_stumble_over(data, la_tree, tmp_path):
    decoder = Decoder(tmp_path / "cache")
    open_corpus(data, decoder.cache)
    assert prepare_evaluation(data, decoder) == 0
    stolen = (la_tree / "ASVspoof2019_LA_train/flac/LA_T_1001.flac").read_bytes()
    (la_tree / "ASVspoof2019_LA_eval/flac/LA_E_1029.flac").write_bytes(stolen)
    (la_tree / "ASVspoof2019_LA_eval/flac/LA_E_1031.flac").write_bytes(stolen[:700])
    with pytest.raises(DataError, match=r"2 clip\(s\)(.|\n)*LA_E_1031.*\n.*LA_E_1029: same audio in two splits"):
        prepare_evaluation(data, decoder)
    assert prepare_evaluation(data.model_copy(update={"on_bad": "skip"}), decoder) == 2
