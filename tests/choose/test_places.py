"""Where the page is looked at: a phone, paper, the dark, MLflow's frame, an older browser, thousands of trials."""

import json
import os
import re
import time

import pytest

from plastsearch.analysis.results import Results, load_results
from plastsearch.choose.page import FILE
from tests.browser import Browser
from tests.choose.brushing import brushes, filled
from tests.choose.conftest import Opened, in_view, look, page_of, rows, texts
from tests.made_sweep import make_sweep

pytestmark = pytest.mark.browser
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
FRAME = '<!DOCTYPE html><iframe sandbox="allow-scripts" style="width:1300px;height:900px" srcdoc="{}"></iframe>'
HOSTILE = "</script><img src=x onerror=window.hit=1>\"'`<!--SCRIPT-->&amp;\u2028"


def test_on_a_phone_nothing_is_wider_than_the_screen(browser, shown: Opened, page, screenshots, results: Results):
    shown(page)
    browser.phone()
    try:
        assert look(browser, "document.documentElement.scrollWidth") <= 390
        browser.picture(screenshots / "choose-phone.png")
        left, top, _, height = browser.place("#scatter canvas")
        middle, low = top + height / 2, top + height - 60
        browser.touch([(left + 60, middle), (left + 130, middle + 8), (left + 220, low)])
        browser.until(f"!document.querySelector('#count').textContent.startsWith('{len(results.plotted)} ')")
    finally:
        browser.no_touch()


def test_dark_and_paper(browser, shown: Opened, page, screenshots):
    shown(page)
    light = browser.run(BACKGROUND)
    browser.media("", prefers_color_scheme="dark")
    browser.until(f"{BACKGROUND} !== '{light}'")
    look(browser, "0")
    browser.picture(screenshots / "choose-dark.png")
    browser.media("print", prefers_color_scheme="dark")
    browser.until("document.documentElement.classList.contains('paper')")
    assert browser.run(BACKGROUND) == "rgb(255, 255, 255)"
    assert browser.run("getComputedStyle(document.querySelector('#printed')).display") == "table"
    assert len(texts(browser, "#printed tbody tr")) == rows(browser)
    browser.media()
    found = browser.paper(screenshots / "choose.pdf")
    assert found.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type /Page\b", found)) <= 6


def test_in_mlflows_sandboxed_frame(browser, shown: Opened, page, tmp_path, results: Results):
    """No storage, no cookies, no origin: as MLflow shows an artifact."""
    outside = tmp_path / "frame.html"
    outside.write_text(FRAME.format(page.read_text().replace("&", "&amp;").replace('"', "&quot;")))
    browser.errors.clear()
    browser.requests.clear()
    browser.open(f"file://{outside}")
    end = time.monotonic() + 20
    while not browser.within("document.documentElement.dataset.ready === 'yes'"):
        assert time.monotonic() < end
    count = "Number(document.querySelector('#table table').getAttribute('aria-rowcount')) - 1"
    assert browser.within("window.origin") == "null"
    assert browser.within("(() => { try { localStorage; return false; } catch { return true; } })()")
    assert browser.within(count) == len(results.plotted)
    browser.within("document.querySelector('#sites .strip button').click()")
    browser.within("new Promise(done => setTimeout(done, 400))")
    assert browser.within(count) < len(results.plotted)
    browser.within("document.querySelector('.commands button').click()")
    browser.within("new Promise(done => setTimeout(done, 300))")
    assert browser.within("document.querySelector('#said').textContent")
    assert browser.errors == []
    assert not [url for url in browser.requests if url.startswith("http")]


@pytest.mark.slow
def test_an_older_browser_unpacks_by_hand(page, tmp_path, results: Results):
    with Browser(tmp_path, 1200, 900) as browser:
        browser.before("delete window.DecompressionStream")
        browser.open(f"file://{page}")
        browser.until("document.documentElement.dataset.ready")
        assert browser.run("typeof DecompressionStream") == "undefined"
        assert rows(browser) == len(results.plotted)
        assert browser.errors == []


def test_names_from_files_stay_text(browser, shown: Opened, tmp_path):
    folder = make_sweep(tmp_path / "hostile", search=6)
    lines = (folder / "trials.jsonl").read_text()
    inside = json.dumps(HOSTILE)[1:-1]
    for known in ("Which encoder layers should receive dropin", "loss became NaN", "A01", '"name": "hostile'):
        lines = lines.replace(known, ('"name": "' if known.startswith('"') else "") + inside)
    (folder / "trials.jsonl").write_text(lines)
    path = folder / FILE
    path.write_text(page_of(load_results(folder)), encoding="utf-8")
    shown(path)
    assert texts(browser, "#name") == [HOSTILE]
    browser.run("[...document.querySelectorAll('.cause button, #table tbody tr[id]')].forEach(one => one.click())")
    assert HOSTILE in texts(browser, ".causes")[0]
    assert look(browser, "[document.images.length, document.scripts.length, window.hit ?? 0]") == [0, 2, 0]


def test_one_script_may_run_and_nothing_be_fetched(page):
    text = page.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert not re.search(r'(?:src|href)="(?!#)', text.partition("<script")[0])


@pytest.mark.slow
def test_five_thousand_trials_stay_fluid(browser, shown: Opened, tmp_path, screenshots):
    folder = make_sweep(tmp_path / "large", search=5000, repeats=3)
    path = folder / FILE
    path.write_text(page_of(filled(load_results(folder))), encoding="utf-8")
    assert path.stat().st_size <= 6e6
    shown(path)
    assert in_view(browser) > 5000
    browser.picture(screenshots / "choose-5000.png")
    for brush in brushes(browser):
        middle, most = brush.within(0.5)[0], brush.within(0.9)[0]
        print(f"{brush.view}: {middle:.0f} ms, 90 % within {most:.0f}, processor {brush.busy:.0f}")
        assert len(brush.seen) >= 20
        assert brush.busy <= 100
        # Where others fill the processors a frame waits for them, and says nothing of the page.
        assert middle <= 100 or os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
    assert len(texts(browser, "#table tbody tr")) < 60  # of thousands, those one sees
