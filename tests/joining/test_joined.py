"""Sweeps side by side: means over sweeps by hand, the command and its files, what is set apart."""

import json
import math

import pytest
from typer.testing import CliRunner

from plastsearch.analysis.paired import Estimate
from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.joining.joined import join
from plastsearch.joining.meta import pooled
from tests.made_sweep import make_sweep


def test_a_random_effects_mean_by_hand():
    """Three of equal variance 1: weights are equal, so mean and interval are those of Student's t."""
    found = pooled([Estimate(value, value - 1.959964, value + 1.959964) for value in (1.0, 4.0, 7.0)])
    assert found.value == pytest.approx(4.0)
    assert found.between == pytest.approx(math.sqrt(9 - 1))
    assert found.high - 4.0 == pytest.approx(4.302653 * 3 / math.sqrt(3), abs=1e-4)


def test_sweeps_that_agree_too_well_keep_the_width_of_their_own():
    found = pooled([Estimate(5.0, 3.0, 7.0), Estimate(5.0, 3.0, 7.0)])
    size = 2.0 / 1.959964 / math.sqrt(2)
    assert (found.between, found.value) == (0.0, 5.0)
    assert found.high - 5.0 == pytest.approx(12.7062 * size, abs=1e-3)


def test_the_surer_sweep_weighs_more():
    found = pooled([Estimate(0.0, -0.1, 0.1), Estimate(1.0, -4.0, 6.0)])
    assert 0 < found.value < 0.05


def test_without_intervals_it_is_the_plain_mean():
    found = pooled([Estimate(1.0), Estimate(2.0, 1.0, 3.0), Estimate(6.0)])
    assert (found.value, found.weighted) == (3.0, False)
    assert found.low < 1.0 < 6.0 < found.high
    assert pooled([]) is None
    assert pooled([Estimate(2.0, 1.0, 3.0)]).sweeps == 1


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("joined")
    return [make_sweep(root / name, seed=at, search=5, seeds=(1,)) for at, name in enumerate(["a", "b", "c"])]


@pytest.fixture(scope="module")
def found(folders):
    return join(folders)


def test_reductions_are_pooled_over_sweeps(found):
    line = next(one for one in found.methods if one.name == "plasticity")
    own = [arm.less for arm in line.arms]
    assert line.less == pooled(own)
    assert min(one.value for one in own) < line.less.value < max(one.value for one in own)
    assert line.eval_less.sweeps == 3


def test_configurations_are_joined_whatever_their_seed_and_clips(found):
    (baseline,) = [one for one in found.configurations if one.words == "method baseline"]
    control = [member.results.control("baseline").values[0] for member in found.members]
    assert [value.value for value in baseline.values] == control


def test_a_sweep_that_asks_something_else_is_set_apart(folders, tmp_path):
    other = make_sweep(tmp_path / "other", seed=7, search=4)
    path = other / "trials.jsonl"
    path.write_text(path.read_text().replace('"preset": "tiny"', '"preset": "small"'))
    found = join([*folders[:2], other])
    assert [one.label for one in found.members] == ["a", "b"]
    assert "other (" in found.apart[0]
    assert "another setup (base.model.preset)" in found.apart[0]
    with pytest.raises(PlastsearchError, match="no two of these sweeps ask the same"):
        join([folders[0], other])


@pytest.mark.slow
def test_the_command_prints_and_writes_them(folders, tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["report", *map(str, folders), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "Sweeps joined: a, b, c" in result.output
    assert "No critical-difference diagram" in result.output
    assert {path.name for path in out.iterdir()} == {"joined.html", "joined.md", "joined.tex", "joined.csv",
                                                    "joined.parquet"}  # fmt: skip
    assert not (folders[0] / "report").exists()
    lines = (out / "joined.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(len(one.results.every) for one in join(folders).members)
    told = json.loads(CliRunner().invoke(app, ["report", *map(str, folders), "--json"]).output)
    assert [one["label"] for one in told["sweeps"]] == ["a", "b", "c"]
    assert told["ranks"] is None


def with_attacks(folder, corpus):
    """The sweep on another corpus, whose trials tell of four attacks."""
    path = folder / "trials.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    for event in events:
        if event["event"] == "propose":
            event["config"]["data"]["corpus"] = corpus
        if event["event"] == "end" and "dev_eer" in event["metrics"]:
            event["details"]["per_attack"] = {f"A{n}": event["metrics"]["dev_eer"] * n / 4 for n in range(1, 5)}
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


@pytest.mark.slow
def test_methods_are_ranked_over_corpora_and_attacks(tmp_path):
    corpora = ("synthetic", "in_the_wild", "in_the_wild")
    sweeps = [with_attacks(make_sweep(tmp_path / f"s{n}", seed=n, search=5), one) for n, one in enumerate(corpora)]
    found = join(sweeps)
    assert (found.corpora, found.blocks) == (2, 8)  # two sweeps on the same clips are no two blocks
    assert len(found.ranks.methods) == 4
    first, second, third = (next(arm for arm in one.table.arms if arm.name == "plasticity") for one in found.members)
    at = found.ranks.methods.index("plasticity")
    values = dict(zip(found.ranks.blocks, found.ranks.values, strict=True))
    assert values["synthetic A4"][at] == pytest.approx(first.dev.value)
    assert values["in_the_wild A4"][at] == pytest.approx((second.dev.value + third.dev.value) / 2)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["report", *map(str, sweeps), "--out", str(out)])
    assert "These are 2 corpora" in result.output
    assert "No critical-difference diagram" not in result.output
    assert (out / "joined_ranks.svg").exists()
    assert "<svg" in (out / "joined.html").read_text()


@pytest.mark.slow
def test_the_merge_command_says_what_it_did_and_report_reads_it(folders, tmp_path):
    result = CliRunner().invoke(app, ["merge", *map(str, folders), str(folders[0]), "--out", str(tmp_path / "m")])
    assert result.exit_code == 0, result.output
    assert f"{folders[0]} is the same sweep as {folders[0]}, or a part of it, so it counts once" in result.output
    assert "runs of a, b, c are in" in result.output
    result = CliRunner().invoke(app, ["report", str(tmp_path / "m"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "Sweeps joined" in result.output
    assert "Results were joined from 3 sweeps (a, b, c)" in (tmp_path / "out" / "report.md").read_text()
    assert "No picture" not in (tmp_path / "out" / "report.html").read_text()


def test_what_is_of_one_sweep_is_refused_for_several(folders):
    result = CliRunner().invoke(app, ["report", *map(str, folders), "--under", "params_total=1e6"])
    assert isinstance(result.exception, PlastsearchError)
    assert "name a single folder" in str(result.exception)
