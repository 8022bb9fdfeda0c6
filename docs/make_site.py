"""The site: pages brought together, built by Zensical, and looked over for what would be fetched from outside.

python docs/make_site.py; the pages are `docs/`, and what lies elsewhere in the repository under a name of its own.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
# Pages that lie outside docs/, and under which name the site has them.
ELSEWHERE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "benchmarks/RESULTS.md": "figures.md",
    "benchmarks/gpu.md": "gpu.md",
    "examples/notebook.md": "files/examples/notebook.md",
}
SHOWN = (".md", ".png", ".svg", ".js")
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
# What a browser fetches by itself; a link that a reader may click is not among it.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|link|object|embed)\b[^>]*?\b(?:src|href|data)=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|(?:url\(|@import\s+)["']?((?:https?:)?//[^"')\s]+)"""
)


def gather(root: Path, pages: Path) -> None:
    """Copy every page and picture, with links turned to where their targets are in the site."""
    shutil.rmtree(pages, ignore_errors=True)
    here = {
        path.relative_to(root): path.relative_to(root / "docs")
        for path in (root / "docs").rglob("*")
        if path.suffix in SHOWN
    }
    here |= {Path(old): Path(new) for old, new in ELSEWHERE.items()}
    for old, new in list(here.items()):
        target = pages / new
        target.parent.mkdir(parents=True, exist_ok=True)
        if old.suffix != ".md":
            shutil.copy(root / old, target)
            continue
        text = (root / old).read_text("utf-8")
        target.write_text(_turned(text, root, pages, old, here), "utf-8")


def _turned(text: str, root: Path, pages: Path, old: Path, here: dict[Path, Path]) -> str:
    """A page's text, its relative links as they are in the site; files of the repository are copied along."""

    def turn(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        if re.match(r"[a-z]+:", target):
            return found[0]
        source = Path(os.path.normpath(old.parent / target))
        if source not in here:
            if not (root / source).is_file():
                raise SystemExit(f"{old}: no such file: {target}")
            here[source] = Path("files") / (f"{source}.txt" if source.suffix in (".py", ".yaml") else source)
            (pages / here[source]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / source, pages / here[source])
        return os.path.relpath(here[source], here[old].parent) + anchor

    parts = re.split(r"(^```.*?^```[^\n]*$|`[^`\n]+`)", text, flags=re.MULTILINE | re.DOTALL)
    # Every second part is code, in which nothing is a link.
    return "".join(part if at % 2 else LINK.sub(turn, part) for at, part in enumerate(parts))


def build(root: Path) -> str:
    """Run Zensical, which ends at its first warning; what it said."""
    program = Path(sys.executable).with_name("zensical")
    done = subprocess.run(
        [str(program), "build", "--clean", "--strict"],
        cwd=root,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    if done.returncode or "Warning" in said:
        raise SystemExit(f"the site was not built:\n{said}")
    # what a page that was opened as a file reads in place of the index, which it may not fetch
    index = (root / "build/site/search.json").read_text("utf-8")
    (root / "build/site/search.js").write_text(f"var __index = {index};\n", "utf-8")
    return said


def fetched_outside(site: Path) -> list[str]:
    """Addresses of other hosts that a browser would ask by itself on opening a page."""
    found = []
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        for hit in FETCHED.finditer(path.read_text("utf-8")):
            found.append(f"{path.relative_to(site)}: {hit[1] or hit[2]}")
    return found


if __name__ == "__main__":
    gather(ROOT, BUILD / "pages")
    build(ROOT)
    outside = fetched_outside(BUILD / "site")
    if outside:
        raise SystemExit("the site would fetch from outside:\n" + "\n".join(outside))
    sys.stdout.write("build/site/index.html\n")
