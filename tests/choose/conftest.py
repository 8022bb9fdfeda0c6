"""Made-up sweeps as pages to choose on, and what a page's data says."""

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plastsearch.analysis.results import Results, load_results
from plastsearch.analysis.rows import TrialRow
from plastsearch.choose.page import FILE, choose_html
from plastsearch.spec.config import TrialConfig
from tests.browser import Browser
from tests.made_sweep import make_sweep

Opened = Callable[..., None]
AXES_LEFT = "[...document.querySelectorAll('.heads button')].map(one => parseFloat(one.style.left))"


def page_of(results: Results) -> str:
    return choose_html(results, ["Growth paid."], "How to read it.", results.folder / "report" / "space.yaml")


def data_of(page: str) -> dict[str, Any]:
    packed = re.search(r'<script type="application/octet-stream" id="data">([^<]*)</script>', page)
    assert packed is not None
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed[1])))
    return found


def ringed_(row: TrialRow) -> None:
    """Make a row that of a trial whose kernels grew and were cut again, one of them all the way."""
    plain = {"model": {"name": "cnn"}, "method": "plasticity", "operator": "ring", "kernel": 7, "keep": 0.5}
    config = TrialConfig.model_validate({**plain, "layers": ["conv.0", "conv.2"]})
    row.record.config = config.model_dump(mode="json", by_alias=True)
    vars(row).pop("config", None)  # it may have been asked for
    row.record.details["stages"] = [
        {"stage": "dropin", "kernels": {"conv.0": 7, "conv.2": 7}, "from": "computed", "seconds": 0.1, "key": "d"},
        {"stage": "prune", "kernels": {"conv.0": 5, "conv.2": 3}, "from": "computed", "seconds": 0.2, "key": "p"},
    ]


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return load_results(make_sweep(tmp_path_factory.mktemp("made") / "w2v", repeats=2))


@pytest.fixture(scope="session")
def page(results: Results) -> Path:
    path = results.folder / FILE
    path.write_text(page_of(results), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser"), 1440, 1000) as found:
        yield found


@pytest.fixture
def shown(browser: Browser) -> Iterator[Opened]:
    """Opens a page; at the end nothing may have gone wrong, and nothing been asked for outside."""

    def opened(path: Path, hash_: str = "", width: int = 1440, height: int = 1000) -> None:
        browser.resize(width, height)
        browser.media()
        browser.errors.clear()
        browser.requests.clear()
        browser.open("about:blank")  # another hash alone would load nothing anew
        browser.open(f"file://{path}{hash_}")
        browser.until("document.documentElement.dataset.ready")

    yield opened
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith(("file:", "blob:", "data:", "about:"))] == []


def look(browser: Browser, script: str) -> Any:
    """The value of an expression once what it asks about is drawn."""
    browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return browser.run(script)


def texts(browser: Browser, selector: str) -> list[str]:
    """What elements say."""
    found: list[str] = look(browser, f"[...document.querySelectorAll('{selector}')].map(one => one.textContent)")
    return found


def rows(browser: Browser) -> int:
    """How many trials the table holds, most of them unseen."""
    count = "Number(document.querySelector('#table table').getAttribute('aria-rowcount')) - 1"
    return int(look(browser, count))


def in_view(browser: Browser) -> int:
    """How many trials the page says are in view."""
    return int(texts(browser, "#count")[0].split(" of ")[0].replace(",", ""))


def chosen(browser: Browser) -> str:
    """The title of the chosen trial."""
    return texts(browser, "#detail h2")[0]
