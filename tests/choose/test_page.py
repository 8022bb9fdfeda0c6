"""The page to choose on in a real browser: three views of one selection, and a trial's whole story."""

import json
import re
import shlex

import pytest

from plastsearch.analysis.results import Results, load_results
from plastsearch.choose.commands import commands
from plastsearch.choose.page import FILE
from plastsearch.spec.load import read_trial
from tests.browser import Browser
from tests.choose.conftest import Opened, chosen, in_view, look, page_of, ringed_, rows, texts
from tests.made_sweep import SPEC, make_sweep

pytestmark = pytest.mark.browser
AXES = "[...document.querySelectorAll('.heads button')].map(one => [one.firstChild.data, parseFloat(one.style.left)])"
# Buttons, fields and drawings that a screen reader could not name.
UNNAMED = """[...document.querySelectorAll("button, select, input, canvas[role], [role=img]")].filter(one =>
    !(one.textContent.trim() || one.getAttribute("aria-label") || one.closest("label")?.textContent.trim())).length"""


def drawn(browser: Browser, view: str) -> int:
    """A sum over a canvas: another one, another drawing."""
    return int(look(browser, f"""(() => {{ const canvas = document.querySelector("#{view} canvas");
        const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return all.reduce((sum, value) => (sum * 31 + value) % 1000003, 0); }})()"""))  # fmt: skip


def put(browser: Browser, selector: str, value: str, event: str) -> None:
    """Set a field as a person does, and wait for what it changes."""
    browser.run(f"""(() => {{ const found = document.querySelector("{selector}");
        found.value = "{value}"; found.dispatchEvent(new Event("{event}")); }})()""")
    look(browser, "0")


def test_every_finished_trial_is_shown_and_the_winner_chosen(
    browser, shown: Opened, page, results: Results, screenshots
):
    shown(page)
    assert in_view(browser) == rows(browser) == len(results.plotted)
    assert sum(int(text) for text in texts(browser, "#legend small")) == len(results.plotted)
    assert chosen(browser) == f"Trial {results.winner.number}"
    browser.picture(screenshots / "choose.png")


def test_each_trial_is_one_point(browser, shown: Opened, page, results: Results):
    """Counted by what is drawn on the canvas, not by what the page says of itself."""
    browser.before("""(() => { const real = CanvasRenderingContext2D.prototype.drawImage; window.stamps = 0;
        CanvasRenderingContext2D.prototype.drawImage = function (what, ...rest) {
            if (this.canvas.closest("#scatter") && what.width < 60) window.stamps++;
            return real.call(this, what, ...rest); }; })()""")
    shown(page)
    browser.run("window.stamps = 0")
    put(browser, "#colour", "params_total", "change")
    assert look(browser, "window.stamps") == len(results.plotted)


def test_a_brush_on_the_front_narrows_all_views(browser, shown: Opened, page):
    shown(page)
    before = {view: drawn(browser, view) for view in ("scatter", "parallel")}
    left, top, width, height = browser.place("#scatter canvas")
    browser.drag(
        [(left + 70, top + height / 2), (left + 200, top + height - 80), (left + width / 2, top + height - 50)]
    )
    kept = in_view(browser)
    assert 0 < kept < 26
    assert rows(browser) == kept
    assert all(drawn(browser, view) != known for view, known in before.items())
    assert len(texts(browser, ".chip")) == 2
    browser.key("Escape", 27)
    assert in_view(browser) == rows(browser) > kept
    assert texts(browser, ".chip") == []


def test_a_brush_on_an_axis_and_its_release(browser, shown: Opened, page, results: Results):
    shown(page)
    left, top, _, _ = browser.place("#parallel canvas")
    x = left + dict(browser.run(AXES))["dev EER %"]
    browser.drag([(x, top + 56), (x, top + 90), (x, top + 150)])
    kept, (chip,) = in_view(browser), texts(browser, ".chip")
    bound = float(re.search(r"dev EER \(%\) ≤ ([\d.]+)", chip)[1])
    assert kept == pytest.approx(sum(row.values[0] <= bound for row in results.plotted), abs=1)  # the chip is rounded
    assert 0 < kept < len(results.plotted)
    browser.drag([(x, top + 200)])
    assert in_view(browser) == len(results.plotted)


def test_sliders_and_typed_budgets_filter(browser, shown: Opened, page, results: Results):
    shown(page)
    bound = sorted(row.values[2] for row in results.plotted)[10]
    within = sum(row.values[2] <= bound for row in results.plotted)
    put(browser, "[data-key=params_total] input[type=text]", f"{bound:.0f}", "change")
    assert in_view(browser) == within
    slider = "[data-key=backward_ratio] input[type=range]"
    put(browser, slider, "100", "input")
    assert in_view(browser) < within
    assert float(browser.run(f"document.querySelector('{slider}').getAttribute('aria-valuetext')")) < 0.3
    browser.click("#reset")
    assert in_view(browser) == len(results.plotted)
    put(browser, "#more", "dev_cllr", "change")
    put(browser, "[data-key=dev_cllr] input[type=range]", "200", "input")
    assert in_view(browser) < len(results.plotted)


def test_no_control_knows_the_evaluation_split(browser, shown: Opened, page):
    shown(page)
    controls = texts(browser, "option, thead button, .heads button, .checks label, .slider .name")
    assert len(controls) > 50
    assert not [text for text in controls if "eval" in text.lower()]


def test_a_click_tells_a_trials_whole_story(browser, shown: Opened, page, results: Results):
    shown(page)
    number = results.finalists[0].of
    browser.click(f"#row-{number} .marks")
    assert chosen(browser) == f"Trial {number}"
    assert texts(browser, "#detail h3") == [
        "Where it grew", "Learning curve", "EER by attack, search-dev", "Runs with other seeds",
        "Run again as a finalist", "Configuration", "Commands",
    ]  # fmt: skip
    said = browser.run("[...document.querySelectorAll('#detail svg[role=img]')].map(one => one.ariaLabel)")
    row = next(row for row in results.rows if row.number == number)
    assert all(f"{site} +{count}" in said[0] for site, count in row.config.growth().items())
    assert said[1].startswith("dev EER (%) from ")
    assert said[2].startswith("EER by attack: A01 ")
    held = results.finalists[0].values("eval_eer")
    assert all(f"{value:.2f}" in " ".join(texts(browser, "#detail td")) for value in held)


def test_kernels_that_grew_are_drawn_as_rings(browser, shown: Opened, tmp_path, screenshots):
    results = load_results(make_sweep(tmp_path / "rings", search=4))
    row = next(row for row in results.rows if row.record.role == "search" and row.record.state == "done")
    ringed_(row)
    path = tmp_path / FILE
    path.write_text(page_of(results), encoding="utf-8")
    shown(path, f"#trial={row.number}")
    assert chosen(browser) == f"Trial {row.number}"
    drawing = "#detail svg[role=img]"
    said = browser.run(f"document.querySelector('{drawing}').ariaLabel")
    assert said == "Kernels that grew: conv.0 3 → 7 taps, cut to 5; conv.2 3 → 7 taps, cut back."
    shapes = browser.run(
        f"[...document.querySelector('{drawing}').querySelectorAll(':scope > rect')]"
        ".map(one => [one.classList.value, one.width.baseVal.value])"
    )
    tap = shapes[0][1] / 7
    expected = [("new gone", 7), ("new", 5), ("tap", 3), ("new gone", 7), ("tap", 3)]
    assert [(name, pytest.approx(taps * tap)) for name, taps in expected] == [tuple(one) for one in shapes]
    assert [text for text in texts(browser, "#sites .strip button span") if text.startswith("conv.")] == [
        "conv.0",
        "conv.2",
    ]
    assert browser.run(UNNAMED) == 0
    browser.picture(screenshots / "rings.png")


def test_the_commands_bring_the_very_trial_back(browser, shown: Opened, page, results: Results, tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text(json.dumps(dict(results.spec)))  # JSON is YAML
    shown(page)
    for row in (results.winner, *results.controls):
        browser.run(f"location.hash = '#trial={row.number}'")
        browser.until(f"document.querySelector('#row-{row.number}')?.ariaSelected === 'true'")
        again, score, export, *_ = [shlex.split(text) for text in texts(browser, ".commands pre")]
        assert again[:2] == ["plastsearch", "trial"]
        assert {*again[3::2]} == {"--set"}
        assert read_trial(space, again[4::2]).trial_id() == row.record.id
        assert score[:3] == ["plastsearch", "score", f"{results.folder}:{row.number}"]
        assert export[:3] == ["plastsearch", "export", f"{results.folder}:{row.number}"]
        mine = [shlex.split(text) for _, text in commands(results, row, space)]  # of `show`: the same in Python
        assert [mine[0][3:], *mine[1:]] == [again[3:], score, export]


def test_a_link_brings_the_view_back(browser, shown: Opened, page):
    shown(page)
    put(browser, "#axis-x", "params_total", "change")
    left, top, width, height = browser.place("#scatter canvas")
    browser.drag([(left + 70, top + 30), (left + width / 2, top + height - 60)])
    browser.click("#sites .strip button")
    kept = in_view(browser)
    browser.until("location.hash.includes('site=')")
    link = browser.run("location.hash")
    shown(page, link)
    assert in_view(browser) == kept
    assert browser.run("document.querySelector('#axis-x').value") == "params_total"
    shown(page, "#x=nonsense&limit=none~a~b&limit=params_total~a~b&trial=999&sort=~&axes=~")  # read as far as it goes
    assert in_view(browser) > kept


def test_keys_walk_and_readers_are_told(browser, shown: Opened, page):
    shown(page)
    browser.run("document.querySelector('#table .scroll').focus()")
    names = []
    for _ in range(2):
        browser.key("ArrowDown", 40)
        names.append(chosen(browser))
    assert len(set(names)) == 2
    assert look(browser, "document.querySelectorAll('#table [aria-selected=true]').length") == 1
    browser.key("Enter", 13)
    assert browser.run("document.activeElement.id") == "detail"
    browser.run("document.querySelector('#scatter canvas').focus()")
    browser.key("ArrowRight", 39)
    assert chosen(browser) != names[-1]
    browser.click("#table thead button")
    assert texts(browser, "#table th[aria-sort]") == ["trial▲"]
    assert browser.run(UNNAMED) == 0


def test_one_objective_stands_over_the_trials_and_constraints_are_shown(browser, shown: Opened, tmp_path):
    one = [{"metric": "dev_eer", "goal": "min"}]
    spec = SPEC | {"objectives": one, "constraints": ["params_total <= 1.1 * baseline"]}
    results = load_results(make_sweep(tmp_path / "one", search=12, spec=spec))
    refused = sum(row.allowed is False and row.record.role == "search" for row in results.plotted)
    assert refused > 0
    path = results.folder / FILE
    path.write_text(page_of(results), encoding="utf-8")
    shown(path)
    assert browser.run("document.querySelector('#axis-x').value") == "trial"
    assert f"break a constraint {refused}" in texts(browser, "#legend button")
    assert in_view(browser) == len(results.plotted)
    marked = [text for text in texts(browser, "#table tbody .badge") if text == "breaks a constraint"]
    assert len(marked) == sum(row.allowed is False for row in results.plotted)
    browser.run("[...document.querySelectorAll('#legend button')].find(one => /^break/.test(one.textContent)).click()")
    assert in_view(browser) == len(results.plotted) - refused
    assert "hidden: break a constraint ×" in texts(browser, ".chip")
    assert "params_total <= 1.1 * baseline" in texts(browser, "#caption")[0]
