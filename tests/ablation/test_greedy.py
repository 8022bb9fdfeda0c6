"""Greedy paths on landscapes of which the truth is known."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plastsearch.ablation.fields import Contrast
from plastsearch.ablation.greedy import Walker, conflicts, most_runs
from plastsearch.errors import PlastsearchError, TrialError
from plastsearch.spec.config import TrialConfig
from plastsearch.trial.methods import check
from tests.ablation.planted import FIELDS, TRIAL, additive, interacting, space, walks

SITES = [f"layers.encoder.{n}.ffn" for n in (1, 2, 5)]


def steps(walk):
    return [one.move.fields for one in walk.steps]


def test_what_differs_is_the_method_each_site_and_each_setting():
    contrast = Contrast(space(), TRIAL)
    assert [one.name for one in contrast.fields] == FIELDS
    # the baseline has no neurons at all: their number counts from the least that the space allows
    assert contrast.field("neurons").words == "neurons: 16 → 64"
    assert contrast.config(contrast.names) == TRIAL
    assert contrast.config(frozenset()).method == "baseline"


def test_what_nothing_reads_is_no_field_and_no_step():
    dropin = TRIAL.model_copy(update={"method": "dropin", "criterion": "taylor"})
    searched = {**space().spec.plain()["space"], "method": {"kind": "choice", "of": ["dropin", "plasticity"]}}
    base = {**space().spec.plain()["base"], "criterion": "entropy"}
    contrast = Contrast(space(space=searched, base=base), dropin)
    assert "criterion" not in contrast.names  # dropin prunes nothing, so its criterion differs in words only
    alone = Walker(contrast, check).moves(frozenset(), "forward")[0]
    assert [one.fields for one in alone] == [("method", site) for site in SITES]


def test_an_additive_landscape_gives_both_directions_one_order():
    forward, backward, _ = walks(additive)
    order = [("method", SITES[1]), ("neurons",), (SITES[2],), ("regime",), (SITES[0],), ("criterion",)]
    assert steps(forward) == order
    assert steps(backward) == [("criterion",), (SITES[0],), ("regime",), (SITES[2],), ("neurons",), order[0]]
    assert conflicts(forward, backward) == []
    assert [round(one.value, 6) for one in forward.steps][-1] == additive(TRIAL)


def test_an_interaction_puts_the_directions_at_odds():
    forward, backward, _ = walks(interacting)
    assert steps(forward)[0] == ("method", SITES[0])  # alone the two others are worth nothing
    assert (SITES[1], "neurons") not in conflicts(forward, backward)
    assert ("neurons", SITES[1]) in conflicts(forward, backward)
    assert steps(backward)[-1][0] == "method"


def test_equal_fields_are_no_disagreement():
    forward, backward, _ = walks(lambda config: 1.0)
    assert conflicts(forward, backward) == []


def test_growth_that_only_harms_is_given_up_at_once_with_all_that_hangs_on_it():
    _, backward, _ = walks(lambda config: 5.0 if config.method == "baseline" else 9.0)
    assert steps(backward) == [("method",)]
    assert set(backward.steps[0].along) == set(FIELDS) - {"method"}


def test_a_step_that_cannot_run_is_left_out_and_said():
    def refuses(config: TrialConfig) -> None:
        if config.layers and len(config.layers) < 3:
            raise TrialError("all three or none")

    walker = Walker(Contrast(space(), TRIAL), refuses)
    moves, refused = walker.moves(frozenset(), "forward")
    assert [set(one.fields) for one in moves] == [set(FIELDS)]
    assert refused == [f"method + {site}: all three or none" for site in SITES]


def test_a_run_that_failed_is_no_step():
    contrast = Contrast(space(), TRIAL)
    walker = Walker(contrast, check)
    values = {contrast.config(one).trial_id(): 1.0 for one in (frozenset(), contrast.names)}
    first = walker.moves(frozenset(), "forward")[0]
    values |= {contrast.config(one.to).trial_id(): float(at) for at, one in enumerate(first)}
    values[contrast.config(first[0].to).trial_id()] = None
    walk = walker.walk("forward", values)
    assert walk.steps[0].move == first[1]
    assert any("its run failed" in said for said in walk.left_out)
    with pytest.raises(PlastsearchError, match="failed when run again"):
        walker.walk("forward", {contrast.config(frozenset()).trial_id(): None})


@settings(max_examples=8)
@given(st.integers(0, 10**6))
def test_no_landscape_takes_more_runs_than_foretold(seed):
    def value(config: TrialConfig) -> float:
        return random.Random(f"{seed} {config.trial_id()}").random()

    contrast = Contrast(space(), TRIAL)
    forward, backward, runs = walks(value, contrast)
    assert runs <= most_runs(Walker(contrast, check))
    assert contrast.config(forward.steps[-1].move.to) == TRIAL
    assert contrast.config(backward.steps[-1].move.to).method == "baseline"
