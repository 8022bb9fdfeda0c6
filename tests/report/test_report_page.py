"""The report's page in a real browser: no error, no request, all sections, light and dark, phone and paper."""

import re

import pytest

from plastsearch.documents import Code, Figure, Heading, Points, Table, Text, as_markdown
from plastsearch.report.html_page import MOST, SHOWN, report_page, slugs
from plastsearch.report.publish import publish
from plastsearch.report.sections import report
from tests.browser import Browser


@pytest.fixture(scope="module")
def page(noisy):
    return publish(noisy)["report.html"]


@pytest.mark.slow
def test_it_is_one_file_that_names_no_other(page):
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert "url(" not in re.sub(r"url\(#\w+\)", "", text)  # clip paths of the figures, inside the file
    assert "<script" not in text


@pytest.mark.slow
def test_every_section_is_in_the_contents(noisy, page):
    text = page.read_text()
    for block in report(noisy):
        if isinstance(block, Heading) and block.level == 2:
            anchor = re.search(rf'<li><a href="#([^"]+)">{re.escape(block.text)}</a>', text)
            assert anchor, block.text
            assert text.count(f'id="{anchor[1]}"') == 1


def test_headings_of_the_same_name_have_names_of_their_own():
    assert slugs([Heading("One – two"), Text("x"), Heading("One, two"), Heading("…")]) == [
        "one-two",
        "",
        "one-two-2",
        "part",
    ]


def test_long_tables_are_folded_and_very_long_ones_cut_with_a_word(tmp_path):
    rows = tuple((str(n),) for n in range(MOST + 7))
    text = report_page("x", [Heading("x", 1), Table(("number",), rows)], [tmp_path])
    assert f"{MOST - SHOWN} more rows" in text
    assert "… and 7 more rows in trials.csv" in text
    assert text.count("<td") == MOST
    assert "<details><summary>" not in report_page("x", [Heading("x", 1), Table(("n",), rows[:SHOWN])], [tmp_path])


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)"])
def test_hostile_words_stay_words(tmp_path, evil):
    blocks = [Heading(evil, 1), Heading(evil), Text(evil), Points((evil,)), Code(evil), Table((evil,), ((evil,),)),
              Figure("x.png", evil)]  # fmt: skip
    text = report_page(evil, blocks, [tmp_path], evil)
    assert "<script" not in text
    assert "<img" not in text


def test_markdown_keeps_paragraphs_paragraphs_and_code_inside_its_fence():
    found = as_markdown([Text("# no heading"), Text("1. no list"), Text("- no point"), Code("a\n```\nb")])
    assert found.split("\n\n")[:3] == ["\\# no heading", "1\\. no list", "\\- no point"]
    assert found.count("````") == 2
    assert as_markdown([Text("-2.99 points")]) == "-2.99 points\n"


def test_a_missing_picture_is_said(tmp_path):
    text = report_page("x", [Heading("x", 1), Figure("gone.svg", "EER by layer")], [tmp_path])
    assert "(No picture gone.svg: EER by layer.)" in text


@pytest.mark.slow
def test_a_browser_shows_it_without_a_word_or_a_request(page, noisy, tmp_path):
    with Browser(tmp_path) as browser:
        browser.open(page.as_uri())
        assert browser.errors == []
        assert [url for url in browser.requests if not url.startswith(("data:", page.as_uri()))] == []
        shown = browser.run("[...document.querySelectorAll('h2')].map(one => one.textContent)")
        wanted = [block.text for block in report(noisy) if isinstance(block, Heading) and block.level == 2]
        assert shown == wanted
        assert browser.run("document.querySelectorAll('figure svg').length") >= 2
        for width in (390, 900):
            browser.resize(width, 1200)
            assert browser.run("document.documentElement.scrollWidth") <= width  # tables scroll, the page does not
            browser.picture(tmp_path / f"report-{width}.png")
        link = browser.run("document.querySelector('nav a').getAttribute('href')")
        assert browser.run(f"document.querySelector('{link}') !== null")
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        browser._call("Emulation.setEmulatedMedia", features=dark)
        colours = "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        assert browser.run(colours) == ["rgb(221, 221, 221)", "rgb(27, 27, 27)"]
        axis = "getComputedStyle(document.querySelector('figure svg text')).fill"
        assert browser.run(axis) == "rgb(221, 221, 221)"  # figures take the page's ink
        browser.picture(tmp_path / "report-dark.png")
        browser._call("Emulation.setEmulatedMedia", media="print", features=dark)
        assert browser.run(colours)[0] == "rgb(34, 34, 34)"  # paper is white
        assert browser.run("getComputedStyle(document.querySelector('nav')).display") == "none"
        assert browser.errors == []
