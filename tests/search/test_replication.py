"""Who runs again: the stated rule, from the records alone."""

import numpy as np
import pytest

from plastsearch.search.replication import Replication
from plastsearch.spec.sweep import Objective
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord

OBJECTIVES = (Objective(metric="dev_eer"), Objective(metric="params_total"))


class Search:
    """Records as a sweep would hold them, one finished run after the other."""

    def __init__(self, trials=40, share=0.5, baseline=True, seeds=8):
        self.ranking = Ranking(OBJECTIVES)
        self.rule = Replication(self.ranking, trials, share, seeds)
        self.records = {}
        if baseline:
            self.add("control", 20.0, 900.0, control="baseline", method="baseline")

    def add(self, role, eer, size, of=None, seed=0, control=None, method="plasticity", state="done"):
        number = len(self.records)
        record = TrialRecord(
            number, str(number), role, control, {}, {"method": method, "seed": seed}, of=of,
            seed=seed if role == "replicate" else None, state=state,
            metrics={"dev_eer": eer, "params_total": size},
        )  # fmt: skip
        self.records[number] = record
        self.ranking.note(record)
        return record

    def explore(self, eer, size=1000.0):
        return self.add("search", eer, size)

    def again(self, repeat, eer):
        trial = repeat.trial
        return self.add(
            "replicate", eer, trial.metrics["params_total"], of=trial.number, seed=repeat.offset, control=trial.control
        )


def test_the_first_pass_explores_whatever_it_finds():
    search = Search(trials=10, share=0.4)
    for n in range(6):
        assert search.rule.next(search.records) is None
        search.explore(10.0 + n)
    assert search.rule.next(search.records) is not None


def test_a_seed_is_opened_by_the_baseline_and_then_given_to_the_front():
    search = Search(trials=8)
    for n in range(4):
        search.explore(10.0 + n)
    first = search.rule.next(search.records)
    assert (first.trial.control, first.offset) == ("baseline", 1)
    search.again(first, 21.0)
    second = search.rule.next(search.records)
    assert (second.trial.metrics["dev_eer"], second.offset) == (10.0, 1)
    search.again(second, 12.0)
    third = search.rule.next(search.records)
    assert third.offset in (1, 2)  # one more of the two, or somebody else's first
    assert third.offset == 1 or third.trial.control == "baseline"


def test_without_a_baseline_the_front_opens_its_seeds_itself():
    search = Search(trials=8, baseline=False)
    for n in range(4):
        search.explore(10.0 + n)
    assert search.rule.next(search.records).trial.number == 0


def test_what_runs_is_not_asked_for_twice_and_a_failed_run_is_not_tried_for_ever():
    search = Search(trials=8, baseline=False)
    for n in range(4):
        search.explore(10.0 + n)
    one = search.rule.next(search.records)
    search.add("replicate", 0.0, 0.0, of=one.trial.number, seed=one.offset, state="failed")
    other = search.rule.next(search.records)
    assert (other.trial.number, other.offset) != (one.trial.number, one.offset)


def test_it_stops_once_all_are_certain_and_never_before_a_member_ran_twice():
    rng = np.random.default_rng(0)
    search = Search(trials=60, share=0.5)
    truth = {}
    for n in range(30):
        truth[search.explore(float(10.0 + n + 0.1 * rng.standard_normal()), 1000.0 + n).number] = 10.0 + n
    repeated = 0
    while (repeat := search.rule.next(search.records)) is not None:
        level = truth.get(repeat.trial.number, 20.0)
        search.again(repeat, float(level + 0.1 * rng.standard_normal()))
        repeated += 1
        assert repeated < 60
    members = search.ranking.membership(search.records.values())
    assert all(max(share, 1 - share) >= 0.9 for share in members.values())
    front = search.ranking.front(search.records.values())
    assert all(search.ranking.replicates.count(record.number) > 1 for record in front)


def test_a_lucky_run_is_found_out():
    search = Search(trials=40)
    rng = np.random.default_rng(1)
    for _ in range(20):
        search.explore(float(15 + rng.standard_normal()))
    lucky = search.explore(11.0)
    assert search.ranking.winner(search.records.values()).number == lucky.number
    for _ in range(20):
        repeat = search.rule.next(search.records)
        if repeat is None:
            break
        search.again(repeat, float(15 + rng.standard_normal()))
    assert search.ranking.replicates.count(lucky.number) > 1
    assert search.ranking.values(lucky)[0] > 12.5


def test_the_winner_is_doubted_more_than_other_members():
    search = Search(trials=60, share=0.9)
    rng = np.random.default_rng(3)
    rivals = [search.explore(float(10 + 0.1 * n), 1000.0).number for n in range(4)]  # who of them is the best?
    far = [search.explore(float(16 + 0.1 * n), 990.0 - n).number for n in range(4)]  # members or not, never the best
    for _ in range(24):
        repeat = search.rule.uncertain(search.records)
        search.again(repeat, float((10 if repeat.trial.number in rivals else 16) + rng.standard_normal()))
    runs = [sum(search.ranking.replicates.count(n) for n in some) for some in (rivals, far)]
    assert runs[0] > runs[1]


def test_means_are_compared_after_what_a_seed_does_to_all():
    search = Search(trials=8)
    good, other = search.explore(10.0), search.explore(12.0)
    search.add("replicate", 30.0, 900.0, of=0, seed=1, control="baseline")  # seed 1 costs everybody ten points
    search.add("replicate", 20.0, 1000.0, of=good.number, seed=1)
    values = [search.ranking.values(one)[0] for one in (good, other)]
    assert values == pytest.approx([15.0, 17.0])  # both as if they had run with both seeds
    assert search.ranking.revised(search.records)[good.number][0][0] == pytest.approx(10.0)  # as single runs are
    assert [one.number for one in search.ranking.front(search.records.values())] == [good.number, 0]


def test_a_replicate_and_a_finalist_are_no_members_themselves():
    search = Search()
    good = search.explore(10.0)
    search.add("replicate", 1.0, 1.0, of=good.number, seed=1)
    search.add("finalist", 1.0, 1.0, of=good.number, seed=1001)
    assert {one.number for one in search.ranking.front(search.records.values())} <= {0, good.number}
    assert search.ranking.replicates.count(good.number) == 2


def test_no_trial_runs_with_more_seeds_than_allowed():
    search = Search(trials=8, baseline=False, seeds=3)
    rng = np.random.default_rng(2)
    for n in range(4):
        search.explore(10.0 + 0.01 * n, 1000.0)
    while (repeat := search.rule.next(search.records)) is not None:
        search.again(repeat, float(10 + rng.standard_normal()))
    assert max(search.ranking.replicates.count(n) for n in search.records) == 3
