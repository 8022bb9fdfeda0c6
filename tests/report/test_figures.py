"""The Pareto figure: self-contained, complete, escaped, and true to the front."""

import base64
import gzip
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plastsearch.analysis.figure import (
    COLOURS,
    SYMBOLS,
    axis_pairs,
    hover,
    main_settings,
    number,
    round_values,
    short,
    staircase,
    tick,
)
from plastsearch.analysis.results import load_results
from plastsearch.analysis.site_panels import SitePanel
from plastsearch.report import page as pages
from plastsearch.report.page import pareto_figure, pareto_html
from plastsearch.report.picture import MARKERS, pareto_png, sites_png
from plastsearch.report.sites_page import sites_figure, sites_html
from plastsearch.spec.methods import CONTROLS
from tests.browser import Browser
from tests.made_sweep import make_sweep

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


@given(POINTS, st.sampled_from(["min", "max"]), st.sampled_from(["min", "max"]))
def test_the_staircase_passes_no_point_on_its_good_side(points, goal_x, goal_y):
    sx, sy = (1 if goal == "min" else -1 for goal in (goal_x, goal_y))
    line = staircase(points, (goal_x, goal_y))
    assert [x for x, _ in line] == sorted(x for x, _ in line)  # drawn from left to right
    for x, y in line[::1]:
        assert not any(sx * a < sx * x and sy * b < sy * y for a, b in points)  # nothing beats a point of the line
    ends = {(x, y) for x, y in points if not any(
        sx * a <= sx * x and sy * b <= sy * y and (a, b) != (x, y) for a, b in points)}  # fmt: skip
    assert ends <= set(line)


def test_each_pair_of_objectives_has_a_view(results):
    assert [(pair.x, pair.y, pair.colour) for pair in axis_pairs(results)] == [(1, 0, 2), (2, 0, 1), (2, 1, 0)]
    figure = pareto_figure(results)
    assert [view["label"] for view in figure["views"]] == [
        "EER × backward", "EER × parameters", "backward × parameters",
    ]  # fmt: skip
    spans = [(view["from"], view["to"]) for view in figure["views"]]
    assert spans[0][0] == 0
    assert spans[-1][1] == len(figure["data"])
    assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]]


def test_every_finished_trial_is_in_every_view_once(results):
    figure = pareto_figure(results)
    for view in figure["views"]:
        traces = [trace for trace in figure["data"][view["from"] : view["to"]] if trace["mode"] == "markers"]
        assert sum(len(trace["x"]) for trace in traces) == len(results.plotted)
        names = [trace["name"] for trace in traces]
        assert {"front", "trials", "baseline (no growth)", "LoRA, same sites", "random sites"} == set(names)
        members = next(trace for trace in traces if trace["name"] == "front")
        assert len(members["x"]) == sum(row.record.role == "search" for row in results.front)


def test_every_control_has_a_look_of_its_own():
    for looks in (COLOURS, SYMBOLS, MARKERS):
        assert set(CONTROLS) <= set(looks)
        assert len(set(looks.values())) == len(looks)


def test_intervals_become_error_bars(results):
    figure = pareto_figure(results)
    front = next(trace for trace in figure["data"] if trace["name"] == "front")
    row = next(row for row in results.rows if row.in_front and row.record.role == "search")
    assert front["error_y"]["array"][0] == pytest.approx(row.metrics["dev_eer_high"] - row.values[0])
    assert front["error_y"]["arrayminus"][0] == pytest.approx(row.values[0] - row.metrics["dev_eer_low"])


def test_log_axes_only_where_values_spread(results):
    by_pair = {(pair.x, pair.y): pair for pair in axis_pairs(results)}
    assert by_pair[1, 0].log_x  # backward ratios from 0.07 to 1.04
    assert not by_pair[2, 0].log_x  # parameters from 180k to 217k


def test_the_page_needs_no_network_and_ends_no_script(results):
    page = pareto_html(results)
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert "<script src" not in page
    assert "http" not in outside
    assert page.count("<script>") == page.count("</script>") == 2


def test_values_of_users_are_escaped(tmp_path):
    folder = make_sweep(tmp_path / "</script><b>x")
    results = load_results(folder)
    page = pareto_html(results)
    assert "</script><b>" not in page
    assert page.count("</script>") == 2
    row = results.front[0]
    row.record.control = "<img src=x>"
    assert "&lt;img" in hover(results, row)
    assert "<img" not in json.dumps(pareto_figure(results))


def test_hover_tells_configuration_and_objectives(results):
    row = next(row for row in results.front if row.record.role == "search")
    text = hover(results, row)
    for part in (row.label, "in the front", "dev EER (%)", "layers", "neurons", "criterion", "regime", "config"):
        assert part in text
    assert main_settings(results.control("baseline")) == {"method": "baseline"}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_picture_for_any_number_of_objectives(results, tmp_path, count):
    from dataclasses import replace

    fewer = replace(
        results,
        objectives=results.objectives[:count],
        rows=tuple(replace(row, values=row.values[:count]) for row in results.rows),
    )
    pareto_png(fewer, tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20], "big") == 700  # fits MLflow's description
    assert len(pareto_figure(fewer)["views"]) == (1, 1, 3)[count - 1]


def test_figures_of_nothing(results, tmp_path):
    from dataclasses import replace

    empty = replace(results, rows=(), finalists=())
    assert "Pareto" in pareto_html(empty)
    pareto_png(empty, tmp_path / "p.png")


def test_names_and_numbers_for_people():
    assert short(["encoder.0.ffn", "encoder.3.ffn", "encoder.3.attention"]) == "encoder.{0,3}.ffn, encoder.3.attention"
    assert short(["layer3.0"]) == "layer3.0"
    assert short([]) == ""
    assert [number(value, "params_total") for value in (94371712.0,)] == ["94,371,712"]
    assert number(0.12345, "backward_ratio") == "0.123"
    assert number(12.345, "dev_eer") == "12.35" or number(12.345, "dev_eer") == "12.34"
    assert number(float("nan")) == "–"
    assert [tick(value) for value in (0.05, 20, 180_000, 94_000_000)] == ["0.05", "20", "180k", "94M"]
    assert round_values(0.07, 1.04) == [0.05, 0.1, 0.2, 0.5, 1, 2]


def test_sites_stand_in_order_with_all_seeds_and_the_lines_of_whole_arms(tmp_path):
    lines = {"baseline, before growth": [24.0, 26.0], "longer training, same steps": [16.0, 18.0]}
    panels = [
        SitePanel("resnet18", "dropin", {"layer1.0": [20.0, 22.0], "layer1.1": [19.0, 19.0]}, lines),
        SitePanel("<b>grnn", "dropin", {"gru.0": [21.0, 30.0]}, lines),
    ]
    assert panels[0].bars() == ([21.0, 19.0], [1.0, 0.0], [1.0, 0.0])
    figure = sites_figure(panels)
    assert figure["layout"]["xaxis"]["ticktext"] == ["layer1.0", "layer1.1"]
    assert figure["layout"]["xaxis2"]["ticktext"] == ["gru.0"]
    assert figure["layout"]["xaxis"]["domain"][1] < figure["layout"]["xaxis2"]["domain"][0]
    assert figure["layout"]["yaxis"]["range"][1] > 30  # one scale for both
    assert {trace["name"] for trace in figure["data"] if trace.get("showlegend")} == {"dropin", *lines}
    seeds = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    assert [trace["y"] for trace in seeds] == [[20.0, 22.0, 19.0, 19.0], [21.0, 30.0]]
    page = sites_html(panels, "EER by <layer>")
    assert "<b>grnn" not in page
    assert "EER by &lt;layer&gt;" in page
    assert page.count("<script>") == page.count("</script>") == 2
    sites_png(panels, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_of_many_trials_is_packed_and_the_same(results, monkeypatch):
    figure = pareto_figure(results)
    plain = pareto_html(results)
    assert "DecompressionStream" not in plain
    monkeypatch.setattr(pages, "PLAIN", 1000)
    packed = pareto_html(results)
    signs = re.search(r'atob\("([A-Za-z0-9+/=]+)"\)', packed)
    assert json.loads(gzip.decompress(base64.b64decode(signs[1]))) == json.loads(json.dumps(figure))
    assert len(packed) < len(plain)
    assert packed == pareto_html(results)  # nothing of the hour in it
    assert packed.count("</script>") == 2  # the library's and ours: no data ends one


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_shows_both_forms_alike(results, tmp_path, monkeypatch, screenshots):
    seen = []
    with Browser(tmp_path) as browser:
        for name, longest in (("plain", 10**9), ("packed", 1000)):
            monkeypatch.setattr(pages, "PLAIN", longest)
            (tmp_path / f"{name}.html").write_text(pareto_html(results))
            browser.open((tmp_path / f"{name}.html").as_uri())
            browser.until("document.querySelectorAll('#figure .points path').length > 0")
            seen.append(browser.run("document.querySelectorAll('#figure .points path').length"))
            assert browser.run("document.querySelectorAll('#views button').length") == 5
            browser.picture(screenshots / f"figure-{name}.png")
        assert not browser.errors
        assert not [url for url in browser.requests if not url.startswith(("file:", "blob:", "data:"))]
    assert seen[0] == seen[1] == len(results.plotted)  # each finished trial is one point
