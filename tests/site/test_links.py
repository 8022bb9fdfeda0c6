"""Links between pages lead somewhere, and what is to be typed can be typed."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from plastsearch.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(path for top in ("docs", "benchmarks", "examples") for path in (ROOT / top).rglob("*.md"))]
)
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as hosts of Markdown make them."""
    text = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower().replace("`", "")
        found.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return found


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        path = (page.parent / target).resolve() if target else page
        # out of the repository there is nothing that a reader could have
        there = path.is_file() and ROOT in path.parents
        if not there or (anchor and path.suffix == ".md" and anchor not in anchors(path.read_text("utf-8"))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_and_a_broken_anchor_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "b.md").write_text("# One title\n\n```sh\n# no heading\n```\n")
    page = tmp_path / "a.md"
    page.write_text("[x](b.md) [x](b.md#one-title) [x](c.md) [x](b.md#no-heading) `[x](d.md)` [x](/etc/hosts)\n")
    assert broken(page) == ["c.md", "b.md#no-heading", "/etc/hosts"]


def commands(page: Path) -> Iterator[list[str]]:
    """What a page says to type, word by word."""
    for block in re.findall(r"^```(?:sh|bash)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.shlex(line, posix=True, punctuation_chars=True)
            words.whitespace_split = True
            parts: list[list[str]] = [[]]
            for word in words:
                if re.fullmatch(r"[();<>|&]+", word):  # another command, or a file that this one writes
                    parts.append([])
                else:
                    parts[-1].append(word)
            yield from (part[1:] for part in parts if part[:1] == ["plastsearch"])


@cache
def parser() -> object:
    """The whole command line, which takes a while to put together."""
    return typer.main.get_command(app)


def refused(words: list[str]) -> str | None:
    """What the parser has against a command; it looks at names and numbers of words, and runs nothing."""
    found = parser()
    at = 0
    while isinstance(found, TyperGroup):
        if at == len(words) or words[at].startswith("-"):
            return None if words[at:] in (["--version"], ["--help"]) else "no command"
        if words[at] not in found.commands:
            return f"no command {words[at]}"
        found, at = found.commands[words[at]], at + 1
    assert isinstance(found, TyperCommand)
    if "--help" in words[at:]:
        return None
    try:
        with found.make_context(found.name, [], resilient_parsing=True) as context:
            parsed, rest, _ = found.make_parser(context).parse_args(list(words[at:]))
    except Exception as error:  # noqa: BLE001 - whatever it is, the page is wrong
        return str(error)
    if rest:
        return f"too many words: {rest}"
    lacking = [one.name for one in found.params if one.required and not parsed.get(one.name or "")]
    return f"lacks {', '.join(map(str, lacking))}" if lacking else None


@pytest.mark.parametrize("page", [path for path in PAGES if list(commands(path))], ids=lambda path: path.name)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    wrong = {" ".join(words): reason for words in commands(page) if (reason := refused(words)) is not None}
    assert wrong == {}


@pytest.mark.parametrize(
    "line", ["swep x.yaml", "check", "check a.yaml b.yaml", "check a.yaml --no-such", "data look", "drift m --new a/"]
)
def test_the_parser_refuses_what_is_none(line: str) -> None:
    assert refused(line.split()) is not None
