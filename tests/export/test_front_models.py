"""The models of a front in MLflow: each once, the best one registered, and nothing new a second time."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from plastsearch import load_model
from plastsearch.analysis.results import load_results
from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.export import front_models
from plastsearch.export.front_models import log_front
from plastsearch.tracking.mlflow_store import open_store
from plastsearch.tracking.mlflow_sync import sync, trial_runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore::Warning")]  # mlflow's own


def test_front_members_are_logged_once_and_the_best_is_the_champion(found_root, tmp_path, monkeypatch):
    address = f"sqlite:///{tmp_path}/kept/mlflow.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = found_root / "grnn"
    results = load_results(folder)
    winner = results.winner
    members = sorted({row.number for row in results.front} | {winner.number})
    done = CliRunner().invoke(
        app, ["sync", str(folder), "--mlflow", address, "--no-figures", "--register", "spoofs", "--json"]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["models"]
    assert [one["trial"] for one in found] == members
    assert all("its model was logged" in one["said"] for one in found)
    (champion,) = [one for one in found if "models:/spoofs@champion" in one["names"]]
    assert champion["trial"] == winner.number
    client = open_store(address)
    for number, run in trial_runs(folder, address).items():
        outputs = client.get_run(run).outputs
        assert len(outputs.model_outputs if outputs else []) == (number in members)
    again = log_front(folder, address, "spoofs", "champion")
    assert all("there already" in one.said for one in again)
    assert [one.said for one in again if one.trial == winner.number] == [
        "its model was there already; registered before as spoofs version 1, alias champion"
    ]
    assert len(client.search_model_versions("name = 'spoofs'")) == 1
    sync(folder, address)  # which leaves models where they are
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    model, known = load_model("models:/spoofs@champion", "cpu"), load_model(f"{folder}:best", "cpu")
    wave = np.random.default_rng(0).uniform(-0.4, 0.4, model.window_samples).astype(np.float32)
    assert model.score(wave, 16_000) == known.score(wave, 16_000)


def test_weights_that_are_gone_are_said_and_the_others_are_logged(found_root, tmp_path, monkeypatch):
    folder, address = found_root / "grnn", f"sqlite:///{tmp_path}/kept/mlflow.db"
    gone = load_results(folder).winner.number
    real = front_models.load

    def load(name, device):
        if name.endswith(f":{gone}"):
            raise PlastsearchError("its weights were dropped from the store")
        return real(name, device)

    monkeypatch.setattr(front_models, "load", load)
    sync(folder, address)
    said = {one.trial: one.said for one in log_front(folder, address)}
    assert said.pop(gone) == "not logged: its weights were dropped from the store"
    assert set(said.values()) == {"its model was logged"}
    with pytest.raises(PlastsearchError, match="dropped from the store"):  # it was the one to be registered
        log_front(folder, address, "spoofs", "champion")
