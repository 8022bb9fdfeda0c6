"""Saved views and notes: only their shape is checked, since their form is MLflow's own affair."""

import json

from plastsearch.tracking.mlflow_pages import (
    VIEW_TAG,
    artifact_page,
    experiment_note,
    run_note,
    saved_views,
    view_page,
)

OBJECTIVES = [("dev_eer", "min"), ("backward_ratio", "min"), ("params_total", "min")]


def test_views_are_envelopes_with_a_state():
    tags = saved_views("abc", OBJECTIVES, ["layers", "neurons"], 1234)
    assert [json.loads(value)["name"] for value in tags.values()] == [
        "Pareto front",
        "All trials",
        "Finalists by member",
    ]
    for key, value in tags.items():
        assert key.startswith(VIEW_TAG)
        assert len(value) < 20_000  # MLflow's limit for such a tag
        state = json.loads(json.loads(value)["state"])
        assert state["runsHiddenMode"] == "SHOW_ALL"
        finalists = key.endswith("finalists")
        assert state["orderByKey"] == ("metrics.`eval_eer`" if finalists else "metrics.`dev_eer`")
        scatters = 1 if finalists else 3
        assert [chart["type"] for chart in state["compareRunCharts"]] == ["SCATTER"] * scatters + ["PARALLEL"]
        by = state["groupBy"]["groupByKeys"] if finalists else None
        assert by == ([{"mode": "tag", "groupByData": "plastsearch.of"}] if finalists else None)
        sections = {section["uuid"] for section in state["compareRunSections"]}
        assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} <= sections


def test_the_front_view_filters_by_tag_and_sweep():
    front, every, finalists = (
        json.loads(json.loads(value)["state"]) for value in saved_views("abc", OBJECTIVES, [], 1).values()
    )
    assert "tags.`plastsearch.front` != 'false'" in front["searchFilter"]
    assert "plastsearch.front" not in every["searchFilter"]
    assert all("tags.`plastsearch.sweep` = 'abc'" in one["searchFilter"] for one in (front, every))
    for role in ("sweep", "replicate", "finalist"):
        assert all(f"tags.`plastsearch.role` != '{role}'" in one["searchFilter"] for one in (front, every))
    assert finalists["searchFilter"] == "tags.`plastsearch.sweep` = 'abc' AND tags.`plastsearch.role` = 'finalist'"


def test_views_repeat_exactly():
    assert saved_views("abc", OBJECTIVES, [], 1) == saved_views("abc", OBJECTIVES, [], 1)


def test_a_goal_of_max_sorts_downwards():
    state = json.loads(json.loads(next(iter(saved_views("a", [("turnover", "max")], [], 1).values())))["state"])
    assert state["orderByAsc"] is False


def test_every_link_opens_the_pages_for_training():
    links = [
        artifact_page("1", "r", "pareto/pareto.html"), view_page("1", "plastsearch-front"),
        experiment_note("1", "r", "p.html"), run_note("1", "r", "p.html", "p.png", "text"),
    ]  # fmt: skip
    for text in links:
        assert text.count("workflowType=machine_learning") == text.count("#/experiments/")
    assert "![Pareto front](get-artifact?path=p.png&run_uuid=r)" in links[-1]
