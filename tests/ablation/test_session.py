"""Ablations through the driver: each run once, every cut resumed, mistakes in a sentence."""

import json
from dataclasses import replace

import pytest

from plastsearch.ablation.forecast import forecast
from plastsearch.ablation.session import AblationOptions, answer, ask, run
from plastsearch.analysis.ablations import load_ablations
from plastsearch.analysis.results import load_results
from plastsearch.errors import PlastsearchError, SpecError
from plastsearch.report.publish import render, report_json
from plastsearch.report.why import ablation_csv, order, publish_ablation
from plastsearch.tracking.journal import FILE, read
from plastsearch.tracking.records import trials
from tests.made_sweep import make_sweep

PLANTED = "tests.ablation.planted:trial"
ASKED = 4  # of the made sweep: three sites, neurons, regime, criterion


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("runs") / "w2v_layers")


def options(question, **more):
    where = {"root": question.folder.parent, "name": question.folder.name, "executor": "inline", "trial": PLANTED}
    return AblationOptions(**{**where, "finalists": False, "mlflow": "none", **more})


def ablated(sweep, trial="best", resume=True, **asked):
    question = ask(load_results(sweep), trial, **asked)
    outcome = run(question, options(question, resume=resume), lambda folder, view: [])
    assert outcome.status == "done"
    return question, answer(question)


def test_every_configuration_runs_once_and_never_enters_the_sweep(sweep):
    before = report_json(load_results(sweep))
    question, found = ablated(sweep, str(ASKED))
    records = trials(read(question.folder))
    ids = [record.id for record in records.values()]
    assert len(set(ids)) == len(ids) == found.runs <= question.plan.bound
    assert {record.state for record in records.values()} == {"done"}
    assert found.trial == ASKED
    assert found.metric == "dev_eer"
    after = report_json(load_results(sweep))
    assert after == before  # in this test nothing publishes the answer
    assert not (question.folder / "optuna.log").exists()  # nobody learns from these
    assert question.answered
    assert not ask(load_results(sweep), str(ASKED), seeds=2).answered


def test_the_report_and_the_mirror_show_what_was_found(sweep):
    question, found = ablated(sweep, str(ASKED))
    files = publish_ablation(found, question.folder)
    assert load_ablations(sweep) == [found]
    assert files["ablation.png"].read_bytes().startswith(b"\x89PNG")
    assert "Plotly.newPlot" in files["ablation.html"].read_text()
    assert len(ablation_csv(found).splitlines()) == 3 + len(found.forward.steps) + len(found.backward.steps)
    rendering = render(sweep)
    assert f"ablate/{ASKED}/ablation.png" in rendering.files
    assert f"## Why did it win?\n\n### Trial {ASKED}\n" in (sweep / "report" / "report.md").read_text()


def test_with_seeds_all_take_the_same_ones_and_intervals_come(sweep):
    question, found = ablated(sweep, str(ASKED), seeds=3, metric="params_total")
    seeds = {record.config["seed"] for record in trials(read(question.folder)).values()}
    assert seeds == set(found.seeds) == {0, 1, 2}
    step = found.forward.steps[0]
    assert step.low == step.high == step.points  # a number of parameters does not scatter
    assert found.family == len({(s.fields, s.value) for way in found.paths for s in way.steps})


def test_one_seed_of_a_metric_without_clips_says_that_it_has_no_interval(sweep):
    _, found = ablated(sweep, str(ASKED), metric="backward_ratio")
    assert found.forward.steps[0].low is None
    assert "use --seeds 3" in str(found.forward.steps[0].missing)


def test_the_limit_on_runs_ends_the_paths_and_a_larger_one_goes_on(tmp_path):
    sweep = make_sweep(tmp_path / "w2v_layers")
    _, found = ablated(sweep, str(ASKED), resume=False, most=14)
    assert found.runs <= 14
    assert not found.complete
    assert "cannot be compared" in order(found).words
    assert any("--max-runs 14" in note for note in found.notes)
    _, whole = ablated(sweep, str(ASKED))
    assert whole.complete
    assert whole.forward.steps[: len(found.forward.steps)] == tuple(
        step.model_copy(update={"p_corrected": other.p_corrected})
        for step, other in zip(found.forward.steps, whole.forward.steps, strict=False)
    )


@pytest.mark.slow
def test_a_driver_killed_after_any_line_goes_on_to_the_same_answer(tmp_path):
    sweep = make_sweep(tmp_path / "w2v_layers")
    question, whole = ablated(sweep, str(ASKED), resume=False)
    lines = (question.folder / FILE).read_bytes().splitlines(keepends=True)
    for cut in range(2, len(lines), 31):
        (question.folder / FILE).write_bytes(b"".join(lines[:cut]))
        if trials(read(question.folder)) and not question.finished:
            with pytest.raises(PlastsearchError, match=r"unfinished.*\n  plastsearch ablate .* 4 --resume"):
                run(question, options(question), lambda folder, view: [])
        _, again = ablated(sweep, str(ASKED))
        assert again.model_copy(update={"seconds": whole.seconds}) == whole
        assert len({record.id for record in trials(read(question.folder)).values()}) == whole.runs


def test_a_baseline_that_fails_leaves_no_path_and_all_that_fails_ends_the_ablation(tmp_path):
    question = ask(load_results(make_sweep(tmp_path / "w2v_layers")), str(ASKED))
    where = options(question, trial="tests.ablation.planted:without_baseline")
    assert run(question, where, lambda folder, view: []).status == "done"
    with pytest.raises(PlastsearchError, match=r"the baseline failed when run again with seed 0.*: no baseline today"):
        answer(question)
    question = ask(load_results(make_sweep(tmp_path / "other")), str(ASKED))
    outcome = run(question, options(question, trial="tests.ablation.planted:broken"), lambda folder, view: [])
    assert (outcome.status, outcome.exit_code) == ("failures", 4)
    assert "the disk is on fire" in str(outcome.reason)


def test_a_dry_run_foretells_what_then_runs(sweep):
    question = ask(load_results(sweep), str(ASKED))
    found = forecast(question)
    assert found.fields == len(question.plan.contrast.fields)
    assert found.runs <= found.most
    assert 0 < found.shared < found.stages
    assert found.seconds is not None
    assert found.seconds > 0


MISTAKES = {
    "99": "no trial 99 in its table; numbers there: 0 to",
    "first": "trial 'first': give its number, or best, or knee",
    "23": "trial 23 has no result: it is failed .loss became NaN",
    "24": "trial 24 has no result: it is halted",
    "0": "baseline .no growth. is the baseline itself",
    "26": "trial 26 runs trial .* again with another seed",
}


@pytest.mark.parametrize("trial", MISTAKES)
def test_a_trial_that_cannot_be_asked_about_is_refused_in_a_sentence(sweep, trial):
    with pytest.raises(PlastsearchError, match=MISTAKES[trial]):
        ask(load_results(sweep), trial)


def test_metrics_and_limits_that_make_no_sense_are_refused(sweep):
    results = load_results(sweep)
    with pytest.raises(PlastsearchError, match="unknown metric 'dev_err'; did you mean 'dev_eer'"):
        ask(results, metric="dev_err")
    with pytest.raises(PlastsearchError, match="unknown metric 'eval_eer'"):  # nothing that selects may see it
        ask(results, metric="eval_eer")
    del results.rows[0].metrics["turnover"]
    with pytest.raises(PlastsearchError, match=r"--metric turnover: baseline .no growth. does not have it"):
        ask(results, metric="turnover")
    with pytest.raises(PlastsearchError, match="--max-runs 2: the first step alone takes"):
        ask(results, most=2)


def test_a_folder_without_a_journal_is_no_sweep(tmp_path):
    with pytest.raises(PlastsearchError, match=r"no sweep here \(trials.jsonl is missing\)"):
        load_results(tmp_path)


def test_a_trial_of_another_space_is_refused(sweep):
    results = load_results(sweep)
    spec = json.loads(json.dumps(results.spec))
    spec["base"]["data"]["length_samples"] = 8000
    other = replace(results, spec=spec)
    question = ask(other, str(ASKED))  # the base differs, so the trial differs from it in one field more
    assert "data.length_samples" in question.plan.contrast.names
    spec["space"]["neurons"] = {"kind": "nonsense"}
    with pytest.raises(PlastsearchError, match=r"cannot read the sweep's space .space.neurons"):
        ask(replace(results, spec=spec), str(ASKED))


def test_a_corpus_that_has_gone_is_told_before_anything_runs(sweep, tmp_path):
    results = load_results(sweep)
    spec = json.loads(json.dumps(results.spec))
    spec["base"]["data"] |= {"corpus": "asvspoof2019_la", "root": str(tmp_path / "gone")}
    with pytest.raises(SpecError, match=r"base.data.root: .*gone is no folder here"):
        ask(replace(results, spec=spec), str(ASKED))


def test_an_ablation_of_an_edited_space_is_not_mixed_with_the_old(sweep):
    question, _ = ablated(sweep, str(ASKED))
    edited = question.spec.model_copy(update={"base": question.spec.base.model_copy(update={"timing_steps": 5})})
    with pytest.raises(SpecError, match=r"resuming needs the same space, and it differs in base.timing_steps"):
        run(replace(question, spec=edited), options(question, resume=True), lambda folder, view: [])
