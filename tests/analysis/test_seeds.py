"""What `plastsearch noise` says of runs whose truth is known: reliability, the better metric, seeds it takes."""

import json
import math

import numpy as np
import pytest
from scipy.stats import nct, spearmanr, t
from typer.testing import CliRunner

from plastsearch.analysis.seeds import best, measure, page, seeds_to_show
from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.tracking.events import Ended, Opened, Proposed, SessionBegun
from plastsearch.tracking.records import TrialRecord


def records(seed=0, configurations=10, seeds=4, between=1.0, rest=1.5):
    """Error rates with much luck, a Cllr of the same truth with little, a loss that knows nothing."""
    rng = np.random.default_rng(seed)
    truth = between * rng.standard_normal(configurations)
    found = []
    for offset in range(seeds):
        for at in range(configurations):
            luck = rest * rng.standard_normal()
            metrics = {
                "dev_eer": 20 + truth[at] + luck + 3 * offset,
                "dev_cllr": 0.7 + 0.05 * (truth[at] + 0.3 * rng.standard_normal()),
                "dev_auc": 0.8 - 0.02 * (truth[at] + luck),
                "train_loss": float(rng.standard_normal()),
            }
            number = offset * configurations + at
            role = "search" if offset == 0 else "replicate"
            found.append(
                TrialRecord(number, f"{number}", role, None, {}, {"seed": offset}, of=at if offset else None,
                            seed=offset, state="done", metrics=metrics)
            )  # fmt: skip
    return found


def test_the_metric_that_foretells_the_error_rate_is_found_and_one_that_shares_its_luck_is_not():
    found = {one.metric: one for one in measure(records())}
    assert found["dev_cllr"].noise.reliability > 0.8 > found["dev_eer"].noise.reliability
    assert best(list(found.values())).metric == "dev_cllr"
    # dev_auc is dev_eer in disguise: within a run they agree fully, and of another seed it says no more.
    assert found["dev_auc"].foretells == pytest.approx(found["dev_eer"].foretells, abs=1e-9)
    assert found["dev_cllr"].foretells > found["dev_eer"].foretells + 0.05
    assert found["train_loss"].low < 0 < found["train_loss"].high
    assert found["dev_eer"].noise.seeds == pytest.approx(3 * np.std([0, 1, 2, 3], ddof=1), rel=0.3)


def test_it_foretells_by_rank_at_other_seeds_only():
    runs = records(configurations=9, seeds=2)
    eer, cllr = (np.array([one.metrics[name] for one in runs]).reshape(2, 9) for name in ("dev_eer", "dev_cllr"))
    expected = np.mean([spearmanr(cllr[0], eer[1])[0], spearmanr(cllr[1], eer[0])[0]])
    found = {one.metric: one for one in measure(runs)}
    assert found["dev_cllr"].foretells == pytest.approx(expected)
    assert found["dev_cllr"].low < expected < found["dev_cllr"].high


def test_seeds_for_a_difference_reach_the_power_asked_for():
    count = seeds_to_show(1.0, 1.0, 0.8)
    rng = np.random.default_rng(0)
    differences = 1.0 + math.sqrt(2) * rng.standard_normal((4000, count))
    score = differences.mean(axis=1) / differences.std(axis=1, ddof=1) * math.sqrt(count)
    assert (np.abs(score) > t.ppf(0.975, count - 1)).mean() == pytest.approx(0.82, abs=0.04)
    fewer = count - 1
    shift = math.sqrt(fewer) / math.sqrt(2)
    assert 1 - nct.cdf(t.ppf(0.975, fewer - 1), fewer - 1, shift) < 0.8
    assert seeds_to_show(0.01, 5.0, 0.8) is None


def test_words_say_what_to_do():
    text = "\n".join(page(measure(records()), None, 0.8)[-1].items)
    assert "mostly luck" in text
    assert "search by it, `objectives: [{metric: dev_cllr, goal: min}, …]`" in text
    assert "replicate: auto" in text
    nothing = "\n".join(page(measure(records(between=0.0, seed=3)), 2.0, 0.8)[-1].items)
    assert "difference of 2 points" in nothing


def test_a_sweep_that_has_run_is_read_and_one_without_seeds_is_refused(tmp_path):
    folder = tmp_path / "swept"
    folder.mkdir()

    def write(seeds):
        events = [Opened(at=1.0, name="swept", spec={}), SessionBegun(at=1.0, session="a")]
        for one in records(seeds=seeds):
            said = {} if one.role == "search" else {"of": one.of, "seed": one.seed}
            events.append(
                Proposed(at=2.0, trial=one.number, id=one.id, role=one.role, params={}, config=one.config, **said)
            )
            events.append(Ended(at=3.0, trial=one.number, attempt=1, state="done", metrics=one.metrics))
        (folder / "trials.jsonl").write_text("".join(json.dumps(event.as_json()) + "\n" for event in events))

    write(4)
    told = CliRunner().invoke(app, ["noise", str(folder), "--json"])
    assert told.exit_code == 0
    said = json.loads(told.stdout)
    assert said["objective"] == "dev_cllr"
    assert {one["metric"] for one in said["metrics"]} == {"dev_eer", "dev_cllr", "dev_auc", "train_loss"}
    write(1)
    refused = CliRunner().invoke(app, ["noise", str(folder)])
    assert isinstance(refused.exception, PlastsearchError)
    assert "one of them with two seeds" in str(refused.exception)
