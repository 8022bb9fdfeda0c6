"""Generated corpora open like real ones, once for all processes; what can be checked beforehand is."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from plastsearch.data import sources
from plastsearch.data.cache import Decoder
from plastsearch.data.choice import check_data
from plastsearch.data.corpus import open_corpus, open_evaluation
from plastsearch.data.evaluation_key import issue
from plastsearch.data.sources import WHOLE, Source, generate
from plastsearch.errors import DataError
from plastsearch.spec.data import DataConfig, SearchDev
from plastsearch.synth.corpus import write_corpus

SCRIPT = """
import sys
from pathlib import Path
from plastsearch.data import sources
from plastsearch.data.corpus import open_corpus
from plastsearch.spec.data import DataConfig
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


def test_as_many_clips_are_bona_fide_as_is_asked_for(tmp_path):
    half = open_corpus(DataConfig(clips=20, bona_fide_share=0.5), tmp_path, workers=1)
    usual = open_corpus(DataConfig(clips=20), tmp_path, workers=1)
    assert [(len(clips), sum(clips.labels)) for clips in (half.train, half.search_dev)] == [(20, 10), (14, 7)]
    assert [(len(clips), sum(clips.labels)) for clips in (usual.train, usual.search_dev)] == [(20, 8), (14, 6)]
    assert half.fingerprint != usual.fingerprint


@pytest.mark.parametrize("layout", ["la", "pa", "for", "itw"])
def test_the_evaluation_split_is_written_when_it_is_asked_for_and_is_the_same(tmp_path, layout):
    source, decoder = Source("synthetic", seed=1, clips=12, speech_s=0.3), Decoder(tmp_path / "parts", 1)
    folder = generate(source, layout, decoder, evaluation=False)
    before = digests(folder)
    assert generate(source, layout, decoder) == folder
    after = digests(folder)
    assert before.items() <= after.items()
    assert len(after) - len(before) == {"la": 11, "pa": 19, "for": 11, "itw": 1}[layout]  # the mark of a whole one, too
    write_corpus(
        tmp_path / "whole", layout, 1, difficulty=0.5, length_s=(0.3, 0.3), train=12, dev=10, eval_=10
    )  # fmt: skip
    assert digests(tmp_path / "whole") == {name: text for name, text in after.items() if name != WHOLE}


def test_what_a_killed_process_left_of_the_evaluation_split_is_written_again(tmp_path, monkeypatch):
    source, decoder = Source("synthetic", clips=12), Decoder(tmp_path, 1)
    folder = generate(source, "la", decoder)
    before = digests(folder)
    (folder / WHOLE).unlink()
    clip = next((folder / "LA/ASVspoof2019_LA_eval/flac").iterdir())
    clip.write_bytes(clip.read_bytes()[:40])
    generate(source, "la", decoder)
    assert digests(folder) == before
    monkeypatch.setattr("plastsearch.synth.corpus.write_corpus", lambda *_, **__: pytest.fail("written again"))
    generate(source, "la", decoder)


def test_training_and_search_write_no_evaluation_clip(tmp_path):
    open_corpus(DataConfig(clips=12), tmp_path, workers=1)
    (folder,) = (tmp_path / "synthetic").glob("[!.]*")
    assert not list((folder / "LA/ASVspoof2019_LA_eval/flac").iterdir())
    assert open_evaluation(DataConfig(clips=12), tmp_path, issue("a test"), workers=1).labels.any()


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


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
