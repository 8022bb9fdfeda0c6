"""Criteria meet on equal prefixes alone, and their differences are those one counts by hand."""

from dataclasses import replace

import pytest

from plastsearch.analysis.prefixes import prefixes


def pruned(row, number, key, criterion, eer, right_after=None, **settings):
    stages = [{"stage": "retrain", "key": key}, {"stage": "prune", "key": f"{key}{criterion}{number}"}]
    metrics = {"dev_eer": eer} | ({} if right_after is None else {"dev_eer_pruned": right_after})
    config = row.record.config | {"criterion": criterion} | settings
    record = replace(
        row.record, number=number, config=config, metrics=metrics, details={"stages": stages}, state="done"
    )
    return replace(row, record=record, again=(), lost=())


@pytest.fixture
def made(results):
    """Rows of our own in the place of a sweep's."""
    row = results.rows[5]
    return lambda *told: replace(
        results, finalists=(), rows=tuple(pruned(row, at, *one) for at, one in enumerate(told))
    )


def test_differences_by_hand(made):
    found = prefixes(made(
        ("k1", "taylor", 10.0, 20.0), ("k1", "random", 12.0, 30.0), ("k2", "taylor", 9.0, 18.0),
        ("k2", "random", 10.0, 21.0), ("k3", "taylor", 8.0, 17.0), ("k3", "random", 11.0, 19.0), ("k4", "taylor", 1.0),
    ))  # fmt: skip
    assert (found.networks, found.shared) == (4, 3)
    (one,) = found.duels
    assert (one.one, one.other, one.prefixes) == ("random", "taylor", 3)
    assert one.points == pytest.approx((2 + 1 + 3) / 3)
    assert one.pruned == pytest.approx((10 + 3 + 2) / 3)
    # Student's t of 2 degrees: 4.3027 standard errors of 1 / √3
    assert (one.low, one.high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert one.p == one.p_corrected
    assert one.finding == "no difference shown"


def test_what_else_differs_is_no_pair(made, results):
    row = results.rows[5]
    rows = (pruned(row, 0, "k", "taylor", 10.0, keep=0.0), pruned(row, 1, "k", "random", 12.0, keep=0.5))
    assert prefixes(replace(made(), rows=rows)).duels == ()
    rows = (rows[0], pruned(row, 1, "k", "random", 12.0, keep=0.0))
    assert len(prefixes(replace(made(), rows=rows)).duels) == 1


def test_one_network_tells_nothing_of_others(made):
    (one,) = prefixes(made(("k", "taylor", 10.0), ("k", "random", 12.0))).duels
    assert (one.p, one.low) == (None, None)
    assert one.finding == "one prefix tells nothing of others"


def test_the_same_steps_twice_count_once(made):
    (one,) = prefixes(made(("k", "taylor", 10.0), ("k", "taylor", 99.0), ("k", "random", 12.0))).duels
    assert (one.prefixes, one.points) == (1, 2.0)


def test_a_clear_difference_names_the_better_one(made):
    rows = [(f"k{at}", name, eer + at / 50) for at in range(8) for name, eer in (("taylor", 9.0), ("random", 12.0))]
    rows = [(key, name, eer + (0.01 if key == "k3" and name == "random" else 0)) for key, name, eer in rows]
    (one,) = prefixes(made(*rows)).duels
    assert one.finding == "taylor is better"


def test_made_sweeps_prune_nothing_that_is_told(results):
    assert prefixes(results).networks == 0
