"""The site has every page once, asks nobody outside for anything, finds words, and fits a phone."""

import functools
import http.server
import re
import shutil
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.make_site import build, fetched_outside, gather
from tests.browser import Browser

ROOT = Path(__file__).parents[2]


def named(entry: Any) -> Iterator[str]:
    """The pages that the navigation names."""
    if isinstance(entry, str):
        yield entry
    else:
        for one in entry if isinstance(entry, list) else entry.values():
            yield from named(one)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("site") / "build" / "pages"
    gather(ROOT, found)
    return found


def test_the_navigation_has_every_page_once(pages: Path) -> None:
    nav = list(named(tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]))
    # pages below files/ are what a page links to, as it lies in the repository
    there = {str(path.relative_to(pages)) for path in pages.rglob("*.md")}
    assert sorted(nav) == sorted(set(nav))
    assert set(nav) - there == set()
    assert {page for page in there - set(nav) if not page.startswith("files/")} == set()


def test_links_out_of_the_folder_lead_to_copies_in_the_site(pages: Path) -> None:
    assert "](figures.md#noise)" in (pages / "noise.md").read_text("utf-8")
    assert "](files/plastsearch/spec/limits.py.txt)" in (pages / "limits.md").read_text("utf-8")
    copied = (pages / "files/plastsearch/spec/limits.py.txt").read_text("utf-8")
    assert copied == (ROOT / "plastsearch/spec/limits.py").read_text("utf-8")


def test_what_a_browser_would_fetch_from_outside_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="https://arxiv.org/abs/1">a paper</a> <img src="picture.png">'
        '<script async src="https://cdn.example/x.js"></script> <link rel=stylesheet href=//fonts.example/css>'
    )
    (tmp_path / "a.css").write_text(
        '@import "https://fonts.example/b"; a { background: url(data:image/png;base64,AA) }'
    )
    assert [one.split(": ")[1] for one in fetched_outside(tmp_path)] == [
        "https://fonts.example/b", "https://cdn.example/x.js", "//fonts.example/css",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def site(pages: Path) -> Path:
    """The site as `make site` builds it, elsewhere."""
    pytest.importorskip("zensical", reason="the site's program is not here: make env installs it")
    root = pages.parents[1]
    shutil.copy(ROOT / "zensical.toml", root)
    build(root)  # a warning ends it
    return root / "build" / "site"


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.slow
def test_the_built_pages_ask_nobody_outside(site: Path) -> None:
    assert len(list(site.rglob("*.html"))) > 50
    assert fetched_outside(site) == []


@pytest.mark.slow
def test_every_link_of_the_built_pages_leads_to_a_place(site: Path) -> None:
    """Anchors, too: headings get other names there than on hosts of Markdown."""
    names: dict[Path, set[str]] = {}
    broken = []
    for page in site.rglob("*.html"):
        names[page.resolve()] = set(re.findall(r'\bid="?([^"\s>]+)', page.read_text("utf-8")))
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # it is served at any depth, and its links begin at the root
            continue
        for link in re.findall(r'<a\b[^>]*?\bhref="?([^"\s>]+)', page.read_text("utf-8")):
            target, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            path = (page.parent / target).resolve() if target else page.resolve()
            path = path / "index.html" if path.is_dir() else path
            if not path.is_file() or (anchor and path in names and anchor not in names[path]):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert sorted(set(broken)) == []


@pytest.mark.slow
@pytest.mark.browser
def test_a_phone_shows_whole_pages_and_nothing_is_asked_outside(address: str, tmp_path: Path) -> None:
    with Browser(tmp_path) as browser:
        browser.phone(390)
        for page in ("index", "tutorial", "concepts/metrics", "reference/spaces", "reference/commands", "figures"):
            browser.open(f"{address}/{page}.html")
            assert browser.run("document.documentElement.scrollWidth") <= 390, page
            assert browser.run("[...document.images].every(one => one.complete && one.naturalWidth > 0)"), page
        assert browser.errors == []
        assert [one for one in browser.requests if not one.startswith((address, "data:", "blob:"))] == []


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("how", ["served", "opened as files"])
def test_the_search_finds_a_word_without_a_network(how: str, address: str, site: Path, tmp_path: Path) -> None:
    root = address if how == "served" else f"file://{site}"
    with Browser(tmp_path) as browser:
        browser.open(f"{root}/concepts/dropin.html")
        browser.until("document.querySelector('.md-search__button')")
        browser.run("document.querySelector('.md-search__button').click()")
        # the dialog lives in a shadow tree; whatever holds a field for text is it
        deep = (
            "(root => { const walk = (at) => { for (const one of at.querySelectorAll('*')) {"
            "if (one.matches('input[type=text], input[role=combobox], input:not([type])')) return one;"
            "if (one.shadowRoot) { const found = walk(one.shadowRoot); if (found) return found; } } return null; };"
            "return walk(root); })(document)"
        )
        browser.until(deep)
        browser.run(
            f"(() => {{ const field = {deep}; field.focus(); field.value = 'turnover';"
            "field.dispatchEvent(new InputEvent('input', {bubbles: true, composed: true})); })()"
        )
        found = f"(field => [...field.getRootNode().querySelectorAll('a')].map(one => one.href).join(' '))({deep})"
        browser.until(f"{found}.includes('concepts/plasticity.html')")
        assert browser.errors == []
        assert [one for one in browser.requests if not one.startswith((root, "data:", "blob:"))] == []
