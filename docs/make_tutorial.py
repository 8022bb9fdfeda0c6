"""The tutorial, run: its commands in an empty folder, what they say put below them, its pictures copied.

python docs/make_tutorial.py; the same functions run it in a test.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "tutorial.md"
# A block of code, and the block of text below it, if any.
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"^<!-- picture (\S+) (\S+) -->$", re.MULTILINE)
INSTALLS = "python3 -m venv"  # the block that tests/packaging runs, in environments of its own
WIDTH = 110  # of the terminal in which it is run
SENTENCE = 86  # how long a sentence's line may be, so that a page shows it whole
QUICK = ("new", "cat my_space", "sites", "check")  # what takes a moment, and says the same on every machine


@dataclass(frozen=True)
class Step:
    """One block of the tutorial."""

    language: str
    code: str
    said: str | None  # what the page shows below it

    @property
    def quick(self) -> bool:
        """Whether it needs no trained network and has no figures of a machine."""
        return self.language == "sh" and self.code.removeprefix("plastsearch ").startswith(QUICK)


def steps(page: str) -> list[Step]:
    """All blocks of the page that are run, in order."""
    found = [Step(hit[1], hit[2], hit[3]) for hit in BLOCK.finditer(page)]
    return [step for step in found if not step.code.startswith(INSTALLS)]


def take(step: Step, folder: Path) -> str:
    """Run one block in a folder, as typed there; what it printed."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": str(WIDTH),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    command = ["bash", "-euc", step.code] if step.language == "sh" else [sys.executable, "-c", step.code]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=1500
    )
    faults = step.code.startswith("plastsearch doctor") and done.returncode == 1  # the machine's, not the tutorial's
    if done.returncode and not faults:
        raise AssertionError(f"{step.code}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return tidy(done.stdout, folder, as_it_is=step.code.startswith("cat "))


def tidy(text: str, folder: Path, as_it_is: bool = False) -> str:
    """Without the machine's own paths, without blanks at line ends, sentences in lines that a page can show."""
    text = text.replace(f"{folder}/", "").replace(str(folder), ".").replace(str(Path(sys.prefix)), "…/.venv")
    lines: list[str] = []
    for line in map(str.rstrip, text.splitlines()):
        # tables, commands and files would be others if they were broken
        whole = as_it_is or len(line) <= SENTENCE or re.search(r"\S {2,}\S|──|^ *plastsearch ", line)
        lines += [line] if whole else textwrap.wrap(line, SENTENCE, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines).strip("\n") + "\n"


def pictures(page: str) -> Iterator[tuple[str, str]]:
    """Where each picture comes from in the folder, and its name beside the page."""
    for hit in PICTURE.finditer(page):
        yield hit[1], hit[2]


def write(folder: Path) -> None:
    """Run all of it and put what was said into the page."""
    page = PAGE.read_text("utf-8")

    def filled(hit: re.Match[str]) -> str:
        step = Step(hit[1], hit[2], hit[3])
        if step.code.startswith(INSTALLS):
            return hit[0]
        said = take(step, folder)
        return hit[0] if hit[3] is None else f"```{hit[1]}\n{hit[2]}```\n\n```text\n{said}```\n"

    page = BLOCK.sub(filled, page)
    for source, name in pictures(page):
        shutil.copy(folder / source, DOCS / name)
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        write(Path(made))
