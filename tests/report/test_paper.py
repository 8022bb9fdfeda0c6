"""What a paper takes: its table by hand, LaTeX that holds together whatever names say, the methods paragraph."""

import json
import re
from dataclasses import replace
from statistics import fmean

import pytest

from plastsearch.analysis.attacks import by_attack
from plastsearch.analysis.paired import over_seeds
from plastsearch.analysis.paper import paper_table
from plastsearch.documents import Table, as_markdown
from plastsearch.report.latex import escaped, latex_table
from plastsearch.report.methods import paragraph
from plastsearch.report.paper_section import attacks_table, gather, table
from plastsearch.tracking.events import SessionBegun

EVIL = ["a_b & 50 % of {x}", "\\input{/etc/passwd}", "#1 ~^ $x$", "<b>|`\"'", "中 é – ≤ ×", "[0, 1]", "two\nlines", "%"]


def checked(text):
    """A small reader of LaTeX: groups and environments close, specials are escaped, rows have their columns."""
    body = re.sub(r"(?m)^%.*$", "", text)
    opened = re.findall(r"\\(begin|end)\{(\w+)\}", body)
    stack = []
    for what, name in opened:
        if what == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    plain = re.sub(r"\\[\\&%$#_{}]", lambda found: "" if found.group() != "\\\\" else "\\\\", body)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert not re.search(r"[#_]", re.sub(r"\\label\{[^}]*\}", "", plain))
    assert all(line.endswith("{%") for line in plain.splitlines() if "%" in line)  # of \resizebox alone
    for kinds, rows in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", plain, re.DOTALL):
        for row in re.findall(r"(?m)^(.*) \\\\$", rows):
            assert row.count("&") + 1 == len(kinds)
    return body


@pytest.mark.parametrize("evil", EVIL)
def test_any_text_is_escaped(evil):
    found = checked(latex_table(Table(("name", "value"), ((evil, evil),), frozenset({"name"})), evil, evil))
    assert "\\input" not in found
    assert all(sign.isascii() or "\u00c0" <= sign <= "\u017f" for sign in found)


def test_numbers_keep_their_minus_and_words_their_hyphen():
    assert escaped("-5.4 [-15.4, +4.6]") == "$-$5.4 [$-$15.4, +4.6]"
    assert escaped("equal-budget 2019-04") == "equal-budget 2019-04"


def test_the_arms_are_controls_and_the_best_of_each_method(results):
    found = paper_table(results)
    assert [one.name for one in found.arms] == [
        "baseline (no growth)",
        "LoRA, same sites",
        "random sites",
        "plasticity",
    ]
    assert found.arms[-1].row is results.winner
    assert found.notes == ()


def test_the_numbers_of_the_table_by_hand(results):
    base, *_, grown = paper_table(results).arms
    again = next(one for one in results.finalists if one.of == grown.row.number)
    assert grown.dev.value == grown.row.metrics["dev_eer"]
    assert grown.evaluation.value == pytest.approx(fmean(again.values("eval_eer")))
    assert grown.eval_seeds == len(again.rows) == 2
    assert grown.less.value == pytest.approx(100 * (1 - grown.dev.value / base.dev.value))
    assert grown.less.low < grown.less.value < grown.less.high
    assert (base.less, base.eval_less) == (None, None)
    others = next(one for one in results.finalists if one.of == base.row.number)
    expected = 100 * (1 - fmean(again.values("eval_eer")) / fmean(others.values("eval_eer")))
    assert grown.eval_less.value == pytest.approx(expected)
    shown = table(paper_table(results))
    assert shown.rows[0][shown.columns.index("eval EER %")].startswith(f"{base.evaluation.value:.2f} [")


def test_evaluation_scores_choose_no_arm(results):
    """With evaluation results turned round the same trials stand in the table."""

    def turned(row):
        metrics = row.metrics | {"eval_eer": 100 - row.metrics["eval_eer"]}
        return replace(row, record=replace(row.record, metrics=metrics))

    other = tuple(replace(one, rows=tuple(turned(row) for row in one.rows)) for one in results.finalists)
    before, after = (paper_table(one).arms for one in (results, replace(results, finalists=other)))
    assert [one.row.number for one in before] == [one.row.number for one in after]


def test_without_scores_an_interval_is_missing_and_that_is_said(results):
    def without(row):
        return replace(row, record=replace(row.record, details={}))

    rows = tuple(without(row) for row in results.rows)
    found = paper_table(replace(results, rows=rows))
    assert found.arms[-1].less.low is None
    assert any("kept no scores" in note for note in found.notes)


def with_attack(results, of_eer):
    """Finalists that say so much of attack A01, which all spoofed clips of made sweeps are."""

    def told(row):
        details = row.record.details | {"per_attack": {"A01": of_eer(row.metrics["dev_eer"])}}
        return replace(row, record=replace(row.record, details=details))

    groups = tuple(replace(one, rows=tuple(told(row) for row in one.rows)) for one in results.finalists)
    return replace(results, finalists=groups)


def test_finalists_by_attack_have_the_means_over_their_seeds(results):
    found = by_attack(with_attack(results, lambda eer: eer))
    assert (found.split, found.attacks) == ("search_dev", ("A01",))  # made evaluations tell no attacks
    for one, values in found.lines:
        assert values["A01"].value == pytest.approx(fmean(one.values("dev_eer")))
        assert values["A01"].low < values["A01"].value < values["A01"].high
    assert len(attacks_table(results, found).columns) == 1 + len(results.finalists)


def test_where_scores_say_another_eer_the_interval_is_over_seeds(results):
    found = by_attack(with_attack(results, lambda eer: eer / 2))
    for one, values in found.lines:
        halves = [value / 2 for value in one.values("dev_eer")]
        low, high, _ = over_seeds(halves)
        shown = values["A01"]
        assert (shown.value, shown.low, shown.high) == pytest.approx((fmean(halves), max(0, low), min(100, high)))


def test_the_methods_paragraph_says_what_the_journal_says(results):
    said = paragraph(results)
    done = sum(row.record.state == "done" for row in results.every)
    for part in ("synthetic", "wav2vec2 (preset tiny)", "sampler `auto` (search seed 0)", "23 configurations",
                 "growth at random sites", "bootstrap of speakers", "500 resamples", f"cpu ({done} runs)", "bench",
                 "with seeds 1, 2 and scored on the evaluation split"):  # fmt: skip
        assert part in said, part
    assert "[Versions of plastsearch and its libraries are not in this journal.]" in said
    assert "[a budget that is not in the journal]" in said


def test_versions_stand_in_it_once_a_session_said_them(results):
    begun = SessionBegun(
        session="later", host="node-7", versions={"plastsearch": "0.1.0", "torch": "2.11.0"}, commit="abc123"
    )
    said = paragraph(replace(results, events=(*results.events, begun)))
    assert "plastsearch 0.1.0, torch 2.11.0, commit abc123" in said
    assert "node-7" in said


def test_programs_get_the_same_numbers(results):
    found = json.loads(json.dumps(gather(results).plain()))
    arms = paper_table(results).arms
    assert [one["dev_eer"]["value"] for one in found["methods"]] == [arm.dev.value for arm in arms]
    assert found["methods"][-1]["eval_relative_reduction"]["low"] == arms[-1].eval_less.low
    assert sum(one["trials"] for one in found["layers"]) == sum(one["trials"] for one in found["layers_neurons"])


def test_hostile_names_make_no_markup(results):
    found = as_markdown([Table(("x",), (("[click](javascript:alert(1))",),))])
    assert "](javascript" not in found
