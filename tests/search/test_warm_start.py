"""What earlier sweeps teach: what fits is kept and the rest said, their fronts open, their trials count while alike."""

import csv
import json
import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plastsearch.analysis.results import load_results
from plastsearch.errors import PlastsearchError, SpecError
from plastsearch.report.tables import trials_csv
from plastsearch.search.earlier_trials import read_source
from plastsearch.search.openings import MOST, SHARE
from plastsearch.search.space import open_space
from plastsearch.search.study import Study, open_study
from plastsearch.search.warm_start import learn, sweeps_of
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.earlier import FILE, kept
from tests.made_sweep import WRITTEN, make_sweep
from tests.search.test_study import go, record

OBJECTIVES = ["dev_eer", "backward_ratio", "params_total"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A sweep of 30 finished trials, one that failed, one that was halted, one without all objectives."""
    return make_sweep(tmp_path_factory.mktemp("old") / "first", search=30)


def spec(*sources, **changes):
    search = {
        **WRITTEN["search"],
        "trials": 40,
        "warm_start": [str(one) for one in sources],
        **changes.pop("search", {}),
    }
    space = {**WRITTEN["space"], **changes.pop("space", {})}
    space = {key: domain for key, domain in space.items() if domain is not None}
    return SweepSpec.model_validate({**WRITTEN, "controls": [], "search": search, "space": space, **changes})


def taught(one):
    return learn(one, open_space(one))


def test_a_folder_teaches_its_finished_search_trials_alone(source):
    earlier = taught(spec(source))
    assert [len(sweep.trials) for sweep in earlier.sweeps] == [30]
    results = load_results(source)
    rows = {tuple(row.values) for row in results.rows if row.record.role == "search" and row.allowed is not None}
    assert {tuple(trial.values) for trial in earlier.sweeps[0].trials} == rows
    assert earlier.sweeps[0].said.endswith(
        "first: 30 of 33 trials fit this space (not 2: no result; 1: an objective was not measured)"
    )


def test_openings_come_first_and_so_many(source):
    one = spec(source)
    earlier = taught(one)
    space = open_space(one)
    found = [space.config(opening.params).trial_id() for opening in earlier.openings]
    assert len(found) == len(set(found))
    assert 4 < len(found) <= 40 // SHARE
    assert len(found) <= len(taught(spec(source, search={"trials": 400})).openings) <= MOST
    study = Study(one, space, None, [], None, earlier)
    records = go(study, 40)
    assert [record.id for record in records[: len(found)]] == found
    origins = [record.origin for record in records]
    assert origins[: len(found)] == ["warm_start"] * len(found)
    assert set(origins[len(found) : len(found) + 4]) == {"anchor"}
    assert origins[-1] == "sampler"
    assert [each.params for each in taught(one).openings] == [each.params for each in earlier.openings]


@pytest.mark.parametrize(
    ("key", "domain", "words"),
    [
        ("neurons", {"kind": "int", "low": 16, "high": 64, "step": 16}, r"neurons lies outside 16 to 64, such as \d+"),
        ("criterion", {"kind": "choice", "of": ["taylor", "fisher"]}, r"criterion is no choice here, such as \w+"),
        (
            "layers",
            {"kind": "subset", "of": "encoder.{0..3}.ffn", "max": 3},
            r"a site that is not chosen from here, such as encoder.[45].f",
        ),
        ("layers", {"kind": "subset", "of": "encoder.*.ffn", "max": 1}, "not 1 to 1 sites, such as [23]"),
    ],
)
def test_what_does_not_fit_is_left_out_and_said(source, key, domain, words):
    one = spec(source, space={key: domain})
    found = sweeps_of(str(source), one, open_space(one))[0]
    assert 0 < len(found.trials) < 30
    assert re.search(words, found.said), found.said
    whole = taught(spec(source)).sweeps[0].trials
    assert {tuple(trial.values) for trial in found.trials} < {tuple(trial.values) for trial in whole}


def test_new_parameters_are_what_was_fixed_there_or_drawn(source):
    """`keep` was fixed at its default there; what excludes that excludes them all."""
    one = spec(source, space={"keep": {"kind": "float", "low": 0.0, "high": 0.9}})
    trials = taught(one).sweeps[0].trials
    assert len(trials) == 30
    assert {trial.params["keep"] for trial in trials} == {open_space(one).base.keep}
    with pytest.raises(
        SpecError,
        match=r"search.warm_start.0: .*first: 0 of 33 trials fit .*\(not 30: keep lies outside 0.6 to 0.9, such as 0;",
    ):
        taught(spec(source, space={"keep": {"kind": "float", "low": 0.6, "high": 0.9}}))


def test_values_between_steps_move_to_the_nearest(source):
    one = spec(source, space={"neurons": {"kind": "int", "low": 10, "high": 130, "step": 10}})
    found = taught(one).sweeps[0]
    assert len(found.trials) == 30
    assert {trial.params["neurons"] % 10 for trial in found.trials} == {0}
    assert found.said.endswith(" of them at the nearest step")


def test_parameters_that_are_not_searched_any_more_are_dropped(source):
    earlier = taught(spec(source, space={"criterion": None}))
    assert len(earlier.sweeps[0].trials) == 30
    assert "criterion" not in earlier.parameters


def test_what_lacks_an_objective_is_refused(source):
    lines = [json.loads(line) for line in (source / "trials.jsonl").read_text().splitlines()]
    for line in lines:
        line.get("metrics", {}).pop("dev_cllr", None)
    folder = source.with_name("lacking")
    folder.mkdir()
    (folder / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    one = spec(source, folder, objectives=[{"metric": "dev_eer"}, {"metric": "dev_cllr"}])
    words = r"search.warm_start.1: .*lacking: none of its 31 trials has 'dev_cllr', which is an objective here"
    with pytest.raises(SpecError, match=words):
        taught(one)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: root / "nowhere", "nothing is there"),
        (lambda root: root, r"no sweep here \(trials.jsonl is missing\)"),
        (lambda root: _file(root / "a.txt", "x"), "neither a sweep's folder"),
        (lambda root: _file(root / "a.csv", "colour,dev_eer\nred,3\n"), "no column says what a trial was"),
        (lambda root: _file(root / "a.parquet", "junk"), "cannot be read as a table"),
        (lambda root: "s3://bucket/sweep", "fetch it with `plastsearch store pull`"),
        (lambda root: "mlflow:#", "write mlflow:URI#EXPERIMENT"),
    ],
)  # fmt: skip
def test_sources_that_cannot_be_read_are_named(tmp_path, make, words):
    with pytest.raises(SpecError, match=words):
        taught(spec(make(tmp_path)))


def _file(path, text):
    path.write_text(text)
    return path


def test_tables_teach_what_the_folder_teaches(source, tmp_path):
    """The report's CSV, and the same as Parquet, of a sweep over the same encoding."""
    one = spec(source)
    space = open_space(one)
    # Rows of equal parameters are runs of one trial there, and this sweep has tried some twice.
    distinct = list({json.dumps(trial.params): trial for trial in taught(one).sweeps[0].trials}.values())
    rows = [
        {"role": "search", "state": "done", "eval_eer": 1.0}
        | {f"params.{name}": value for name, value in trial.params.items()}
        | dict(zip(OBJECTIVES, trial.values, strict=True))
        for trial in distinct
    ]
    rows.append({**rows[0], "role": "finalist", "dev_eer": 0.0})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "trials.parquet")
    with (tmp_path / "trials.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for name in ("trials.parquet", "trials.csv"):
        assert sweeps_of(str(tmp_path / name), one, space)[0].trials == distinct


def test_a_report_s_own_table_is_read(tmp_path):
    one = spec(tmp_path / "trials.csv")
    space = open_space(one)
    study = Study(one.model_copy(update={"search": one.search.model_copy(update={"warm_start": ()})}), space, None, [])
    records = go(study, 12)
    results = load_results(make_sweep(tmp_path / "x", search=2))
    rows = [replace(results.rows[-1], record=each) for each in records]
    (tmp_path / "trials.csv").write_text(trials_csv(replace(results, rows=tuple(rows), finalists=())))
    assert [trial.params for trial in taught(one).sweeps[0].trials] == [dict(each.params) for each in records]


def test_recorded_tables_are_read_seeds_as_means(tmp_path):
    rows = [
        {"layers": "encoder.1.ffn,encoder.2.ffn", "neurons": 32, "criterion": "taylor", "regime": "frozen",
         "seed": seed,          "dev_eer": 10.0 + seed, "backward_ratio": 0.5, "params_total": 1e5, "eval_eer": 99.0}
        for seed in (0, 1, 2)
    ]  # fmt: skip
    rows.append({**rows[0], "layers": "", "neurons": 0, "criterion": "", "regime": "", "dev_eer": 20.0})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "recorded.parquet")
    one = spec(tmp_path / "recorded.parquet", constraints=["dev_eer <= 0.5 * baseline"])
    trial, = taught(one).sweeps[0].trials  # fmt: skip
    assert trial.values == [11.0, 0.5, 1e5]
    assert trial.excess == pytest.approx(0.1)
    assert trial.params["layers.encoder.1.ffn"] is True
    assert sum(value is True for value in trial.params.values()) == 2


def test_nothing_of_the_evaluation_split_is_read(source):
    found = read_source(str(source), ["layers"], ["dev_eer", "eval_eer"])[0]
    assert {name for trial in found.trials for name in trial.metrics} == {"dev_eer"}


def test_a_resume_goes_by_what_was_kept(source, tmp_path):
    moving = make_sweep(tmp_path / "old", search=30)
    one = spec(moving)
    folder = tmp_path / "new"
    folder.mkdir()
    whole = go(open_study(one, folder, []), 24)
    (moving / "trials.jsonl").unlink()
    for count in (1, 7, 21):
        again = open_study(one, folder, whole[:count])
        assert [each.id for each in go(again, 24, whole[:count])] == [each.id for each in whole]


def test_what_was_kept_must_be_there_and_agree(source, tmp_path):
    one = spec(source)
    records = go(open_study(one, tmp_path, []), 3)
    with pytest.raises(PlastsearchError, match=r"does not agree with the sweep: it was read from .*first"):
        open_study(spec("/elsewhere"), tmp_path, records)
    changed = spec(source, space={"neurons": {"kind": "int", "low": 16, "high": 256, "step": 16}})
    with pytest.raises(PlastsearchError, match="it was read for another space"):
        open_study(changed, tmp_path, records)
    found = kept(tmp_path)
    (tmp_path / FILE).write_text(found.model_copy(update={"openings": found.openings[3:]}).model_dump_json())
    with pytest.raises(PlastsearchError, match="trial 0 opened this sweep and is not in it"):
        open_study(one, tmp_path, records)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(PlastsearchError, match=f"{FILE}: cannot be read"):
        open_study(one, tmp_path, records)
    (tmp_path / FILE).unlink()
    with pytest.raises(PlastsearchError, match=f"{FILE} is missing: it holds what this sweep was told"):
        open_study(one, tmp_path, records)


@pytest.mark.parametrize("sampler", ["random", "nsga2", "grid"])
def test_other_samplers_take_the_openings(source, sampler):
    """A grid needs steps, which this space has."""
    one = spec(source, search={"sampler": sampler})
    earlier = taught(one)
    records = go(Study(one, open_space(one), None, [], None, earlier), 12)
    assert [each.origin for each in records[:5]] == ["warm_start"] * 5
    assert len({each.id for each in records}) == 12


def test_earlier_trials_count_while_they_foretell_and_not_otherwise(tmp_path):
    """A sweep told of a like one proposes otherwise than one told of its mirror image, whose trials weigh nothing."""
    plain = spec()
    space = open_space(plain)
    old = go(Study(plain, space, None, []), 40)
    weights = {}
    for name, sign in (("like", 1.0), ("mirrored", -1.0)):
        rows = [{f"params.{key}": value for key, value in each.params.items()}
                | {metric: sign * each.metrics[metric] for metric in OBJECTIVES} for each in old]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
        one = spec(tmp_path / f"{name}.parquet")
        earlier = taught(one).model_copy(update={"openings": []})  # they would run all that is good themselves
        study = Study(one, space, None, [], None, earlier)
        found = go(study, 30)
        (foretelling,) = earlier.foretellings()
        told = foretelling.of(earlier.rows([each.params for each in found]))
        losses = earlier.losses([[each.metrics[metric] for metric in OBJECTIVES] for each in found])
        lent = study._sampler._memory.lent()
        weights[name] = (foretelling.weight(told, losses), len(lent))
        # What has run here as well counts by its own result, and what is lent weighs as much less.
        run = {row.tobytes() for row in study._sampler._memory.params}
        assert not [row for one in lent for row in (*one.good, *one.bad) if row.tobytes() in run]
    assert weights["mirrored"] == (0, 0)
    assert weights["like"][0] > 0.25
    assert weights["like"][1] == 1


def test_several_sources_open_in_turn(source, tmp_path):
    other = make_sweep(tmp_path / "second", search=20, seed=5)
    earlier = taught(spec(source, other))
    assert [opening.of for opening in earlier.openings][:4] == [0, 1, 0, 1]
    assert [sweep.name for sweep in earlier.sweeps] == ["first", "second"]


def test_another_method_is_not_searched_here(source):
    one = spec(source, base={**WRITTEN["base"], "method": "dropin"}, space={"criterion": None, "regime": None})
    with pytest.raises(SpecError, match="30: its method is not searched here, such as plasticity"):
        taught(one)


def test_a_measured_trial_is_not_told_twice(source):
    """Openings run anew: what another task measured is no result of this one."""
    one = spec(source)
    study = Study(one, open_space(one), None, [], None, taught(one))
    proposal = study.ask(0)
    assert (proposal.origin, proposal.reuse_of) == ("warm_start", None)
    study.tell(record(0, proposal))
    assert len(study._sampler._memory.numbers) == 0


def test_widths_of_each_site_are_no_width_of_all(tmp_path):
    """Written for each site there, one number for all here; the reason stands once for all such trials."""
    known = {"layers": "encoder.1.ffn,encoder.2.ffn", "criterion": "taylor", "regime": "frozen"}
    known |= dict.fromkeys(OBJECTIVES, 1.0)
    rows = [known | {"neurons": json.dumps({"encoder.1.ffn": at, "encoder.2.ffn": 16})} for at in (32, 48)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "each.parquet")
    with pytest.raises(SpecError, match=r"0 of 2 trials fit this space \(not 2: neurons is no number, such as"):
        taught(spec(tmp_path / "each.parquet"))


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_source_of_few_trials_opens_and_weighs_nothing_yet(source, tmp_path, count):
    one = spec(source)
    earlier = taught(one)
    sweep = earlier.sweeps[0].model_copy(update={"trials": earlier.sweeps[0].trials[:count]})
    few = earlier.model_copy(update={"sweeps": [sweep], "openings": earlier.openings[:1]})
    records = go(Study(one, open_space(one), None, [], None, few), 14)
    assert (len(records), records[0].origin) == (14, "warm_start")
