"""Every command over every kind of file it reads: as they are they serve, broken they end in a sentence."""

import os
from pathlib import Path

import pytest
import typer

from tests.fuzz import everything  # noqa: F401 - so that no child need import it
from tests.fuzz.boxes import Recipe, Tally, fuzz, new_box
from tests.fuzz.children import run
from tests.fuzz.inputs import make_inputs
from tests.fuzz.recipes import RECIPES, WithFlags, WithSet

SEED = int(os.environ.get("PLASTSEARCH_FUZZ_SEED", "0"))
MANY = int(os.environ.get("PLASTSEARCH_FUZZ", "10000"))
PARTS = 8  # of the many, so that two processes share them
CHEAP = [recipe for recipe in RECIPES if recipe.share > 2]
PLAIN = [recipe for recipe in RECIPES if not isinstance(recipe, WithFlags | WithSet)]


@pytest.fixture(scope="module")
def whole(found_root, tmp_path_factory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs") / "whole", found_root)


def _serves(recipe: Recipe, whole: Path, folder: Path) -> None:
    new_box(recipe, whole, folder / "box")
    outcome = run(recipe.words, folder / "box", recipe.stdin, 120, interrupt_s=recipe.interrupt_s)
    wanted = (0, 1, 2) if recipe.whole < 0 else (recipe.whole, 130) if recipe.interrupt_s else (recipe.whole,)
    assert outcome.status in wanted, (recipe.words, outcome.text)


def test_every_command_is_fuzzed():
    from plastsearch.cli.main import app

    group = typer.main.get_command(app)
    names = {
        f"{name} {below}" if below else name
        for name, one in group.commands.items()
        for below in getattr(one, "commands", [""])
    }
    assert names == {recipe.command for recipe in RECIPES}


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_the_unbroken_inputs_serve(whole, tmp_path):
    """What is fuzzed would else be refused for another reason than its mistake."""
    for recipe in PLAIN:
        if recipe.share > 2:
            _serves(recipe, whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [one for one in PLAIN if one.share <= 2], ids=lambda one: " ".join(one.words)[:60])
def test_the_unbroken_inputs_serve_what_takes_longer(recipe, whole, tmp_path):
    _serves(recipe, whole, tmp_path)


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("part", range(4))
def test_300_broken_inputs_end_in_a_sentence(part, whole, tmp_path):
    tally = Tally()
    for tried in fuzz(CHEAP, whole, tmp_path, SEED, range(part, 300, 4)):
        tally.note(tried)
    assert tally.faults == [], "\n".join([tally.text(), *tally.faults])


@pytest.mark.slow
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("part", range(PARTS))
def test_many_broken_inputs_end_in_a_sentence(part, whole, tmp_path, capsys):
    tally = Tally()
    for tried in fuzz(RECIPES, whole, tmp_path, SEED + 1, range(part, MANY, PARTS)):
        tally.note(tried)
    with capsys.disabled():
        print(f"\n{tally.text()}")
    assert tally.faults == [], "\n".join([tally.text(), *tally.faults[:50]])
