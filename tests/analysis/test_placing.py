"""Means by layer and by layer and neurons are those that one counts by hand; empty cells stay empty."""

from collections import defaultdict
from dataclasses import replace
from statistics import fmean, stdev

import pytest

from plastsearch.analysis import placing
from plastsearch.analysis.placing import by_layer, grid


def counted(results):
    found = defaultdict(list)
    for row in results.rows:
        if row.record.role == "search" and row.allowed is not None:
            for site in row.record.config["layers"]:
                found[site, row.record.config["neurons"]].append(row.metrics["dev_eer"])
    return found


def test_each_site_has_the_mean_of_its_trials(results):
    by_hand = defaultdict(list)
    for (site, _), eers in counted(results).items():
        by_hand[site] += eers
    found = by_layer(results)
    assert [one.site for one in found.sites] == sorted(by_hand)
    for one in found.sites:
        eers = by_hand[one.site]
        assert (one.trials, one.best) == (len(eers), min(eers))
        assert one.mean == pytest.approx(fmean(eers))
        half = (one.high - one.low) / 2
        assert half > 1.96 * stdev(eers) / len(eers) ** 0.5  # Student's t is wider than the normal
    assert found.baseline.value == results.control("baseline").metrics["dev_eer"]


def test_each_cell_has_its_mean_and_its_count(results):
    found, by_hand = grid(results), counted(results)
    assert {(site, str(count)) for site, count in by_hand} == set(found.cells)
    for (site, count), eers in by_hand.items():
        cell = found.cells[site, str(count)]
        assert (cell.trials, cell.mean) == (len(eers), pytest.approx(fmean(eers)))
    assert found.empty == len(found.sites) * len(found.counts) - len(by_hand) > 0


def test_many_numbers_of_neurons_become_ranges_without_losing_a_trial(results, monkeypatch):
    whole = grid(results)
    monkeypatch.setattr(placing, "MOST_COUNTS", 3)
    found = grid(results)
    assert len(found.counts) <= 3
    assert any("–" in count for count in found.counts)
    assert sum(cell.trials for cell in found.cells.values()) == sum(cell.trials for cell in whole.cells.values())


def test_of_very_many_sites_the_most_used_are_shown_and_the_others_counted(results, monkeypatch):
    monkeypatch.setattr(placing, "MOST_SITES", 2)
    found = by_layer(results)
    assert (len(found.sites), found.left_out) == (2, 4)


def test_a_sweep_without_growth_has_no_such_figure(results):
    rows = tuple(row for row in results.rows if row.record.role == "control")
    assert by_layer(replace(results, rows=rows)) is None
    assert grid(replace(results, rows=rows)) is None
