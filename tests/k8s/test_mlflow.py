"""MLflow's files before its first start and after an upgrade: the init containers' own commands, on this machine."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.rendering import K8S, Document, environment, expanded, one, render


def prepared(volume: Path) -> list[subprocess.CompletedProcess[str]]:
    """Run what runs before the server, in its order, with `volume` in place of /mlflow."""
    pod = one(render(K8S / "platform"), "Deployment", "mlflow")["spec"]["template"]["spec"]
    return [run(container, volume) for container in pod["initContainers"]]


def run(container: Document, volume: Path) -> subprocess.CompletedProcess[str]:
    there = f"{container['volumeMounts'][0]['mountPath']}/"
    seen = {**environment(container, "other"), "HOME": str(volume), "PYTHONWARNINGS": "ignore"}
    seen = {name: value.replace(there, f"{volume}/") for name, value in seen.items()}
    seen["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [expanded(argument, seen).replace(there, f"{volume}/") for argument in container["command"]]
    return subprocess.run(command, env=seen, cwd=volume, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_files_are_made_written_ahead_and_kept(tmp_path: Path) -> None:
    for start in "first", "second":
        for done in prepared(tmp_path):
            assert done.returncode == 0, f"{start}: {done.stderr}"
        for name in "mlflow.db", "auth.db":
            with closing(sqlite3.connect(tmp_path / name)) as file:
                assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",), name
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
            if start == "first":
                store.execute(
                    "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time,"
                    " last_update_time, workspace) VALUES (7, 'kept', 'file:///x', 'active', 0, 0, 'default')"
                )
                store.commit()
            assert store.execute("SELECT name FROM experiments WHERE experiment_id = 7").fetchall() == [("kept",)]


def test_a_volume_that_cannot_be_written_ahead_is_refused(tmp_path: Path) -> None:
    """SQLite raises nothing then, it answers with the mode that stays: in memory, as on a network file system."""
    pod = one(render(K8S / "platform"), "Deployment", "mlflow")["spec"]["template"]["spec"]
    (first,) = [container for container in pod["initContainers"] if container["name"] == "write-ahead"]
    *python, script = first["command"]
    elsewhere = script.replace('connect(f"/mlflow/{name}.db")', 'connect(":memory:")')
    assert elsewhere != script
    done = run({**first, "command": [*python, elsewhere]}, tmp_path)
    assert done.returncode != 0
    assert "stays in mode memory: is it on a network file system?" in done.stderr
