"""A made-up sweep and an empty store for the tests of this folder."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from plastsearch.tracking.mlflow_store import open_store
from tests.made_sweep import make_sweep


@pytest.fixture
def folder(tmp_path):
    return make_sweep(tmp_path / "w2v_layers", search=15)


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A SQLite store with its tables, which take seconds to make."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    open_store(f"sqlite:///{path}").search_experiments()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def store(empty, tmp_path):
    shutil.copy(empty, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
