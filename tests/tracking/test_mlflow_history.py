"""Earlier sweeps read back from MLflow: what the folder says, without finalists' scores; trouble in a sentence."""

import pytest

from plastsearch.errors import PlastsearchError, SpecError
from plastsearch.search.space import open_space
from plastsearch.search.warm_start import learn
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.mlflow_history import parts, record_of, sweeps_of
from plastsearch.tracking.mlflow_sync import sync
from tests.made_sweep import WRITTEN, make_sweep


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """Two sweeps of one space in one store: the address, and the folders they were mirrored from."""
    root = tmp_path_factory.mktemp("mirrored")
    uri = f"sqlite:///{root / 'mlflow.db'}"
    folders = [make_sweep(root / name, search=6, seed=seed, seeds=(1,)) for seed, name in enumerate(("one", "two"))]
    for folder in folders:
        sync(folder, uri)
    return uri, folders


def taught(*sources):
    one = SweepSpec.model_validate({**WRITTEN, "search": {"warm_start": [str(source) for source in sources]}})
    return learn(one, open_space(one))


@pytest.mark.slow  # tables of a fresh store take seconds to make
def test_an_experiment_teaches_what_its_folders_teach(mirrored):
    uri, folders = mirrored
    there = taught(f"mlflow:{uri}#w2v_layers")
    here = taught(*folders)
    assert [sweep.name for sweep in there.sweeps] == ["w2v_layers/one", "w2v_layers/two"]
    assert [sweep.trials for sweep in there.sweeps] == [sweep.trials for sweep in here.sweeps]
    assert [one.params for one in there.openings] == [one.params for one in here.openings]


@pytest.mark.slow  # tables of a fresh store take seconds to make
def test_finalists_scores_stay_there(mirrored, monkeypatch):
    uri, _ = mirrored
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for _, records in sweeps_of("mlflow:w2v_layers"):
        assert {record.role for record in records} == {"search", "control", "finalist"}
        assert not [name for record in records for name in record.metrics if name.startswith("eval_")]


@pytest.mark.slow  # tables of a fresh store take seconds to make
def test_trouble_is_told(mirrored, tmp_path, monkeypatch):
    uri, _ = mirrored
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SpecError, match=r"search.warm_start.0: .* has no experiment 'w2v_layer'"):
        taught(f"mlflow:{uri}#w2v_layer")
    with pytest.raises(PlastsearchError, match="no trials of plastsearch in that experiment"):
        sweeps_of(f"mlflow:{uri}#Default")
    with pytest.raises(PlastsearchError, match="no such file; MLflow would make an empty one"):
        sweeps_of(f"mlflow:sqlite:///{tmp_path}/none.db#x")
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(PlastsearchError, match=r"which server\?"):
        sweeps_of("mlflow:w2v_layers")
    (tmp_path / "junk.db").write_text("no database" * 100)
    with pytest.raises(PlastsearchError, match=r"junk.db cannot be read \("):
        sweeps_of(f"mlflow:sqlite:///{tmp_path}/junk.db#x")


def test_a_login_is_neither_kept_nor_shown():
    with pytest.raises(PlastsearchError, match="put the address into MLFLOW_TRACKING_URI") as refused:
        parts("mlflow:http://me:secret@tracking:5000#old")
    assert "secret" not in str(refused.value)
    assert parts("mlflow:http://tracking:5000#old") == ("http://tracking:5000", "old")


def test_a_run_that_cannot_teach_is_left_out():
    """One that has not ended, and one whose configuration was longer than a tag may be."""
    tags = {"plastsearch.state": "done", "plastsearch.config": '{"seed": 3}', "plastsearch.trial": "4"}
    tags |= {"plastsearch.config_id": "abc", "plastsearch.role": "replicate", "plastsearch.of": "2"}
    found = record_of(tags, {"dev_eer": 7.0, "dev/eer": 8.0, "eval_eer": 9.0})
    assert found is not None
    assert (found.number, found.of, found.seed, found.metrics) == (4, 2, 3, {"dev_eer": 7.0})
    assert record_of(tags | {"plastsearch.config": '{"seed": 3, "lay'}, {}) is None
    assert record_of({key: tag for key, tag in tags.items() if key != "plastsearch.state"}, {}) is None
