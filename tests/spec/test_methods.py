"""One table of methods: its facts agree with each other, with the keys of stages and with what a sweep really runs."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.cli.sessions.space import space_json
from plastsearch.preflight import dry_run as forecast
from plastsearch.preflight.checks import examine
from plastsearch.preflight.forecast import ForecastAnswer
from plastsearch.search.canonical import canonical
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.load import load_sweep
from plastsearch.spec.methods import CHANGES, METHODS, OWN_SETTINGS, reads, runs
from plastsearch.trial.keys import Environment, stage_keys
from plastsearch.trial.methods import stages_of

ROOT = Path(__file__).parents[2]
AROUND = Environment(data="d", weights="", device="cpu", precision="float32", torch="2.11")
# Every setting of a method's own at a value that is not its default.
UNUSUAL = {
    "layers": ("gru.0", "gru.1"), "neurons": 8, "operator": "parallel", "init": "orthogonal", "regime": "unfrozen",
    "lateral": "both", "criterion": "random", "pool": "added", "keep": 0.5, "compensate": "mean",
    "calibration_clips": 64, "rank": 3, "lora_on": "all", "lora_share": 0.25, "last_k": 1, "truncate_to": 1,
    "adaptive_steps": 2, "adaptive_score": "natural", "kernel": 7,
    "newborn_lr_ratio": 2.0, "newborn_state": "inherited",
    "newborn_gate": "learned",
}  # fmt: skip


def keys(config):
    return [one.key for one in stage_keys(config, stages_of(config, 240), AROUND)]


def test_the_example_names_every_setting_that_only_some_methods_read():
    assert set(UNUSUAL) == set(OWN_SETTINGS)
    assert all(value != TrialConfig.model_fields[name].default for name, value in UNUSUAL.items())


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_does_not_read_changes_none_of_its_stages(method):
    config = TrialConfig.model_validate({"model": {"name": "grnn"}, "method": method} | UNUSUAL)
    plain = canonical(config, ("gru.0", "gru.1"))
    assert keys(plain) == keys(config)
    assert canonical(plain, ("gru.0", "gru.1")) == plain
    for name in OWN_SETTINGS:
        if not reads(method, name):
            assert getattr(plain, name) == TrialConfig.model_fields[name].default


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_reads_changes_its_stages(method):
    """Else the canonical form would tell trials apart that are the same."""
    whole = {"model": {"name": "grnn"}, "method": method, "init": "gradmax"}
    whole |= {key: value for key, value in UNUSUAL.items() if key != "init"}
    unranked = {name for stage in METHODS[method].stages for name in CHANGES[stage.change].unranked_reads}
    for name in METHODS[method].reads:
        rings = {"operator": "ring"} if name == "kernel" else {}
        config = TrialConfig.model_validate(whole | rings | ({"rank": None} if name in unranked else {}))
        other = TrialConfig.model_validate(
            config.model_dump(by_alias=True) | {name: TrialConfig.model_fields[name].default}
        )
        if METHODS[method].placed and not other.growth():
            continue  # canonical makes a baseline of it
        assert keys(other) != keys(config), name


@pytest.mark.parametrize(("share", "method"), [(0.0, "dropin"), (1.0, "lora")])
def test_all_on_one_side_is_the_method_of_that_side(share, method):
    """Whatever the settings say that only that method reads."""
    order = ("encoder.0.ffn", "encoder.1.ffn")
    base = {"layers": order, "neurons": 8, "init": "orthogonal"}
    one = base | {"method": "lora_growth", "lora_share": share, "regime": "unfrozen", "rank": 3, "lora_on": "all"}
    other = TrialConfig.model_validate(base | {"method": method})
    assert canonical(TrialConfig.model_validate(one), order) == canonical(other, order)


@pytest.fixture
def uncounted(monkeypatch):
    """No process that imports torch only to count parameters, which these tests do not ask for."""
    monkeypatch.setattr(forecast, "_child", lambda asked: ForecastAnswer(counts=(None,) * len(asked.configs)))


def test_check_and_dry_run_agree_on_the_runs(uncounted):
    spec = load_sweep(ROOT / "search_spaces" / "w2v_layers.yaml", [])
    budget = space_json(spec, examine(spec, data=False))["budget"]
    said = budget["trials"] + len(budget["controls"]) + budget["finalists"]
    assert forecast.dry_run(spec).runs == said == budget["runs"] == 39


@pytest.mark.parametrize(
    ("controls", "top", "seeds", "finalists"),
    [(("baseline", "lora", "random"), 3, 3, 12), (("lora",), 3, 3, 9), ((), 2, 5, 10), (("baseline",), 0, 3, 0)],
)
def test_the_baseline_stands_beside_the_finalists_where_there_are_any(controls, top, seeds, finalists):
    found = runs(24, controls, top, seeds)
    assert (found.controls, found.finalists, found.total) == (len(controls), finalists, 24 + len(controls) + finalists)


def test_a_dry_run_without_finalists_counts_none(uncounted):
    space = str(ROOT / "search_spaces" / "smoke.yaml")
    said = CliRunner().invoke(app, ["sweep", space, "--dry-run", "--no-finalists", "--json"])
    spec = load_sweep(space, [])
    assert json.loads(said.stdout)["runs"] == spec.runs.search + spec.runs.controls
