"""Ask and tell: nothing proposed twice, nothing forgotten, and a resumed sweep proposes what it would have proposed."""

import hashlib
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from plastsearch.search.optuna_log import FILE
from plastsearch.search.space import open_space
from plastsearch.search.study import Study, open_study
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.records import TrialRecord

SPACE = {
    "layers": {"kind": "subset", "of": "encoder.*.ffn", "min": 1, "max": 3},
    "neurons": {"kind": "int", "low": 16, "high": 64, "step": 16},
    "criterion": {"kind": "choice", "of": ["taylor", "entropy"]},
    "pool": {"kind": "choice", "of": ["all", "added"], "when": {"criterion": "taylor"}},
}


def spec(space=SPACE, **more):
    search = {"trials": 60, "seed": 0, **more.pop("search", {})}
    return SweepSpec.model_validate(
        {"name": "s", "base": {"method": "plasticity"}, "space": space, "search": search, **more}
    )


def record(number, proposal, state="done", **metrics):
    growth = proposal.config.growth()
    noise = int(hashlib.sha256(proposal.config.trial_id().encode()).hexdigest()[:6], 16) / 16**6
    lowest = min((int(name.split(".")[1]) for name in growth), default=6)
    values = {"dev_eer": 30 - 5 * len(growth) + noise, "backward_ratio": 1 - lowest / 6,
              "params_total": 1e5 + 97.0 * sum(growth.values()), "params_baseline": 1e5}  # fmt: skip
    return TrialRecord(
        number, proposal.config.trial_id(), "search", None, proposal.params,
        proposal.config.model_dump(mode="json", by_alias=True), proposal.origin, proposal.reuse_of,
        state=state, metrics={**values, **metrics}, fidelity=1.0 if state == "done" else 0.25,
    )  # fmt: skip


def go(study, count, records=()):
    records = list(records)
    while len(records) < count and (proposal := study.ask(len(records))) is not None:
        records.append(record(len(records), proposal))
        study.tell(records[-1])
    return records


def loaded(folder):
    backend = optuna.storages.journal.JournalFileBackend(str(folder / FILE))
    return optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend))


@pytest.mark.parametrize("sampler", ["auto", "tpe", "nsga2", "nsga3", "qmc", "random", "grid"])
def test_a_resumed_study_proposes_the_same(sampler, tmp_path):
    one = spec(search={"sampler": sampler})
    whole = go(open_study(one, tmp_path, []), 44)
    for kept in (5, 40):
        again = go(Study(one, open_space(one), None, whole[:kept]), 44, whole[:kept])
        assert [r.id for r in again] == [r.id for r in whole]
    assert len({r.id for r in whole}) == 44


def test_a_pending_trial_counts_after_a_resume():
    one = spec()
    whole = go(Study(one, open_space(one), None, []), 30)
    pending = [*whole[:19], replace(whole[19], state="running", metrics={})]
    study = Study(one, open_space(one), None, pending)
    study.tell(whole[19])
    assert [r.id for r in go(study, 30, whole[:20])] == [r.id for r in whole]


def test_another_seed_another_search():
    first, second = (
        [r.id for r in go(Study(spec(search={"seed": s}), open_space(spec()), None, []), 12)] for s in (0, 1)
    )
    assert first != second


def test_openings_come_first_and_in_order():
    one = spec(try_first=[{"layers": ["encoder.{2,4}.ffn"], "neurons": 32, "criterion": "entropy"}])
    records = go(Study(one, open_space(one), None, []), 12)
    assert [r.origin for r in records[:2]] == ["try_first", "anchor"]
    assert records[0].config["layers"] == ["encoder.2.ffn", "encoder.4.ffn"]
    assert {r.origin for r in records} == {"try_first", "anchor", "sampler"}
    random = go(Study(spec(search={"sampler": "random"}), open_space(one), None, []), 3)
    assert {r.origin for r in random} == {"sampler"}


TINY = {"layers": {"kind": "subset", "of": "encoder.{0..1}.ffn"}, "neurons": {"kind": "choice", "of": [16, 32]}}


@pytest.mark.parametrize("sampler", ["auto", "random", "grid", "nsga2"])
def test_a_small_space_is_emptied_and_then_over(sampler):
    one = spec(TINY, search={"sampler": sampler})
    study = Study(one, open_space(one), None, [])
    records = go(study, 60)
    assert len(records) == len({r.id for r in records}) == 6
    assert study.ask(6) is None


def test_reuse_points_at_the_first_trial_with_that_content():
    one = spec(TINY, search={"duplicates": "reuse"})
    study = Study(one, open_space(one), None, [])
    firsts = {}
    for number in range(14):
        proposal = study.ask(number)
        assert proposal.reuse_of == firsts.get(proposal.config.trial_id())
        firsts.setdefault(proposal.config.trial_id(), number)
        study.tell(record(number, proposal, "done" if proposal.reuse_of is None else "reused"))
    assert len(firsts) < 14


def test_replicates_differ_in_the_seed_alone():
    one = spec(TINY, search={"duplicates": "replicate"})
    records = go(Study(one, open_space(one), None, []), 14)
    assert len({r.id for r in records}) == 14
    contents = {str({**r.config, "seed": 0}) for r in records}
    assert len(contents) <= 6
    again = go(Study(one, open_space(one), None, records[:9]), 14, records[:9])
    assert [r.id for r in again] == [r.id for r in records]


def test_optuna_opens_the_journal_and_sees_the_front(tmp_path):
    one = spec(constraints=["params_total <= 1.08 * baseline"])
    records = go(open_study(one, tmp_path, []), 20)
    study = loaded(tmp_path)
    assert [t.user_attrs["plastsearch.trial"] for t in study.trials] == list(range(20))
    assert [t.values[0] for t in study.trials] == [r.metrics["dev_eer"] for r in records]
    assert study.metric_names == ["dev_eer", "backward_ratio", "params_total"]
    assert all(t.values[2] <= 1.08e5 for t in study.best_trials)
    assert any(t.values[2] > 1.08e5 for t in study.trials)


def test_what_has_no_result_fails_and_halted_does_not_pose_as_finished(tmp_path):
    one = spec()
    study = open_study(one, tmp_path, [])
    states = ["failed", "done", "done", "halted"]
    metrics = [{}, {"dev_eer": math.nan}, {"dev_eer": 1.0}, {"dev_eer": 0.0}]
    for number, (state, values) in enumerate(zip(states, metrics, strict=True)):
        study.tell(record(number, study.ask(number), state, **values))
    go(study, 12, [None] * 4)
    trials = loaded(tmp_path).trials
    assert [t.state.name for t in trials[:4]] == ["FAIL", "FAIL", "COMPLETE", "FAIL"]
    assert trials[3].user_attrs["state"] == "halted"
    assert trials[3].user_attrs["fidelity"] == 0.25
    assert 3 not in [t.number for t in loaded(tmp_path).best_trials]


def test_the_file_is_mended_completed_or_made_anew(tmp_path):
    one = spec()
    records = go(open_study(one, tmp_path, []), 12)
    path = tmp_path / FILE

    def ids():
        return sorted(t.user_attrs["plastsearch.trial"] for t in loaded(tmp_path).trials if t.state.name == "COMPLETE")

    whole = path.read_bytes()
    path.write_bytes(whole[:-40])  # torn in the middle of the last result
    assert not open_study(one, tmp_path, records).rebuilt
    assert ids() == list(range(12))
    orphan = open_study(one, tmp_path, records)
    orphan.ask(12)  # proposed, killed before the journal had it
    assert not open_study(one, tmp_path, records).rebuilt
    assert [t.state.name for t in loaded(tmp_path).trials].count("RUNNING") == 0
    changed = [*records[:-1], replace(records[-1], metrics={**records[-1].metrics, "dev_eer": 77.0})]
    assert open_study(one, tmp_path, changed).rebuilt
    assert ids() == list(range(12))
    path.write_bytes(b"\x00junk\n\n")
    open_study(one, tmp_path, records)
    assert ids() == list(range(12))
    path.unlink()
    open_study(one, tmp_path, records)
    assert ids() == list(range(12))


def test_a_stale_lock_does_not_hold_up_a_resume(tmp_path):
    one = spec()
    records = go(open_study(one, tmp_path, []), 3)
    (tmp_path / f"{FILE}.lock").symlink_to(tmp_path / FILE)
    assert len(go(open_study(one, tmp_path, records), 4, records)) == 4
    assert [trial.number for trial in loaded(tmp_path).trials] == [0, 1, 2, 3]


def test_the_search_learns():
    """After some trials, proposals dominate random ones more often than not."""
    one = spec({**SPACE, "layers": {**SPACE["layers"], "max": 6}})
    learnt = go(Study(one, open_space(one), None, []), 60)[40:]
    random = go(Study(spec(search={"sampler": "random"}), open_space(one), None, []), 60)[40:]
    dear = np.mean([r.metrics["backward_ratio"] * r.metrics["dev_eer"] for r in learnt])
    assert dear < np.mean([r.metrics["backward_ratio"] * r.metrics["dev_eer"] for r in random])


def test_proposing_imports_no_torch():
    code = (
        "import sys; sys.path.insert(0, 'tests/search')\n"
        "from test_study import *\n"
        "one = spec(); go(Study(one, open_space(one), None, []), 14)\n"
        "sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0


def test_dashboards_learn_of_constraints(tmp_path):
    """optuna-dashboard 0.21 reads one list without names, Optuna 5 itself one value for each."""
    go(open_study(spec(constraints=["params_total <= 1.08 * baseline"]), tmp_path, []), 12)
    for trial in loaded(tmp_path).trials:
        over = trial.values[2] / 1.08e5 - 1
        assert trial.system_attrs["constraints"] == [pytest.approx(over)]
        assert trial.constraints["params_total <= 1.08 * baseline"] == pytest.approx(over)


@pytest.mark.parametrize("state", ["done", "failed"])
def test_a_limit_in_multiples_of_the_baseline_waits_for_it(state, tmp_path):
    text = "dev_eer <= 0.9 * baseline"
    study = open_study(spec(constraints=[text]), tmp_path, [])
    early = go(study, 3)
    assert not any(trial.state.is_finished() for trial in loaded(tmp_path).trials)
    study = open_study(spec(constraints=[text]), tmp_path, early)  # a resume knows no more
    assert not any(trial.state.is_finished() for trial in loaded(tmp_path).trials)
    yardstick = replace(early[0], number=3, role="control", control="baseline", state=state, metrics={"dev_eer": 30.0})
    study.tell(yardstick)
    for trial, one in zip(loaded(tmp_path).trials, early, strict=True):
        assert trial.values[0] == one.metrics["dev_eer"]
        over = pytest.approx(one.metrics["dev_eer"] / 27 - 1) if state == "done" else None
        assert trial.constraints.get(text) == over
