"""A first search space passes `check`, whatever is answered; nothing is overwritten."""

import itertools
import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.cli.sessions.new_space import AIMS, BUDGETS, CORPORA, MODELS, PRESETS
from plastsearch.errors import PlastsearchError
from plastsearch.preflight.checks import examine
from plastsearch.spec.document import read_document
from plastsearch.spec.load import read_sweep
from plastsearch.spec.schema import as_text, schema


def new(*words):
    result = CliRunner().invoke(app, ["new", *map(str, words)])
    if isinstance(result.exception, PlastsearchError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def passes(folder, corpora, models, budgets):
    """Spaces of these answers, sizes and aims taken in turn, go through `check` and the schema."""
    validator = jsonschema.Draft202012Validator(schema())
    sizes, aims = itertools.cycle([*PRESETS, "some/weights"]), itertools.cycle(AIMS)
    for number, (corpus, model, budget) in enumerate(zip(corpora, models, budgets, strict=True)):
        path = folder / f"{number}.yaml"
        place = {"synthetic": [], "manifest": ["--manifest", folder / "clips.csv"]}.get(corpus, ["--root", folder])
        size = next(sizes) if model == "wav2vec2" else next(sizes).replace("some/weights", "base")
        kind = "--preset" if size in PRESETS else "--from"
        new(path, "--model", model, "--corpus", corpus, "--budget", budget, kind, size, "--aim", next(aims),
            "--json", *place)  # fmt: skip
        reading = read_sweep(path)
        assert not reading.mistakes
        assert not examine(reading.spec, data=False).mistakes
        assert not [*validator.iter_errors(read_document(path).data)]
        assert path.read_text().count("#") > 15  # it explains itself


def test_every_answer_is_part_of_a_space_that_passes_check_and_the_schema(tmp_path):
    turn = [itertools.islice(itertools.cycle(words), len(CORPORA)) for words in (MODELS, BUDGETS[::-1])]
    passes(tmp_path, CORPORA, *turn)


@pytest.mark.slow
def test_every_combination_passes_check_and_the_schema(tmp_path):
    passes(tmp_path, *zip(*itertools.product(CORPORA, MODELS, BUDGETS), strict=True))


def test_it_says_what_to_type_next_and_that_works(tmp_path):
    path = tmp_path / "my space.yaml"
    (tmp_path / "plastsearch.schema.json").write_text(as_text())
    result = new(path, "--model", "grnn", "--budget", "minutes")
    assert f"plastsearch sweep '{path}' --dry-run" in result.output
    assert "# yaml-language-server: $schema=plastsearch.schema.json" in path.read_text()
    assert CliRunner().invoke(app, ["check", str(path)]).exit_code == 0
    told = new(tmp_path / "la.yaml", "--corpus", "asvspoof2019_la", "--root", tmp_path / "LA")
    assert f"Note: before it can run: {tmp_path / 'LA'} is no folder here" in told.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("there.yaml",), "is there already"),
        (("space.txt",), "ends in .yaml"),
        (("nowhere/space.yaml",), "no folder"),
        (("space.yaml", "--model", "wav2vec"), "did you mean 'wav2vec2'"),
        (("space.yaml", "--corpus", "asvspoof2021_la"), "evaluation clips alone"),
        (("space.yaml", "--corpus", "in_the_wild"), "with --root"),
        (("space.yaml", "--corpus", "synthetic", "--root", "."), "leave it out"),
        (("space.yaml", "--aim", "speed"), "known: all, training, size, nothing"),
        (("space.yaml", "--preset", "tiny", "--from", "weights"), "leave one out"),
        (("space.yaml", "--corpus", "manifest"), "with --manifest"),
        (("space.yaml", "--budget", "week"), "known: minutes, night, days"),
        (("space.yaml", "--from", "./no/weights"), "no/weights"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.yaml").write_text("mine\n")
    with pytest.raises(PlastsearchError, match=says):
        new(*words)
    assert [path.name for path in tmp_path.iterdir()] == ["there.yaml"]
    assert (tmp_path / "there.yaml").read_text() == "mine\n"


def test_it_asks_five_questions_on_a_terminal(tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "plastsearch", "new", "asked.yaml", "--aim", "size"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "dumb"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment)
    os.close(theirs)
    shown, asked, until = "", iter([("1/5", "3"), ("2/5", ""), ("3/5", "wav"), ("none of them", "synthetic"),
                                    ("5/5", "minutes")]), time.monotonic() + 60  # fmt: skip
    mark, answer = next(asked)
    while time.monotonic() < until:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                shown += os.read(ours, 4096).decode()
            except OSError:  # how a terminal's other end says that nobody is there any more
                break
        if mark and mark in shown and shown.rstrip().endswith(":"):
            os.write(ours, f"{answer}\n".encode())
            mark, answer = next(asked, ("", ""))
    os.close(ours)
    assert process.wait(30) == 0, shown
    assert "4/5" not in shown  # what a flag answers is not asked
    data = read_document(tmp_path / "asked.yaml").data
    assert data["base"]["model"] == {"name": "grnn", "preset": "tiny"}
    assert [one["metric"] for one in data["objectives"]] == ["dev_eer", "params_total"]
    assert data["search"]["trials"] == 6
    assert json.dumps(data["question"])
