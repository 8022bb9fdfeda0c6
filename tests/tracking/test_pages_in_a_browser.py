"""MLflow's own pages of a sweep in a real browser, from a real server: each view opens and shows every run it should.

Pictures are kept beside the test's files (`picture` in its report), to be looked at.
"""

import json

import pytest

from plastsearch.analysis.results import load_results
from plastsearch.report.publish import render
from plastsearch.tracking import mlflow_pages as pages
from plastsearch.tracking.mlflow_store import open_store
from plastsearch.tracking.mlflow_sync import synced
from tests.browser import Browser
from tests.made_sweep import make_sweep
from tests.tracking.servers import Server
from tests.tracking.test_native_forms import told

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]
PATIENCE_S = 90.0
# What MLflow 3.17 says of itself on every page of a server without logins, whatever it shows.
OF_MLFLOW = ("/mlflow/users/current", "AG Grid: since v27.1", "ResizeObserver loop completed")
POINTS = """[...document.querySelectorAll('.js-plotly-plot')].map(plot => plot.data
    .filter(one => one.type === 'scatter')
    .map(one => one.x.filter((x, n) => x !== undefined && one.y[n] !== undefined).length)
    .reduce((a, b) => a + b, 0))"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A sweep with finalists in a real server: its folder, the server, where it stands."""
    place = tmp_path_factory.mktemp("shown")
    folder = told(make_sweep(place / "w2v_layers", search=20), 4)
    with Server(place / "server") as server:
        yield folder, server, synced(folder, server.uri, render).place


@pytest.fixture
def opened(shown, tmp_path, record_property):
    """A browser that opens an address of that server; at its end nothing was wrong, nothing outside was asked for."""
    _, server, _ = shown
    with Browser(tmp_path, 2200, 1300) as browser:

        def go(route, words):
            browser.open(f"{server.uri}/{route}")
            for text in words:
                browser.until(f"document.body.innerText.includes({text!r})", PATIENCE_S)
            return browser

        yield go
        record_property("picture", str(browser.picture(tmp_path / "page.png")))
        assert [text for text in browser.errors if not any(known in text for known in OF_MLFLOW)] == []
        inside = (f"{server.uri}/", "data:", "blob:", "about:")
        assert [url for url in browser.requests if not url.startswith(inside)] == []
        assert any(url.startswith(server.uri) for url in browser.requests)


def test_the_runs_page_names_what_ran_on_what(shown, opened):
    _, _, place = shown
    browser = opened(
        pages.run_page(place.experiment, place.run),
        ["w2v_layers", "Child runs", "Datasets", "synthetic train", "Source", "w2v.yaml", "0123456", "front_size"],
    )
    browser.until("[...document.images].some(one => one.src.includes('get-artifact') && one.naturalWidth > 300)")


def test_the_list_has_the_sweep_with_its_datasets_and_source(shown, opened):
    _, _, place = shown
    opened(f"#/experiments/{place.experiment}/runs?{pages.MODE}", ["w2v_layers", "synthetic train", "matching runs"])


@pytest.mark.parametrize("view", ["plastsearch-front", "plastsearch-all"])
def test_charts_show_each_trial_once(shown, opened, view):
    folder, server, place = shown
    results = load_results(folder)
    members = results.front if view == "plastsearch-front" else results.rows
    browser = opened(
        pages.view_page(place.experiment, view),
        [pages.VIEWS[view], f"{len(members)} matching runs", "backward_ratio vs. dev_eer"],
    )
    pairs = [("backward_ratio", "dev_eer"), ("params_total", "dev_eer"), ("params_total", "backward_ratio")]
    numbers = [row.number for row in members]
    runs = open_store(server.uri).search_runs([place.experiment])
    metrics = [run.data.metrics for run in runs if int(run.data.tags.get("plastsearch.trial", -1)) in numbers]
    assert len(metrics) == len(numbers)
    wanted = sorted(sum(x in one and y in one for one in metrics) for x, y in pairs)
    found = f"JSON.stringify({POINTS}.filter(n => n > 0).sort((a, b) => a - b))"
    browser.until(f"{found} === {json.dumps(json.dumps(wanted, separators=(',', ':')))}", PATIENCE_S)


def test_finalists_are_grouped_by_the_member_that_they_repeat(shown, opened):
    folder, _, place = shown
    results = load_results(folder)
    members = [one.of for one in results.finalists]
    runs = sum(len(one.rows) for one in results.finalists)
    browser = opened(
        pages.view_page(place.experiment, "plastsearch-finalists"),
        [
            f"{runs} matching runs",
            "Group by: plastsearch.of",
            *(f"Group: {of}" for of in members),
            "dev_eer vs. eval_eer",
        ],
    )
    browser.until(f"{POINTS}.includes({len(members)})", PATIENCE_S)  # a point for each, the mean over its seeds


def test_the_interactive_figure_opens_in_its_frame(shown, opened):
    _, _, place = shown
    browser = opened(pages.artifact_page(place.experiment, place.run, "pareto/pareto.html"), ["Artifacts"])
    browser.until("document.querySelector('iframe') && document.querySelector('iframe').offsetHeight > 200", PATIENCE_S)
