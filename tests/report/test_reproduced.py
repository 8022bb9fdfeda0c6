"""Published figures are called reproduced, not, or not comparable, by the interval of the finalist that dev names."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from plastsearch.analysis.aims import judged
from plastsearch.analysis.results import Results
from plastsearch.documents import Heading, Table, as_markdown
from plastsearch.report.reproduced import reproduced
from plastsearch.report.sections import report
from plastsearch.spec.aims import Aim


def aiming(results: Results, *aims: dict[str, Any], clips: int | None = 71_237, **data: Any) -> Results:
    """The made sweep as if it had been run on 2019 LA, whose evaluation split has 71,237 clips."""
    base = {**results.spec["base"], "data": {"corpus": "asvspoof2019_la", "root": "x", **data}}
    spec = {
        **results.spec,
        "base": base,
        "aims": [{"source": "2202.12233", "system": "a paper's", **aim} for aim in aims],
    }
    finalists = []
    for one in results.finalists:
        rows = tuple(
            replace(row, record=replace(row.record, details={**row.record.details, "eval_clips": clips}))
            for row in one.rows
        )
        finalists.append(replace(one, rows=rows))
    changed = replace(results, spec=spec, finalists=tuple(finalists))
    return changed


LA = {"corpus": "asvspoof2019_la"}


def test_what_the_interval_holds_is_reproduced_and_what_lies_below_it_is_not(results: Results) -> None:
    (found,) = judged(aiming(results, {**LA, "mean": 9.0}))
    assert found.values == tuple(results.finalist.values("eval_eer"))
    low, high = found.interval
    assert low < found.mean < high
    for mean, verdict, why in (
        (low - 0.1, "not reproduced", "is above the published mean"),
        (found.mean, "reproduced", "holds the published mean"),
        (high + 0.1, "reproduced", "lies below the published mean"),
    ):
        (again,) = judged(aiming(results, {**LA, "best": 0.1 if mean > 0.1 else mean, "mean": mean}))
        assert (again.verdict, why in again.why) == (verdict, True)
    (best,) = judged(aiming(results, {**LA, "best": 0.01}))
    assert best.verdict == "not reproduced"
    assert "above the published best" in best.why


def test_another_task_is_not_comparable_and_the_reason_is_said(results: Results) -> None:
    aim = {**LA, "mean": 9.0}
    cases = [
        (aiming(results, {**aim, "corpus": "asvspoof2021_la"}), "scored on asvspoof2019_la, not asvspoof2021_la"),
        (aiming(results, aim, clips=400), "400 clips were scored, and asvspoof2019_la has 71237"),
        (aiming(results, aim, clips=None), "None clips were scored"),
    ]
    for changed, words in cases:
        (found,) = judged(changed)
        assert found.verdict == "not comparable"
        assert words in found.why
    capped = aiming(results, aim)
    data = {**capped.spec["base"]["data"], "clips": 500}
    (found,) = judged(replace(capped, spec={**capped.spec, "base": {**capped.spec["base"], "data": data}}))
    assert found.verdict == "not comparable"
    assert "trained on 500 clips" in found.why


def test_a_table_that_has_the_clips_of_the_published_split_is_comparable(results: Results) -> None:
    aim = {"corpus": "asvspoof2021_la", "mean": 50.0}
    (found,) = judged(aiming(results, aim, clips=148_176, corpus="manifest"))
    assert found.verdict == "reproduced"
    (found,) = judged(aiming(results, aim, clips=148_175, corpus="manifest"))
    assert found.verdict == "not comparable"


def test_without_finalists_nothing_is_known_yet(results: Results) -> None:
    (found,) = judged(replace(aiming(results, {**LA, "mean": 9.0}), finalists=()))
    assert (found.verdict, found.values, found.interval) == ("not known yet", (), None)


def test_the_report_has_a_section_where_a_space_has_aims(results: Results) -> None:
    assert reproduced(results) == []
    changed = aiming(results, {**LA, "mean": 50.0, "best": 1.0})
    heading, _, table, _ = reproduced(changed)
    assert isinstance(heading, Heading)
    assert isinstance(table, Table)
    assert table.rows[0][0] == "a paper's (arXiv 2202.12233)"
    assert table.rows[0][2:4] == ("50.00", "1.00")
    assert table.rows[0][-1] == "reproduced"
    assert "Published figures" in as_markdown(report(changed))


@pytest.mark.parametrize(
    ("aim", "words"),
    [
        ({}, "give the published best, mean or both"),
        ({"best": 3, "mean": 2}, "the best, 3 %, is above the mean, 2 %"),
        ({"mean": 3, "source": "somewhere"}, "should match pattern"),
        ({"mean": 300}, "less than or equal to 100"),
        ({"mean": 3, "corpus": "librispeech"}, "Input should be"),
    ],
)
def test_an_aim_that_says_nothing_or_the_wrong_thing_is_refused(aim: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Aim.model_validate({"corpus": "asvspoof5", "source": "2202.12233", "system": "x", **aim})
