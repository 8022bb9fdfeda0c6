"""The recorded table that benchmarks look trials up in: complete, sane, made by what it names, and made again."""

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
PATH = BENCHMARKS / "recorded.parquet"
ROWS = pq.read_table(PATH).to_pylist()


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("recorded")


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("search")


def test_every_configuration_has_every_seed(module: ModuleType) -> None:
    table = module.load()
    seeds = sorted({row["seed"] for row in ROWS})
    assert list(table.seeds) == seeds
    assert len(seeds) >= 3
    assert len({key[0] for key in table.keys}) >= 12
    found = sorted((tuple(row[name] for name in module.KEY)) for row in ROWS)
    assert found == sorted((*key, seed) for key in (module.BASELINE, *table.keys) for seed in seeds)


def test_values_are_those_of_trials_that_learnt_something_and_differ() -> None:
    errors = np.array([row["dev_eer"] for row in ROWS])
    assert ((errors > 10) & (errors < 35)).all()
    assert errors.std() > 0.8
    steps = np.diff(np.unique(errors))
    assert np.median(steps) <= 0.5
    assert all(0 < row["backward_gflop"] < 0.1 and row["params_total"] >= 46_818 for row in ROWS)


def test_figures_of_the_same_scores_agree(module: ModuleType) -> None:
    """Each but roughly, as a column that stood in other rows' places would not."""
    table = module.load()
    eer, smooth, auc = (
        np.array([v for *_, v in table.triples(name)]) for name in ("dev_eer", "dev_eer_smooth", "dev_auc")
    )
    assert np.abs(eer - smooth).max() < 5
    assert np.corrcoef(eer, smooth)[0, 1] > 0.6
    assert np.corrcoef(eer, auc)[0, 1] < -0.6


def test_counted_work_depends_on_sites_widths_and_regime_alone() -> None:
    work: dict[tuple[str, int, str], set[float]] = {}
    for row in ROWS:
        work.setdefault((row["layers"], row["neurons"], row["regime"]), set()).add(row["backward_gflop"])
    assert all(len(found) == 1 for found in work.values())


def test_every_grown_trial_has_its_curve(module: ModuleType) -> None:
    assert all(row[name] is not None for row in ROWS if row["layers"] for name in module.CURVE)


def test_the_file_says_what_made_it(module: ModuleType) -> None:
    notes = pq.read_schema(PATH).metadata
    made = SweepSpec.model_validate(json.loads(notes[b"sweep"]))
    now = module.space_spec()
    assert made.base.model.from_ == module.START.name
    same = now.base.model_copy(update={"model": now.base.model.model_copy(update={"from_": module.START.name})})
    assert (made.base, made.space, made.objectives) == (same, now.space, now.objectives)
    assert made.search.encoding == now.search.encoding
    assert b"record_table.py" in notes[b"command"]
    assert {"torch", "plastsearch"} <= set(json.loads(notes[b"versions"]))
    assert PATH.stat().st_size < 5_000_000


def test_looking_up_gives_the_recorded_values(module: ModuleType) -> None:
    table = module.load()
    rows = {tuple(row[name] for name in module.KEY): row for row in ROWS}
    space = open_space(module.space_spec())
    rng = np.random.default_rng(0)
    for point in space.points():
        config = space.config(space.flat(point, rng))
        seed = table.seeds[-1]
        row = rows[(*module.key_of(config), seed)]
        assert table.value(config, seed) == [row["dev_eer"], row["backward_gflop"]]
        assert table.metrics(config, seed)["dev_cllr"] == row["dev_cllr"]


def test_no_configuration_beats_a_member_of_the_true_front(module: ModuleType) -> None:
    table = module.load()
    for member in table.true_front:
        better = (table.truths <= member).all(axis=1) & (table.truths < member).any(axis=1)
        assert not better.any()
    assert table.share(table.truths) == pytest.approx(1.0)
    assert 0 < table.share([table.truth(table.keys[0])]) < 1


def test_a_truth_is_the_mean_over_the_seeds(module: ModuleType) -> None:
    table = module.load()
    key = table.keys[5]
    mine = [row["dev_eer"] for row in ROWS if tuple(row[name] for name in module.KEY[:-1]) == key]
    assert table.truth(key)[0] == pytest.approx(np.mean(mine))


def test_the_page_shows_what_the_file_holds(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    figures = importlib.import_module("recorded_figures")
    text = figures.PAGE.read_text("utf-8")
    found = figures.tables(module.load())
    assert sorted(figures.places(text)) == sorted(found)
    assert figures.page(text, found) == text


@pytest.mark.parametrize("arm", ["ours", "NSGA-II"])
def test_an_arm_hands_over_more_of_the_true_volume_than_its_first_trials(search: ModuleType, arm: str) -> None:
    asked = search.problem("recorded", 0)
    tried = search.ARMS[arm](asked.task, 30, 0)
    found = search.judged(tried, asked, [2, 30])
    assert found["volume"][0] < found["volume"][1] <= asked.volume * 1.0001
    assert min(found["eer"]) >= asked.lowest


def test_all_arms_see_the_same_luck(search: ModuleType, module: ModuleType) -> None:
    table = module.load()
    one, other = search.looked_up(table, 3), search.looked_up(table, 3)
    key = table.keys[0]
    assert [one.measure(key, n) for n in range(20)] == [other.measure(key, n) for n in range(20)]
    assert len({tuple(one.measure(key, n)) for n in range(20)}) > 1


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1])
def test_a_row_comes_out_again(module: ModuleType, tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly, on one kind of CPU; on others an EER may move by a few clips."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    record_table = importlib.import_module("record_table")
    grown = [row for row in ROWS if row["layers"]]
    row = grown[int(np.random.default_rng(at).integers(len(grown)))]
    key = tuple(row[name] for name in module.KEY)
    (config,) = [config for config in record_table.asked(row["seed"]) if (*module.key_of(config), config.seed) == key]
    again = record_table.measured(config, record_table.settings(tmp_path))
    assert again["backward_gflop"] == row["backward_gflop"]
    assert again["params_total"] == row["params_total"]
    same_cpu = pq.read_schema(PATH).metadata[b"machine"].decode().startswith(record_table.cpu_model())
    assert again["dev_eer"] == pytest.approx(row["dev_eer"], abs=1e-9 if same_cpu else 3.0)
    for name in ("dev_cllr", "dev_auc", "dev_eer_smooth"):
        assert again[name] == pytest.approx(row[name], rel=1e-5 if same_cpu else 0.2)


def test_a_recording_that_was_killed_goes_on_behind_its_last_whole_line(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_table = importlib.import_module("record_table")
    ran: list[tuple[object, ...]] = []

    def measured(config, _where):
        ran.append(module.key_of(config))
        return {**dict(zip(module.KEY, (*module.key_of(config), config.seed), strict=True))}

    monkeypatch.setattr(record_table, "measured", measured)
    record_table.record(tmp_path, [0], 4)
    path = tmp_path / "seed-0.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]) + '{"layers": "enc')
    first = list(ran)
    record_table.record(tmp_path, [0], 4)
    assert ran == [*first, *first[2:]]
    assert len(record_table.lines(path)) == 4


def test_parts_of_the_clips_are_of_the_same_trials_and_differ(module: ModuleType) -> None:
    """Every trial has every part; both halves of attacks together are about the whole, and corpora are not copies."""
    rows = pq.read_table(module.PARTS).to_pylist()
    names = [name for name in rows[0] if name not in module.KEY]
    assert len(names) == 20 * 3
    whole = {tuple(row[name] for name in module.KEY): row["dev_eer"] for row in ROWS}
    assert {tuple(row[name] for name in module.KEY) for row in rows} == set(whole)
    assert all(0 < row[name] < 60 for row in rows for name in names)
    one, other = (module.part_name(part) for part in (("A01", "A02", "A03"), ("A06", "A05", "A04")))
    expected = np.array([whole[tuple(row[name] for name in module.KEY)] for row in rows])
    halves = np.array([[row[one], row[other]] for row in rows])
    assert np.corrcoef(halves.mean(axis=1), expected)[0, 1] > 0.8
    apart = np.array([[row[f"{one}_odd"], row[f"{other}_even"]] for row in rows])
    assert np.corrcoef(apart.T)[0, 1] < 0.9
    assert module.PARTS.stat().st_size < 5_000_000
