"""Commands of a model in use, given broken models, sweeps, protocols, score files, audio and words."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from plastsearch import load_model
from plastsearch.audio import write_audio
from plastsearch.scores.files import write_scores
from plastsearch.use.folder import write_folder
from tests.fuzz.boxes import Recipe, as_bytes, as_json, as_lines, as_text, fuzz
from tests.fuzz.children import run

SEED = int(os.environ.get("PLASTSEARCH_FUZZ_SEED", "0"))
MANY = int(os.environ.get("PLASTSEARCH_FUZZ", "2000"))
MODEL = [
    ("in/model/config.json", as_json), ("in/model/config.json", as_json), ("in/model/model.safetensors", as_bytes),
    ("in/model/calibration.json", as_json),
]  # fmt: skip
SWEEP = [("in/sweep/trials.jsonl", as_lines)]
CLIPS = [("in/clips/a.wav", as_bytes), ("in/clips/b.flac", as_bytes)]
PROTOCOL = [("in/protocol.txt", as_text)]
SCORES = [("in/theirs.txt", as_text), ("in/with_key.txt", as_text), ("in/many.txt", as_text)]
HEARD = ["--protocol", "in/protocol.txt", "--audio", "in/clips"]
RECIPES = [
    Recipe(["score", "in/model", "in/clips", "--csv", "--out", "out/s.csv"], [*MODEL, *CLIPS]),
    Recipe(["score", "in/model", "in/clips", "--protocol", "in/protocol.txt", "--timeline"],
           [*MODEL, *CLIPS, *PROTOCOL, *PROTOCOL]),
    Recipe(["score", "in/model", "-", "--json-lines", "--prior", "0.2", "--hop", "0.3"], [*MODEL, *CLIPS],
           b"in/clips/a.wav\nin/clips/nobody.wav\n\x1b[31m\n\xff\n"),
    Recipe(["score", "in/sweep:1", "in/clips/a.wav", "--asvspoof"], [*SWEEP, *CLIPS]),
    Recipe(["calibrate", "in/model", "--on", "in/many.txt", "--dry-run", "--scale", "plain"], [*MODEL, *SCORES],
           writes=["in/model"]),  # where it keeps what it learnt without --dry-run

    Recipe(["calibrate", "in/sweep:1", "--on", "dev", "--dry-run"], SWEEP, writes=["in/sweep/calibration"]),
    Recipe(["compare", "in/model", "in/theirs.txt", *HEARD, "--replicates", "20", "--out", "out/c"],
           [*MODEL, *CLIPS, *PROTOCOL, *SCORES]),
    Recipe(["compare", "in/with_key.txt", "in/with_key.txt", "--replicates", "20"], SCORES),
    Recipe(["compare", "in/sweep:1", "in/sweep:0", "--replicates", "20"], SWEEP),
    Recipe(["drift", "in/model", "--reference", "in/clips", "--new", "in/clips", "--out", "out/d"], [*MODEL, *CLIPS]),
    Recipe(["export", "in/model", "out/e"], MODEL),
    Recipe(["export", "in/sweep:1", "out/e", "--arena", "Org/Set", "--repository", "me/x", "--scores",
            "in/theirs.txt"], [*SWEEP, *SCORES]),
    Recipe(["explain", "in/model", "in/clips/a.wav", "--no-evidence", "--out", "out/x"], [*MODEL, *CLIPS],
           writes=["in/explain"]),  # where it writes without --out
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(found_root, tmp_path_factory) -> Path:
    """One of each input, unbroken."""
    from plastsearch.use.facts import Calibration

    folder = tmp_path_factory.mktemp("whole")
    model = load_model(f"{found_root}/grnn:1")
    calibration = Calibration(slope=1.2, offset=0.1, learnt_on="made clips", bona_fide=10, spoofed=10)
    write_folder(folder / "model", model.detector, model.facts.model_copy(update={"calibration": calibration}))
    shutil.copytree(found_root / "grnn", folder / "sweep")
    shutil.copytree(found_root / "store", folder / "store")
    rng = np.random.default_rng(0)
    (folder / "clips").mkdir()
    ids = ["a", "b", "c", "d"]
    for name in ids:
        suffix = ".flac" if name == "b" else ".wav"
        write_audio(folder / "clips" / f"{name}{suffix}", 0.1 * rng.standard_normal(9000), 16_000)
    classes = ["A01 spoof", "- bonafide", "A01 spoof", "- bonafide"]
    lines = [f"S{k % 2} {name} - {kind}" for k, (name, kind) in enumerate(zip(ids, classes, strict=True))]
    (folder / "protocol.txt").write_text("\n".join(lines) + "\n")
    write_scores(folder / "theirs.txt", ids, [0.1, 1.5, -0.3, 0.8])
    write_scores(folder / "with_key.txt", ids, [0.1, 1.5, -0.3, 0.8], "2019", [0, 1, 0, 1], ["A01", "-", "A01", "-"])
    classes = [number % 2 for number in range(24)]
    write_scores(folder / "many.txt", [f"m{number}" for number in range(24)],
                 0.8 * np.array(classes) + rng.normal(size=24), "2019", classes,
                 ["-" if bona else "A01" for bona in classes])  # fmt: skip
    return folder


def test_the_unbroken_inputs_serve(whole, tmp_path):
    for recipe in RECIPES:
        box = tmp_path / "box"
        shutil.rmtree(box, ignore_errors=True)
        shutil.copytree(whole, box / "in")
        (box / "out").mkdir()
        outcome = run(recipe.words, box, recipe.stdin, limit_s=60)
        assert outcome.status == int(bool(recipe.stdin)), (recipe.words, outcome.err)  # some names there are of nothing


def test_a_few_broken_inputs_end_in_a_sentence(whole, tmp_path):
    tally = fuzz(RECIPES, whole, tmp_path, SEED, 2 * len(RECIPES))
    assert tally.faults == [], "\n".join([tally.text(), *tally.faults])


@pytest.mark.slow
def test_many_broken_inputs_end_in_a_sentence(whole, tmp_path, capsys):
    tally = fuzz(RECIPES, whole, tmp_path, SEED + 1, MANY)
    with capsys.disabled():
        print(f"\n{tally.text()}")
    assert tally.faults == [], "\n".join([tally.text(), *tally.faults[:50]])
