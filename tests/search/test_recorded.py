"""The recorded table that benchmarks/search.py looks trials up in: complete, sane, made by the sweep it names."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest

from plastsearch.search.space import open_space
from plastsearch.spec.sweep import SweepSpec

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ROWS = pq.read_table(BENCHMARKS / "recorded.parquet").to_pylist()
GROWN = [row for row in ROWS if row["layers"]]


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("search")


def test_every_combination_was_recorded_once(search: ModuleType) -> None:
    sweep = search.record_table.spec(1, 0, "grid")
    points = {(",".join(p["layers"]), p["neurons"], p["criterion"]) for p in open_space(sweep).points()}
    found = [(row["layers"], row["neurons"], row["criterion"]) for row in ROWS]
    assert len(points) == search.record_table.COMBINATIONS == 252
    assert sorted(found) == sorted([*points, search.BASELINE])


def test_values_are_those_of_trials_that_learnt_something_and_differ() -> None:
    errors = np.array([row["dev_eer"] for row in ROWS])
    assert ((errors > 5) & (errors < 40)).all()
    assert errors.std() > 1  # the dev set resolves half a point
    assert len(np.unique(errors)) > 20
    assert all(0 < row["backward_gflop"] < 1 and row["params_total"] > 170_000 for row in ROWS)


def test_counted_work_depends_on_layers_and_neurons_alone() -> None:
    work: dict[tuple[str, int], set[float]] = {}
    for row in GROWN:
        work.setdefault((row["layers"], row["neurons"]), set()).add(row["backward_gflop"])
    assert len(work) == 126
    assert all(len(found) == 1 for found in work.values())


def test_the_file_says_what_made_it(search: ModuleType) -> None:
    path = BENCHMARKS / "recorded.parquet"
    notes = pq.read_schema(path).metadata
    plain = json.loads(notes[b"sweep"])
    assert plain["base"]["data"]["crops"] is None  # recorded when each kind of stage had crops of its own
    made = SweepSpec.model_validate(plain)
    now = search.record_table.spec(252, 0, "grid")
    assert (made.base, made.space, made.objectives) == (now.base, now.space, now.objectives)
    assert b"record_table.py" in notes[b"command"]
    assert path.stat().st_size < 60_000


def test_looking_up_gives_the_recorded_values(search: ModuleType) -> None:
    asked = search.problem("recorded", 0)
    space = open_space(asked.spec(1, 0, "grid"))
    rng = np.random.default_rng(0)
    for row in GROWN:
        point = {"layers": row["layers"].split(","), "neurons": row["neurons"], "criterion": row["criterion"]}
        config = space.config(space.flat(point, rng))
        assert asked.measure(config, 0.0) == [row["dev_eer"], row["backward_gflop"]]


def test_no_layers_at_all_is_the_baseline(search: ModuleType) -> None:
    asked = search.problem("recorded", 0)
    space = open_space(asked.spec(1, 0, "grid"))
    off = {name: one.at(0.0) for name, one in space.parameters.items()}
    (baseline,) = (row for row in ROWS if not row["layers"])
    assert asked.measure(space.config(off), 0.0) == [baseline["dev_eer"], baseline["backward_gflop"]]


@pytest.mark.parametrize("arm", ["ours", "NSGA-II"])
def test_an_arm_gets_closer_to_the_whole_tables_volume(search: ModuleType, arm: str) -> None:
    asked = search.problem("recorded", 0)
    found = search.volumes(search.ARMS[arm](asked, 20, 0), asked)
    assert np.all(np.diff(found) >= 0)
    assert found[0] < found[-1] <= asked.best
