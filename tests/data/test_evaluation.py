"""Nothing but the finalists step opens the evaluation split: this file tries."""

import ast
import copy
import pickle
import types
from pathlib import Path

import pytest

import plastsearch
from plastsearch.data import evaluation
from plastsearch.data.cache import Decoder
from plastsearch.data.clips import ClipSet
from plastsearch.data.corpora import read_corpus
from plastsearch.data.corpus import open_corpus, open_evaluation
from plastsearch.data.decoded import decode_rows, pool_of
from plastsearch.data.evaluation import KEEPER, KEEPER_FILE, EvaluationKey
from plastsearch.data.preparing import prepare_evaluation
from plastsearch.errors import DataError, EvaluationClosedError
from plastsearch.spec.config import DataConfig, SearchDev

PACKAGE = Path(plastsearch.__file__).parent


@pytest.fixture
def data(la_tree):
    return DataConfig(corpus="asvspoof2019_la", root=str(la_tree))


def genuine_key() -> EvaluationKey:
    """A key as finalist.py makes it: code of that module and that file."""
    module = types.ModuleType(KEEPER)
    module.EvaluationKey = EvaluationKey
    code = compile("def make():\n    return EvaluationKey('test')\n", str(KEEPER_FILE), "exec")
    eval(code, module.__dict__)  # noqa: S307 - the one forgery that only reading the code can prevent
    return module.make()


def test_the_holder_of_a_key_gets_the_whole_split(data, tmp_path):
    clips = open_evaluation(data, tmp_path / "cache", genuine_key())
    assert (len(clips), clips.split, clips.bad_clips) == (8, "eval", 0)
    assert set(clips.attacks) == {"-", "A07"}


def test_a_key_cannot_be_made_copied_pickled_or_subclassed(data, tmp_path):
    with pytest.raises(EvaluationClosedError, match="asked for an evaluation key, but the evaluation split is"):
        EvaluationKey("please")
    key = genuine_key()
    for forge in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(EvaluationClosedError):
            forge(key)
    with pytest.raises(EvaluationClosedError):
        type("Mine", (EvaluationKey,), {})


def test_forged_keys_open_nothing(data, tmp_path):
    unborn = object.__new__(EvaluationKey)

    class Impostor:
        purpose = "test"

    Impostor.__name__ = "EvaluationKey"
    for key in (None, True, "key", unborn, Impostor()):
        with pytest.raises(EvaluationClosedError, match="without a valid key"):
            open_evaluation(data, tmp_path / "cache", key)


def test_a_module_that_takes_the_keepers_name_is_refused():
    module = types.ModuleType(KEEPER)
    module.EvaluationKey = EvaluationKey
    with pytest.raises(EvaluationClosedError):
        eval("EvaluationKey('x')", module.__dict__)  # noqa: S307


def test_the_parts_underneath_are_locked_too(data, la_tree, tmp_path):
    manifest = read_corpus("asvspoof2019_la", la_tree)
    pool = pool_of(manifest, "eval", 16_000, "int16")
    table, keys, index = decode_rows(manifest, "eval", manifest.splits["eval"], pool, Decoder(tmp_path / "cache", 1))
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


def test_only_the_keeper_and_the_lock_speak_of_keys():
    """Read the code: who makes a key or takes the list of issued ones."""
    makers = []
    for path in PACKAGE.rglob("*.py"):
        if path == Path(evaluation.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = (isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", ""))) or ""
            named = getattr(node, "id", getattr(node, "attr", ""))
            if called in ("EvaluationKey", "open_evaluation") or named in ("_issued", "KEEPER", "KEEPER_FILE"):
                makers.append(path)
    assert set(makers) == {KEEPER_FILE}


def test_evaluation_audio_that_was_trained_on_is_found(data, la_tree, tmp_path):
    stolen = (la_tree / "ASVspoof2019_LA_train/flac/LA_T_1001.flac").read_bytes()
    (la_tree / "ASVspoof2019_LA_eval/flac/LA_E_1029.flac").write_bytes(stolen)
    open_corpus(data, tmp_path / "cache")
    with pytest.raises(DataError, match="LA_E_1029: same audio in two splits: also in train"):
        open_evaluation(data, tmp_path / "cache", genuine_key())
    skipping = data.model_copy(update={"on_bad": "skip"})
    clips = open_evaluation(skipping, tmp_path / "cache", genuine_key())
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
