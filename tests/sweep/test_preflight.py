"""Points that no trial could run are told before anything runs; a space of nothing else is refused."""

import pytest

from plastsearch.spec.sweep import SweepSpec
from plastsearch.sweep.preflight import examine, preflight


def space(layers, **base):
    return SweepSpec.model_validate(
        {
            "question": "Which?",
            "base": {"method": "dropin", **base},
            "space": {
                "layers": {"kind": "subset", "of": layers, "min": 1, "max": 4},
                "neurons": {"kind": "choice", "of": [12, 24]},
            },
            "objectives": [{"metric": "dev_eer"}, {"metric": "params_total"}],
            "search": {"trials": 4},
        }
    )


def test_a_space_in_which_all_can_run_has_nothing_said_of_it():
    found = examine(space("encoder.*.ffn"))
    assert not found.mistakes
    assert not [note for note in found.notes if "cannot run" in note]


def test_some_points_are_a_note():
    found = examine(space(["encoder.*.attention", "encoder.*.head_width"]))
    assert not found.mistakes
    assert any("cannot both carry blocks" in note and "% of points" in note for note in found.notes)


@pytest.mark.parametrize(("init", "words"), [("net2net", "net2net shares out"), ("gradmax", "feed-forward sites")])
def test_all_points_are_a_mistake(init, words):
    found = examine(space("encoder.*.attention", init=init))
    assert [path for path, message in found.mistakes if words in message and "no point" in message] == [("space",)]


def test_a_search_that_repeats_says_how_many_runs_explore():
    spec = SweepSpec.model_validate(
        {
            "base": {"method": "dropin", "neurons": 8},
            "space": {"layers": {"kind": "subset", "of": "encoder.*.ffn", "min": 1}},
            "search": {"trials": 30, "replicate": "auto", "replicate_share": 0.4},
        }
    )
    assert "replicate auto: of 30 runs the first 18 explore; then uncertain ones repeat" in preflight(spec).notes
