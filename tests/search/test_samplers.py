"""Every sampler runs whole sweeps that its seed reproduces; what a person wrote first comes first and means itself."""

import pytest

from plastsearch.errors import SpecError
from plastsearch.spec.load import load_sweep
from plastsearch.sweep.options import Options
from plastsearch.sweep.session import run_sweep
from plastsearch.tracking.journal import read
from plastsearch.tracking.records import trials
from tests.sweep.fake_trials import FUNCTION

SPACE = """
base: {method: plasticity}
space:
  layers: {kind: subset, of: "encoder.{0..3}.ffn", min: 1, max: 3}
  neurons: {kind: int, low: 16, high: 512, log: true}
  criterion: {kind: choice, of: [taylor, entropy]}
  pool: {kind: choice, of: [all, added], when: {criterion: taylor}}
  train.lr: {kind: float, low: 1.0e-5, high: 1.0e-2, log: true}
  keep: {kind: float, low: 0, high: 0.8, step: 0.2}
constraints: ["params_total <= 4 * baseline"]
controls: []
finalists: {top: 0}
search: {parallel: 1}
"""
FINITE = """
base: {method: plasticity}
space:
  layers: {kind: subset, of: "encoder.{0..2}.ffn", min: 1, max: 2}
  neurons: {kind: choice, of: [16, 32]}
  keep: {kind: float, low: 0.0, high: 0.6, step: 0.2}
controls: []
finalists: {top: 0}
search: {parallel: 1}
"""


def sweep(folder, text, *overrides):
    """The trials of a whole inline session."""
    folder.mkdir(parents=True)
    (folder / "space.yaml").write_text(text)
    options = Options(root=folder, name="s", trial=FUNCTION, executor="inline", finalists=False)
    outcome = run_sweep(load_sweep(folder / "space.yaml", overrides), options, lambda where, view: [])
    assert outcome.exit_code == 0
    return list(trials(read(outcome.folder)).values())


@pytest.mark.parametrize("sampler", ["auto", "tpe", "nsga2", "nsga3", "qmc", "random"])
def test_a_seed_reproduces_a_sweep(sampler, tmp_path):
    asked = [f"search.sampler={sampler}", "search.trials=14"]
    one, same, other = (
        sweep(tmp_path / str(n), SPACE, *asked, f"search.seed={seed}") for n, seed in enumerate([0, 0, 1])
    )
    assert [r.id for r in one] == [r.id for r in same]
    assert [r.id for r in one] != [r.id for r in other]
    assert len({r.id for r in one}) == len(one) == 14
    for record in one:
        assert ("pool" in record.params) == (record.params["criterion"] == "taylor")
        assert record.config["keep"] in (0.0, 0.2, 0.4, 0.6, 0.8)
        assert 1e-5 <= record.config["train"]["lr"] <= 1e-2


@pytest.mark.slow
def test_gp_reproduces_a_sweep_without_a_word(tmp_path, capfd):
    asked = ["search.sampler=gp", "search.trials=8"]
    one, same = (sweep(tmp_path / str(n), SPACE, *asked) for n in range(2))
    assert [r.id for r in one] == [r.id for r in same]
    assert capfd.readouterr().err == ""


def test_a_grid_is_run_whole_and_in_order(tmp_path):
    whole = sweep(tmp_path / "whole", FINITE, "search.sampler=grid", "search.trials=100")
    assert len({r.id for r in whole}) == len(whole) == 6 * 2 * 4
    assert {r.config["keep"] for r in whole} == {0.0, 0.2, 0.4, 0.6}
    part = sweep(tmp_path / "part", FINITE, "search.sampler=grid", "search.trials=7")
    assert [r.id for r in part] == [r.id for r in whole[:7]]


def test_a_grid_begins_with_what_a_person_wrote(tmp_path):
    first = "try_first: [{layers: [encoder.2.ffn], neurons: 32, keep: 0.6}]\n"
    found = sweep(tmp_path / "s", FINITE + first, "search.sampler=grid", "search.trials=100")
    assert found[0].origin == "try_first"
    assert found[0].config["keep"] == 0.6
    assert len({r.id for r in found}) == len(found) == 48  # not once more where steps add up to 0.6000000000000001


def test_a_grid_over_a_range_without_steps_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"space\.keep: sampler grid needs steps"):
        sweep(tmp_path / "s", FINITE.replace(", step: 0.2", ""), "search.sampler=grid")


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("{nuerons: 16}", "did you mean 'neurons'"),
        ("{neurons: 48}", "48 is outside of the domain: one of 16, 32"),
        ("{keep: 0.3}", "0.3 is outside of the domain: 0 to 0.6 in steps of 0.2"),
        ("{keep: 0.8}", "0.8 is outside of the domain"),
        ("{layers: []}", "is outside of the domain|cannot be chosen"),
    ],
)
def test_points_that_are_none_are_refused(point, message, tmp_path):
    with pytest.raises(SpecError, match=message):
        sweep(tmp_path / "s", FINITE + f"try_first: [{point}]\n")


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
@pytest.mark.parametrize("policy", ["skip", "reuse", "replicate"])
def test_duplicates_are_what_the_policy_makes_of_them(policy, sampler, tmp_path):
    text = FINITE.replace("  keep: {kind: float, low: 0.0, high: 0.6, step: 0.2}\n", "")
    found = sweep(tmp_path / "s", text, f"search.sampler={sampler}", f"search.duplicates={policy}", "search.trials=16")
    contents = {str({**r.config, "seed": 0}) for r in found}
    assert len(found) == (12 if policy == "skip" else 16)
    assert len(contents) <= 12
    assert len({r.id for r in found}) == (len(contents) if policy == "reuse" else len(found))
    reused = [r for r in found if r.state == "reused"]
    assert bool(reused) == (policy == "reuse")
    assert all(r.metrics == found[r.reuse_of].metrics and r.id == found[r.reuse_of].id for r in reused)
