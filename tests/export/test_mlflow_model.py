"""MLflow keeps a model as plain files, gives it back by each of its names, and serves it with its own code."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from plastsearch import load_model
from plastsearch.audio import write_audio
from plastsearch.errors import PlastsearchError
from plastsearch.export.mlflow_model import log_exported, origin, served
from plastsearch.tracking.mlflow_models import check_names, log_model
from plastsearch.tracking.mlflow_sync import sync
from plastsearch.use.folder import write_folder

SLOW = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::Warning"),  # mlflow's own
]


@pytest.fixture
def exported(found_root, tmp_path):
    model = load_model(f"{found_root / 'grnn'}:1", "cpu")
    write_folder(tmp_path / "out", model.detector, model.facts)
    return model, tmp_path / "out"


def wave_of(model, seed=0):
    return np.random.default_rng(seed).uniform(-0.4, 0.4, 2 * model.window_samples + 77).astype(np.float32)


def test_a_logged_model_is_plain_files_and_comes_back_by_each_of_its_names(exported, tmp_path, monkeypatch):
    model, folder = exported
    address = f"sqlite:///{tmp_path}/kept/mlflow.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    with served(model, folder) as made:
        logged = log_model(address, made, origin(model), "spoofs", "champion")
    assert not {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"} & os.environ.keys()  # it likes to leave them there
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "out"]  # nothing where one happens to stand
    files = [path for path in (tmp_path / "kept/artifacts").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {"", ".json", ".py", ".safetensors", ".txt", ".yaml"}  # no pickle
    assert not any(b"plastsearch/export" in path.read_bytes() for path in files if path.name == "MLmodel")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    wave = wave_of(model)
    names = [f"runs:/{logged.run}", *logged.names, logged.uri]
    assert names[2:4] == ["models:/spoofs/1", "models:/spoofs@champion"]
    for name in names:
        again = load_model(name, "cpu")
        assert again.facts == model.facts
        assert again.score(wave, 16_000) == model.score(wave, 16_000)
    for name, said in (
        ("runs:/0123456789abcdef", r"cannot give runs:/0123456789abcdef \(.*0123456789abcdef.*not found"),
        ("models:/spoofs/7", r"cannot give models:/spoofs/7 \(.*not found"),
        ("models:/spoofs@loser", r"cannot give models:/spoofs@loser \(.*loser.* not found"),
    ):
        with pytest.raises(PlastsearchError, match=said):
            load_model(name, "cpu")


def test_an_address_that_leads_nowhere_is_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(PlastsearchError, match="which MLflow\\? set MLFLOW_TRACKING_URI to its address"):
        load_model("models:/spoofs/1", "cpu")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(PlastsearchError, match="no such file; MLflow would make an empty one in its place"):
        load_model("models:/spoofs/1", "cpu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("register", "alias", "said"),
    [
        ("a/b", None, "--register a/b: a model's name has no / : or @"),
        (None, "champion", "--alias is given to a registered model: add --register NAME"),
        ("spoofs", "v3", "--alias v3: letters, digits"),
        ("spoofs", "the best", "--alias the best: letters, digits"),
    ],
)
def test_names_that_mlflow_refuses_are_refused_before_anything_is_written(register, alias, said):
    with pytest.raises(PlastsearchError, match=said):
        check_names(register, alias)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@contextmanager
def running(words, log, environment, health):
    """A process of MLflow's that answers, stopped with all that it started."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it starts `uvicorn` by name
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words], stdout=out, stderr=out, cwd=log.parent, start_new_session=True,
            env={**os.environ, "PATH": programs, **environment},
        )  # fmt: skip
    try:
        until = time.monotonic() + 240
        while True:
            try:
                with urllib.request.urlopen(health, timeout=5):
                    break
            except OSError:
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < until, log.read_text()[-2000:]
                time.sleep(0.3)
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 15)
            process.wait(30)


def asked(port, document):
    """The status and the answer of a served model."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(document).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return 200, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def served_answers(model, port, clip):
    """What a served model must answer to a WAV and to its samples, in each form that MLflow's server knows."""
    text = base64.b64encode(clip.read_bytes()).decode()
    floats = model.read(clip).tolist()
    expected = model.score(clip, prior=0.2)
    decision = "bona fide" if expected.bona_fide else "spoof"
    rate = model.rate_hz
    for document in (
        {"dataframe_split": {"columns": ["audio"], "data": [[text], [text]]}},
        {"dataframe_records": [{"audio": text}]},
        {"dataframe_records": [{"samples": floats, "rate_hz": rate}, {"audio": text}]},
        {"inputs": [{"samples": floats, "rate_hz": rate}]},
        {"inputs": {"samples": [floats], "rate_hz": [rate]}},
        {"instances": [{"audio": text}]},
    ):
        status, answer = asked(port, {**document, "params": {"prior": 0.2}})
        assert status == 200, answer
        for one in answer["predictions"]:
            assert one["score"] == pytest.approx(expected.score, abs=1e-5)
            assert one["probability"] == pytest.approx(expected.probability, abs=1e-5)
            assert one["decision"] == decision
    status, answer = asked(port, {"dataframe_records": [{"audio": text}, {"audio": "bm8gYXVkaW8="}]})
    assert status == 400
    assert "row 1: audio: not audio: text: 'no audio'" in answer["message"]
    assert asked(port, {"dataframe_records": [{"path": str(clip)}]})[0] == 400  # no file of the server's is read


@pytest.mark.parametrize("network", [pytest.param(name, marks=SLOW) for name in ("grnn", "wav2vec2")])
def test_a_model_registered_on_a_server_is_served_and_answers_a_wav(found_root, tmp_path, monkeypatch, network):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    model = load_model(f"{found_root / network}:1", "cpu")
    write_folder(tmp_path / "out", model.detector, model.facts)
    clip = tmp_path / "clip.wav"
    write_audio(clip, wave_of(model), model.rate_hz)
    store, door = free_port(), free_port()
    address = f"http://127.0.0.1:{store}"
    server = ["server", "--host", "127.0.0.1", "--port", str(store), "--workers", "1", "--backend-store-uri",
              f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(tmp_path / "held")]  # fmt: skip
    alone = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(server, tmp_path / "server.log", alone, f"{address}/health"):
        sync(found_root / network, address)
        logged = log_exported(model, tmp_path / "out", address, "spoofs", "champion")
        import mlflow

        run = mlflow.MlflowClient(address).get_run(logged.run)
        assert run.data.tags["plastsearch.trial"] == "1"  # beside the metrics of its trial
        assert run.info.status == "FINISHED"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert load_model("models:/spoofs@champion", "cpu").score(clip) == model.score(clip)
        serve = ["models", "serve", "-m", "models:/spoofs@champion", "--env-manager", "local", "--host", "127.0.0.1",
                 "--port", str(door)]  # fmt: skip
        with running(serve, tmp_path / "serve.log", {}, f"http://127.0.0.1:{door}/ping"):
            served_answers(model, door, clip)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_folder_of_another_model_is_not_logged(found_root, exported, tmp_path):
    _, folder = exported
    other = load_model(f"{found_root / 'grnn'}:2", "cpu")  # 12 steps of frozen growth leave 0 and 1 too much alike
    with pytest.raises(PlastsearchError, match=r"so it was not logged; is the folder the one of this model\?"):
        log_exported(other, folder, f"sqlite:///{tmp_path}/mlflow.db")
    assert not (tmp_path / "mlflow.db").exists()
