"""A driver killed after any event, finalists included, ends with exactly the runs of one that was left in peace."""

from collections import Counter
from pathlib import Path

import pytest

from plastsearch.spec.config import TrialConfig
from plastsearch.sweep.budget import Limits, Spent, exhausted
from plastsearch.sweep.phases import ListedPhase, SearchPhase
from plastsearch.sweep.planned import baseline, finalists
from plastsearch.tracking.journal import FILE, read
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import trials
from tests.sweep.conftest import OBJECTIVES
from tests.sweep.fake_trials import Dice
from tests.sweep.session_process import session
from tests.sweep.test_finalists import Beside

SMALL = ("search.trials=2", "finalists={top: 1, seeds: 2}")


def runs(folder: Path) -> Counter:
    """What was run and what came out; how often it was tried is another matter."""
    return Counter(
        (r.role, r.control, r.of, r.seed, r.id, r.state, tuple(sorted(r.metrics.items())))
        for r in trials(read(folder)).values()
    )


def lines(folder: Path) -> list[bytes]:
    return (folder / FILE).read_bytes().splitlines(keepends=True)


def cut(whole: Path, to: Path, events: int) -> None:
    """A folder as a driver leaves it that was killed after so many events."""
    to.mkdir(parents=True)
    (to / FILE).write_bytes(b"".join(lines(whole)[:events]))


def check(tmp_path: Path, moments: list[int], whole: Path, *overrides: str) -> None:
    expected = runs(whole)
    for events in moments:
        root = tmp_path / f"cut-{events}"
        cut(whole, root / "fake", events)
        assert session(root, *overrides, resume=True).exit_code == 0
        assert runs(root / "fake") == expected, f"cut after event {events}"


@pytest.mark.slow
def test_a_cut_at_every_event_changes_no_run(tmp_path):
    whole = session(tmp_path / "whole", *SMALL).folder
    assert Counter(role for role, *_ in runs(whole).elements()) == {"search": 2, "control": 3, "finalist": 4}
    check(tmp_path, list(range(1, len(lines(whole)) + 1)), whole, *SMALL)


def test_a_finished_sweep_resumed_twice_runs_nothing(tmp_path):
    before = session(tmp_path, *SMALL)
    expected = runs(before.folder)
    for _ in range(2):
        again = session(tmp_path, *SMALL, resume=True)
        assert (again.status, runs(again.folder)) == ("done", expected)


def two_slots(rig, name: str) -> Path:
    """A search in which one trial fails for good and another at first, its finalists and those of the baseline."""
    limits, ranking = Limits(trials=4, max_failed_fraction=1.0), Ranking(OBJECTIVES)
    marker = rig("marker").folder  # one for all, since it is a part of the configuration
    marker.unlink(missing_ok=True)
    rng = Dice(orders={2: "error", 3: f"disk-once:{marker}"})
    search = SearchPhase(rng, lambda r: exhausted(limits, ranking, Spent(list(r.values()), 0.0)))
    first = ListedPhase(lambda _: [baseline(TrialConfig())], barrier=False)
    again = ListedPhase(finalists(ranking, 2, 2))
    it = rig(name, rng=rng, limits=limits, phases=[first, search, again], options={"slots": 2})
    driver = it.open()
    try:
        Beside().run(driver)
    finally:
        it.journal.close()
    return it.folder


def test_a_cut_between_two_slots_changes_no_run(rig):
    whole = two_slots(rig, "whole")
    expected = runs(whole)
    assert Counter(role for role, *_ in expected.elements()) == {"search": 4, "control": 1, "finalist": 6}
    for events in range(len(lines(whole)) + 1):
        name = f"cut-{events}"
        cut(whole, rig(name).folder, events)
        found = runs(two_slots(rig, name))
        assert found.keys() == expected.keys(), f"cut after event {events}"
        assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("search.trials=12", "search.sampler=auto"),
        ("search.trials=10", "search.sampler=nsga2", "constraints=['params_total <= 2.2 * baseline']"),
        ("search.trials=10", "constraints=['dev_eer <= 0.4 * baseline']"),
        ("search.trials=12", "search.sampler=auto", "halt={kind: moasha, rungs: [0.2, 0.5], least: 3}"),
        ("search.trials=9", "search.duplicates=reuse", "space.neurons={kind: choice, of: [16]}",
         "space.layers={kind: subset, of: [encoder.0.ffn, encoder.1.ffn], max: 1}"),
        ("search.trials=9", "search.duplicates=skip", "search.sampler=auto", "space.neurons={kind: choice, of: [16]}",
         "space.layers={kind: subset, of: [encoder.0.ffn, encoder.1.ffn], max: 1}"),
        ("search.trials=60", "search.stagnation=4"),
    ],
)  # fmt: skip
def test_a_cut_at_every_event_of_other_searches(tmp_path, overrides):
    whole = session(tmp_path / "whole", *overrides).folder
    check(tmp_path, list(range(1, len(lines(whole)) + 1)), whole, *overrides)


def test_a_cut_among_replicates_changes_no_run(tmp_path):
    repeating = (
        "search={trials: 16, seed: 0, sampler: tpe, replicate: auto}", "controls=[baseline]",
        "finalists={top: 1, seeds: 1}",
    )  # fmt: skip
    whole = session(tmp_path / "whole", *repeating).folder
    found = trials(read(whole)).values()
    roles = Counter(record.role for record in found)
    assert roles["search"] + roles["replicate"] == 16
    assert roles["search"] >= 8
    assert roles["replicate"] >= 4
    first = next(record for record in found if record.role == "replicate")
    assert (first.control, first.seed) == ("baseline", 1)
    assert {record.seed for record in found if record.role == "finalist"} == {1001}  # apart from what was chosen by
    events = len(lines(whole))
    check(tmp_path, list(range(events // 2, events + 1, 7)), whole, *repeating)
