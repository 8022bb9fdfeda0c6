"""Generated corpora open like real ones, once for all processes; what can be checked beforehand is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from plastsearch.data import sources
from plastsearch.data.choice import check_data
from plastsearch.data.corpus import open_corpus
from plastsearch.errors import DataError
from plastsearch.spec.config import DataConfig, SearchDev

SCRIPT = """
import sys
from pathlib import Path
from plastsearch.data import sources
from plastsearch.data.corpus import open_corpus
from plastsearch.spec.config import DataConfig
sources.FEWEST_TO_SCORE, sources.WORTH_A_CHILD = 8, 10
print(open_corpus(DataConfig(clips=12), Path(sys.argv[1]), workers=2).fingerprint)
"""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(sources, "FEWEST_TO_SCORE", 10)


@pytest.mark.parametrize("layout", ["la", "pa", "for", "itw"])
def test_every_layout_of_the_generated_corpus_opens(tmp_path, layout):
    view = open_corpus(DataConfig(variant=layout, clips=12), tmp_path, workers=1)
    whole = len(view.train) + len(view.search_dev)
    assert whole == 22 if layout != "itw" else 12 <= whole <= 32
    for clips in (view.train, view.search_dev):
        assert 0 < clips.labels.mean() < 1
        assert np.isfinite(clips.batch(np.arange(len(clips)), 8000)).all()
    assert view.bad_clips == 0
    if layout in ("la", "pa"):
        assert not set(view.train.speakers) & set(view.search_dev.speakers)


def test_the_same_parameters_are_written_once(tmp_path, monkeypatch):
    first = open_corpus(DataConfig(clips=12), tmp_path, workers=1)
    monkeypatch.setattr("plastsearch.synth.corpus.write_corpus", lambda *_, **__: pytest.fail("written again"))
    assert open_corpus(DataConfig(clips=12), tmp_path).fingerprint == first.fingerprint
    assert len(list((tmp_path / "synthetic").glob("[!.]*"))) == 1


@pytest.mark.slow
def test_a_script_without_a_main_guard_may_open_it_with_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    runs = [
        subprocess.Popen([sys.executable, str(script), str(tmp_path / "cache")], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = {run.communicate(timeout=120)[0] for run in runs}
    assert len(said) == 1
    assert said != {""}


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"unknown `data\.variant` 'xy'; known layouts: la, pa, for, itw"):
        open_corpus(DataConfig(variant="xy"), tmp_path)
    with pytest.raises(DataError, match="known layouts"):
        check_data(DataConfig(variant="xy"))


def test_checking_reads_no_audio(la_tree, monkeypatch):
    monkeypatch.setattr("plastsearch.data.shards.decode", lambda *_: pytest.fail("decoded"))
    data = DataConfig(corpus="asvspoof2019_la", root=str(la_tree))
    check_data(data, evaluation=True)
    flac = la_tree / "ASVspoof2019_LA_eval/flac/LA_E_1029.flac"
    flac.unlink()
    check_data(data)
    with pytest.raises(DataError, match=f"LA_E_1029: missing file: {flac}"):
        check_data(data, evaluation=True)
    with pytest.raises(DataError, match="has attack A33; known: A01, A02"):
        check_data(data.model_copy(update={"search_dev": SearchDev(policy="held_out_attacks", attacks=("A33",))}))
    with pytest.raises(DataError, match=r"\(--root\) is missing; it names the folder"):
        check_data(DataConfig(corpus="asvspoof2019_la"))
    with pytest.raises(DataError, match="unknown augmentation 'codek'; known: rawboost1"):
        check_data(data.model_copy(update={"augment": ("codek",)}))
    with pytest.raises(DataError, match="nowhere: no such folder of recordings"):
        check_data(data.model_copy(update={"augment": ("noise:nowhere",)}))


def test_checking_writes_nothing(tmp_path, monkeypatch, la_tree):
    monkeypatch.chdir(tmp_path)
    before = sorted(Path().rglob("*"))
    check_data(DataConfig(corpus="asvspoof2019_la", root=str(la_tree)))
    check_data(DataConfig())
    assert sorted(Path().rglob("*")) == before
