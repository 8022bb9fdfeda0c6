"""Finalists run beside each other, survive a kill, and come out as if nothing had happened."""

from plastsearch.execute import worker
from plastsearch.sweep.budget import Limits, Spent, exhausted
from plastsearch.sweep.phases import ListedPhase, SearchPhase
from plastsearch.sweep.planned import finalists
from plastsearch.tracking.ranking import Ranking
from tests.sweep.conftest import OBJECTIVES
from tests.sweep.fake_trials import Dice


class Killed(BaseException):
    """The driver is gone."""


class Beside:
    """Attempts of several slots in turns, one message each: what a cluster does, in this process."""

    def __init__(self, messages_left=10**6):
        self.messages_left = messages_left
        self.together = 0

    def run(self, driver):
        running = []
        while not driver.stopping:
            while (attempt := driver.next()) is not None:
                driver.started(attempt)
                running.append((attempt, worker.messages(attempt.task)))
            if not running:
                return
            finalist = [a for a, _ in running if driver.records[a.trial].role == "finalist"]
            self.together = max(self.together, len(finalist))
            for pair in list(running):
                self.messages_left -= 1
                if self.messages_left < 0:
                    raise Killed
                if not driver.heard(pair[0], next(pair[1])):
                    pair[1].close()
                    running.remove(pair)


def sweep(rig, name, executor, *, alone=False):
    ranking, rng, limits = Ranking(OBJECTIVES), Dice(), Limits(trials=4)
    search = SearchPhase(rng, lambda r: exhausted(limits, ranking, Spent(list(r.values()), 0.0)))
    again = ListedPhase(finalists(ranking, 2, 2), alone=alone)
    it = rig(name, rng=rng, limits=limits, phases=[search, again], options={"slots": 2})
    driver = it.open()
    try:
        executor.run(driver)
    finally:
        it.journal.close()
    return it.records()


def outcome(records):
    return [(r.number, r.role, r.state, r.of, r.seed, r.config, r.metrics) for r in records.values()]


def test_finalists_share_the_slots_unless_they_share_a_gpu(rig):
    beside, alone = Beside(), Beside()
    found = sweep(rig, "beside", beside)
    assert [r.role for r in found.values()] == ["search"] * 4 + ["finalist"] * 4
    assert (beside.together, {r.state for r in found.values()}) == (2, {"done"})
    assert outcome(sweep(rig, "alone", alone, alone=True)) == outcome(found)
    assert alone.together == 1


def test_a_kill_among_finalists_loses_and_repeats_none(rig):
    expected = outcome(sweep(rig, "whole", Beside()))
    for after in (21, 24, 30, 39):  # of 40 messages; the search takes the first 20
        try:
            sweep(rig, f"killed-{after}", Beside(after))
        except Killed:
            found = sweep(rig, f"killed-{after}", Beside())
        assert outcome(found) == expected
