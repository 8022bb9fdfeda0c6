"""Points that no trial could run are told before anything runs; a space of nothing else is refused."""

import pytest

from plastsearch.preflight.checks import examine, preflight
from plastsearch.spec.sweep import SweepSpec


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


def grnn(**changes):
    plain = space("gru.*", model={"name": "grnn"}).model_dump(mode="json", by_alias=True)
    return SweepSpec.model_validate(plain | changes)


def test_methods_and_controls_that_a_network_cannot_carry_are_mistakes():
    methods = {"kind": "choice", "of": ["dropin", "lora_growth", "adalora"]}
    layers = {"kind": "subset", "of": "gru.*", "min": 1, "max": 2}
    neurons = {"kind": "choice", "of": [12, 24]}
    spec = grnn(controls=["baseline", "adalora"], space={"layers": layers, "neurons": neurons, "method": methods})
    found = dict(examine(spec).mistakes)
    assert list(found) == [("controls", 1), ("space", "method", "of", 1), ("space", "method", "of", 2)]
    assert all("use lora" in message for message in found.values())
    fits = {"layers": layers, "neurons": neurons, "method": {"kind": "choice", "of": ["dropin", "lora"]}}
    assert not examine(grnn(controls=["baseline", "lora"], space=fits)).mistakes
    searched = {"layers": {"kind": "choice", "of": [["encoder.1.ffn"]]}, "neurons": neurons,
                "model.name": {"kind": "choice", "of": ["wav2vec2", "grnn"]}}  # fmt: skip
    names = [path for path, _ in examine(grnn(controls=["adalora"], space=searched)).mistakes]
    assert ("controls", 0) in names  # the winner may be one of these


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
