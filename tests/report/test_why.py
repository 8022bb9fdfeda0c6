"""What is said and drawn of an ablation: orders, interactions, intervals, steps that were not shown to matter."""

import json

import pytest

from plastsearch.analysis.ablations import DATA, FOLDER, Ablation, Change, Step, Way, load_ablations, save
from plastsearch.analysis.why_figure import panels, signed, step_words
from plastsearch.documents import Table, as_html, as_markdown
from plastsearch.errors import PlastsearchError
from plastsearch.report.why import order, why_blocks
from plastsearch.report.why_page import ablation_figure

SITE = "layers.gru.1"


def step(fields, words, value, points, **more):
    return Step(fields=fields, words=words, value=value, points=points, **more)


def ablation(**more):
    up = (
        step(("method", SITE), "+ method: baseline → dropin and grow at gru.1", 8.0, -2.0, low=-3.0, high=-1.0, p=0.01,
             p_corrected=0.02),
        step(("regime",), "+ regime: frozen → <b>", 8.5, 0.5, low=-0.5, high=1.5, p=0.3, p_corrected=0.3),
    )  # fmt: skip
    down = (
        step(("regime",), "− regime: <b> → frozen", 8.0, -0.5, low=-1.5, high=0.5, p=0.3, p_corrected=0.3),
        step(("method", SITE), "− method: dropin → baseline and grow at gru.1", 10.0, 2.0, missing="no scores"),
    )
    changes = tuple(Change(name=name, words=f"words of {name}", alone=1.0) for name in ("method", SITE, "regime"))
    told = {
        "sweep": "night", "trial": 7, "metric": "dev_eer", "goal": "min", "seeds": (0, 1), "runs": 8,
        "forward": Way(direction="forward", start=10.0, steps=up),
        "backward": Way(direction="backward", start=8.5, steps=down), "changes": changes, "family": 3,
    }  # fmt: skip
    return Ablation(**{**told, **more})


def test_directions_that_agree_are_said_to_and_how_far():
    found = order(ablation())
    assert found.agree
    assert "in the same order, and each step that both take is worth the same: nothing speaks" in found.words
    first, last = ablation().backward.steps
    apart = Way(direction="backward", start=8.5, steps=(first.model_copy(update={"points": 1.0}), last))
    told = order(ablation(backward=apart)).words
    assert told.endswith("; what one is worth differs by up to 1.50 between the ways (regime: frozen → <b>).")


def test_an_interaction_is_said_with_the_fields_it_is_between():
    said = order(ablation(conflicts=(("regime", SITE),)))
    assert not said.agree
    assert f"forward puts words of regime before words of {SITE}" in said.words
    assert "depends on the others" in said.words
    assert "both paths are shown" in said.words


def test_a_single_step_backward_tells_no_order():
    one = step(("method",), "− method: dropin → baseline", 8.0, -0.5, along=(SITE, "regime"))
    found = ablation(backward=Way(direction="backward", start=8.5, steps=(one,)))
    assert "gives up growth in its first step" in order(found).words
    assert "(with it: words of layers.gru.1, words of regime)" in as_markdown(why_blocks([found]))


def test_the_section_has_both_paths_and_what_each_field_is_worth():
    blocks = why_blocks([ablation()])
    tables = [block for block in blocks if isinstance(block, Table)]
    assert [len(table.rows) for table in tables] == [3, 3, 3]
    assert tables[0].rows[1] == ("+ method: baseline → dropin at gru.1", "8.00", "−2.00 [−3.00, −1.00]", "0.020", "yes")
    assert tables[0].rows[2][-1] == "no difference shown"
    assert tables[1].rows[2][-2:] == ("–", "–")
    assert "No interval: no scores." in as_markdown(blocks)
    assert "<b>" not in as_html(blocks)
    assert why_blocks([]) == []


def test_bars_go_from_value_to_value_and_pale_ones_were_not_shown():
    up, down = panels(ablation())
    assert [bar.kind for bar in up.bars] == ["end", "better", "worse", "end"]
    assert [bar.clear for bar in up.bars] == [True, True, False, True]
    assert [(bar.start, bar.end) for bar in up.bars] == [(10, 10), (10, 8), (8, 8.5), (8.5, 8.5)]
    assert (up.bars[1].low, up.bars[1].high) == (7.0, 9.0)
    assert [bar.label for bar in down.bars][::3] == ["trial 7", "baseline"]
    more = panels(ablation(goal="max"))[0]
    assert [bar.kind for bar in more.bars][1:3] == ["worse", "better"]
    unfinished = ablation(forward=Way(direction="forward", start=10.0, steps=(), complete=False))
    assert panels(unfinished)[0].bars[-1].label == "… stopped here"


def test_the_page_holds_no_markup_of_a_user_and_names_each_kind_once():
    figure = ablation_figure(ablation())
    assert "<b>" not in json.dumps(figure)
    named = [trace["name"] for trace in figure["data"] if trace["showlegend"]]
    assert sorted(named) == ["95 % interval of the step", "better", "worse"]


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [(0.5, "dev_eer", "+0.50"), (-0.5, "dev_eer", "−0.50"), (-0.001, "dev_eer", "0.00"), (-1234.0, "params_total",
     "−1,234"), (float("nan"), "dev_eer", "–")],
)  # fmt: skip
def test_differences_have_a_sign_unless_they_are_nothing(value, metric, text):
    assert signed(value, metric) == text


def test_sites_that_differ_in_a_number_are_named_together():
    words = "+ method: baseline → dropin and grow at encoder.1.ffn and grow at encoder.4.ffn"
    assert step_words(step((), words, 1.0, 1.0)) == "+ method: baseline → dropin at encoder.{1,4}.ffn"


def test_what_was_written_reads_back_and_what_was_spoilt_is_named(tmp_path):
    folder = tmp_path / FOLDER / "7"
    folder.mkdir(parents=True)
    save(ablation(), folder)
    assert load_ablations(tmp_path) == [ablation()]
    (folder / DATA).write_text("{}")
    with pytest.raises(
        PlastsearchError, match=r"not an ablation .*delete that file and run `plastsearch ablate` again"
    ):
        load_ablations(tmp_path)
