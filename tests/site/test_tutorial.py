"""The tutorial, the examples and the notebook are run as they stand; those that train a sweep are slow."""

import contextlib
import csv
import io
import re
import runpy
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from docs.make_tutorial import BLOCK, PAGE, pictures, steps, take
from plastsearch.cli.main import app
from plastsearch.words import printable

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
STEPS = steps(PAGE.read_text("utf-8"))
PNG = b"\x89PNG\r\n\x1a\n"


def test_the_quick_half_says_what_the_page_shows(tmp_path: Path) -> None:
    """A space is written, shown and checked; if the page says something else: python docs/make_tutorial.py."""
    quick = [step for step in STEPS if step.quick]
    assert len(quick) == 4
    for step in quick:
        assert take(step, tmp_path) == step.said, step.code


def test_the_page_shows_output_and_pictures() -> None:
    page = PAGE.read_text("utf-8")
    assert len(STEPS) >= 12
    assert [step.code for step in STEPS if step.said is not None and not step.said.strip()] == []
    for _, name in pictures(page):
        assert f"({name})" in page
        assert (PAGE.parent / name).read_bytes().startswith(PNG)
    assert re.findall(r"/(?:tmp/|home/|root/)\S+", page) == []  # of whoever ran it
    assert all(printable(line) == line for line in page.splitlines())


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_whole_tutorial_runs(tmp_path: Path) -> None:
    """From the first command to the exported model; every output has the lines of the page, figures apart."""
    for step in STEPS:
        said = take(step, tmp_path)
        if step.said is not None and "doctor" not in step.code:  # that is about the machine
            assert shape(said) >= shape(step.said), f"{step.code}\n{said}"
    for source, _ in pictures(PAGE.read_text("utf-8")):
        assert (tmp_path / source).read_bytes().startswith(PNG)
    assert {"model.safetensors", "detector.py", "README.md"} <= {
        path.name for path in (tmp_path / "detector").iterdir()
    }


def shape(text: str) -> set[str]:
    """How lines begin that any run of a command has: titles, and the names of what is measured or written."""
    return set(re.findall(r"^(?:Sweep|Trials|Results|Report|Figure|Choose|MLflow| measure| file| trial)\b", text, re.M))


def test_the_notebook_says_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = BLOCK.findall((EXAMPLES / "notebook.md").read_text("utf-8"))
    assert len(blocks) == 6
    for _, code, shown in blocks:
        heard = io.StringIO()
        with contextlib.redirect_stdout(heard):
            exec(code, names)  # noqa: S102 - the notebook is ours
        assert heard.getvalue() == shown, code


def test_a_model_of_ones_own_grows_and_is_cut_back(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "own_model" / "own_model.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "sites {'mixer.0': 24, 'mixer.1': 24}" in said
    assert "after dropin the outputs moved by 0e+00" in said
    assert "wider by 8" in said


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder, with its ten clips made."""
    place = tmp_path_factory.mktemp("example") / "own_corpus"
    shutil.copytree(EXAMPLES / "own_corpus", place)
    runpy.run_path(str(place / "make_clips.py"), run_name="__main__")
    return place


def typed(page: Path) -> list[list[str]]:
    """The commands of the example's page."""
    block = re.search(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None
    return [line.split() for line in block[1].splitlines() if line.startswith("plastsearch ")]


def run(words: list[str], folder: Path) -> str:
    """What a command prints in the example's folder."""
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, f"{words}\n{done.output}"
    return done.stdout


def test_a_corpus_of_ones_own_is_read(corpus: Path) -> None:
    with (corpus / "clips.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert sorted(path.name for path in (corpus / "clips").iterdir()) == sorted(row["path"] for row in rows)
    assert len(rows) == 10
    inspect, check, _ = typed(corpus / "README.md")
    assert "0 clips are known to be unusable" in run(inspect, corpus)
    assert "no mistakes" in run(check, corpus)


@pytest.mark.slow
def test_a_sweep_on_a_corpus_of_ones_own(corpus: Path) -> None:
    """The trial of its page, then the whole search with its finalist."""
    assert "dev_eer" in run([*typed(corpus / "README.md")[2], "--json"], corpus)
    said = run(["plastsearch", "sweep", "space.yaml", "--executor", "inline", "--quiet"], corpus)
    assert "Trials: " in said
    assert "evaluation split" in said
