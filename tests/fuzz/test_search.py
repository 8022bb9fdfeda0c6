"""Commands that come before a search, given broken spaces, overrides, score files, manifests, corpora and models."""

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import plastsearch.cli.sweep_session
import pytest

import plastsearch.cli.main

# Imported here once, so that each child need not.
import plastsearch.cli.sessions.corpora
import plastsearch.cli.sessions.space
import plastsearch.trial.run  # noqa: F401
from plastsearch.audio import write_audio
from plastsearch.models.build import build, save_pretrained
from tests.fuzz.boxes import Recipe, as_bytes, as_json, as_text, fuzz
from tests.fuzz.children import LIMIT_S, run
from tests.fuzz.settings import as_it_was, as_space, as_table, override

SEED = int(os.environ.get("PLASTSEARCH_FUZZ_SEED", "0"))
MANY = int(os.environ.get("PLASTSEARCH_FUZZ", "2000"))
SPACE = [("in/space.yaml", as_space)]
SCORES = [("in/scores.txt", as_text), ("in/key.txt", as_text), ("in/with_key.txt", as_text)]
VERIFIER = [("in/asv.txt", as_text), ("in/scores.txt", as_text), ("in/key.txt", as_text)]
MODEL = [("in/grnn/config.json", as_json)]
SPEECH = [("in/w2v/config.json", as_json)]
WEIGHTS = [("in/grnn/config.json", as_json), ("in/grnn/model.safetensors", as_bytes)]
CLIPS = [("in/itw/a0.wav", as_bytes), ("in/itw/a1.flac", as_bytes)]
META = [("in/itw/meta.csv", as_text), ("in/itw/meta.csv", as_table)]
PROTOCOL = [("in/LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt", as_text)]
CSV = [("in/clips.csv", as_table), ("in/clips.csv", as_text)]
PARQUET = [("in/clips.parquet", as_table), ("in/clips.parquet", as_bytes)]
CACHE = ["--cache", "out/cache"]
ITW = ["--root", "in/itw", *CACHE]
KEY = ["-p", "in/key.txt"]
ONE = ["--steps", "1", "--batch", "2", "--length-s", "0.1"]
ASV = ["--asv-scores", "in/asv.txt"]
RECIPES = {
    "check": [
        Recipe(["check", "in/space.yaml"], SPACE),
        Recipe(["check", "in/space.yaml", "--json", "--no-data"], SPACE),
        Recipe(["check", "in/from.yaml"], [*MODEL, ("in/from.yaml", as_space)]),
        Recipe(["check", "in/corpus.yaml"], [*META, ("in/corpus.yaml", as_space), ("in/itw/a0.wav", as_bytes)]),
        Recipe(["check", "in/warm.yaml"], [("in/warm.yaml", as_space), *CSV]),
    ],
    "sites": [
        Recipe(["sites", "grnn", "--from", "in/grnn"], MODEL),
        Recipe(["sites", "wav2vec2", "--from", "in/w2v", "--json"], SPEECH),
    ],
    "evaluate": [
        Recipe(["evaluate", "in/scores.txt", "-p", "in/key.txt", "--replicates", "20"], SCORES[:2]),
        Recipe(["evaluate", "in/with_key.txt", "--replicates", "20", "--seed", "3"], SCORES[2:]),
        Recipe(["evaluate", "in/scores.txt", *KEY, *ASV, "--replicates", "0"], VERIFIER),
    ],
    "data": [
        Recipe(["data", "inspect", "in_the_wild", *ITW], [*META, *CLIPS]),
        Recipe(["data", "inspect", "manifest", "--manifest", "in/clips.csv", *CACHE], CSV),
        Recipe(["data", "inspect", "manifest", "--manifest", "in/clips.parquet", "--json", *CACHE], PARQUET),
        Recipe(["data", "inspect", "asvspoof2019_la", "--root", "in/LA", *CACHE], PROTOCOL),
        Recipe(["data", "prepare", "in_the_wild", *ITW, "--workers", "1", "--on-bad", "skip"], [*META, *CLIPS, *CLIPS]),
        Recipe(["data", "prepare", "manifest", "--manifest", "in/clips.csv", *CACHE, "--workers", "1"], [*CSV, *CLIPS]),
    ],
    "pretrain": [
        Recipe(["pretrain", "out/p", "--model", "grnn", "--corpus", "in_the_wild", *ITW, *ONE], [*META, *CLIPS]),
    ],
    "trial": [
        Recipe(["trial", "in/trial.yaml", "--out", "out/t"], [("in/trial.yaml", as_space), *WEIGHTS, *WEIGHTS, *META]),
    ],
    "dry-run": [
        Recipe(["sweep", "in/space.yaml", "--dry-run", "--out", "out/s"], SPACE),
        Recipe(["sweep", "in/from.yaml", "--dry-run", "--out", "out/s"], [("in/from.yaml", as_space), *WEIGHTS]),
    ],
    "noise": [
        Recipe(["noise", "in/bad.yaml", "--out", "out/n", "--executor", "inline"], [("in/bad.yaml", as_space)]),
    ],
}  # fmt: skip
LIMITS = {"dry-run": 90.0, "trial": 60.0, "pretrain": 60.0}  # these train a step, or ask a process that imports torch
SHARES = {"check": 12, "evaluate": 9, "data": 8, "sites": 6, "trial": 2, "pretrain": 1, "dry-run": 1, "noise": 1}


def recipes(command: str, seed: int, count: int) -> list[Recipe]:
    """Those of a command; where it reads spaces, half of them with an override of their own."""
    found = [RECIPES[command][n % len(RECIPES[command])] for n in range(count)]
    if command not in ("check", "dry-run", "trial"):
        return found
    rng = random.Random(f"{seed}/{command}")
    return [
        one if n % 2 else Recipe([*one.words, "--set", override(rng)], [(one.words[-1], as_it_was)] * 9)
        if one.words[-1].endswith(".yaml") else Recipe([*one.words, "--set", override(rng)], one.breakable)
        for n, one in enumerate(found)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """One of each input, unbroken."""
    return make_whole(tmp_path_factory.mktemp("whole"))


def make_whole(folder: Path) -> Path:
    root = Path(__file__).parents[2]
    smoke = (root / "search_spaces" / "smoke.yaml").read_text()
    (folder / "space.yaml").write_text(smoke)
    (folder / "from.yaml").write_text(smoke.replace("name: grnn, preset: tiny", "name: grnn, from: in/grnn"))
    corpus = "corpus: in_the_wild, root: in/itw, length_samples: 1600, rate_hz: 16000"
    (folder / "corpus.yaml").write_text(smoke.replace("corpus: synthetic, clips: 64, length_samples: 8000", corpus))
    (folder / "warm.yaml").write_text(smoke.replace("{trials: 4,", "{warm_start: [in/clips.csv], trials: 4,"))
    (folder / "bad.yaml").write_text(smoke.replace("gru.*", "nothing.*"))
    trial = {"model": {"name": "grnn", "from": "in/grnn"}, "method": "baseline", "timing_batch": 2, "timing_steps": 3,
             "data": {"corpus": "in_the_wild", "root": "in/itw", "length_samples": 800, "clips": 8},
             "train": {"steps": 3, "batch_size": 2, "evaluations": 1}, "calibration_clips": 8}  # fmt: skip
    (folder / "trial.yaml").write_text(json.dumps(trial))
    save_pretrained(build("grnn"), folder / "grnn")
    save_pretrained(build("wav2vec2"), folder / "w2v")
    rng = np.random.default_rng(0)
    meta, rows = ["file,speaker,label"], ["path,label,split,attack,speaker"]
    (folder / "itw").mkdir()
    for n in range(16):
        name = f"a{n}.flac" if n % 2 else f"a{n}.wav"
        write_audio(folder / "itw" / name, 0.1 * rng.standard_normal(1600), 16_000)
        kind = "spoof" if n % 4 > 1 else "bona-fide"
        meta.append(f"{name},S{n // 4},{kind}")
        split = ("train", "dev", "eval")[n // 4 if n < 12 else 0]
        rows.append(f"itw/{name},{kind.replace('-', '')},{split},A{n % 3},S{n // 4}")
    (folder / "itw" / "meta.csv").write_text("\n".join(meta) + "\n")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    pq.write_table(pa_csv.read_csv(folder / "clips.csv"), folder / "clips.parquet")
    protocols = folder / "LA" / "ASVspoof2019_LA_cm_protocols"
    protocols.mkdir(parents=True)
    for split, ending in (("train", "trn"), ("dev", "trl"), ("eval", "trl")):
        clips = folder / "LA" / f"ASVspoof2019_LA_{split}" / "flac"
        clips.mkdir(parents=True)
        lines = []
        for n in range(4):
            name = f"LA_{split[0].upper()}_{n}"
            write_audio(clips / f"{name}.flac", 0.1 * rng.standard_normal(900), 16_000)
            lines.append(f"LA_000{n} {name} - {'A01 spoof' if n % 2 else '- bonafide'}")
        (protocols / f"ASVspoof2019.LA.cm.{split}.{ending}.txt").write_text("\n".join(lines) + "\n")
    scored = [(f"LA_E_{n}", "spoof" if n % 2 else "bonafide", n % 7 - 3 + (n % 2)) for n in range(24)]
    (folder / "scores.txt").write_text("".join(f"{name} {value}\n" for name, _, value in scored))
    (folder / "with_key.txt").write_text(
        "".join(f"{name} {'A07' if kind == 'spoof' else '-'} {kind} {value}\n" for name, kind, value in scored)
    )
    (folder / "key.txt").write_text(
        "".join(f"S{n % 5} {one[0]} - {'A07' if n % 2 else '-'} {one[1]}\n" for n, one in enumerate(scored))
    )
    kinds = ("target", "nontarget", "spoof")
    (folder / "asv.txt").write_text("".join(f"A07 {kinds[n % 3]} {n % 5 - n % 3}\n" for n in range(30)))
    return folder


def test_the_unbroken_inputs_serve(whole, tmp_path):
    """All but those that cost seconds: what is fuzzed would else be refused for another reason than its mistake."""
    for command in ("check", "sites", "evaluate", "data", "pretrain"):
        for recipe in RECIPES[command]:
            box = tmp_path / "box"
            shutil.rmtree(box, ignore_errors=True)
            (box / "out").mkdir(parents=True)
            shutil.copytree(whole, box / "in")
            outcome = run(recipe.words, box, recipe.stdin, limit_s=60)
            wanted = 2 if "in/warm.yaml" in recipe.words else 0  # a table of clips is no table of trials
            assert outcome.status == wanted, (recipe.words, outcome.out, outcome.err)


def test_a_few_broken_inputs_end_in_a_sentence(whole, tmp_path):
    faults = []
    for command, count in SHARES.items():
        tally = fuzz(recipes(command, SEED, count), whole, tmp_path, SEED, count, LIMITS.get(command, LIMIT_S))
        faults += tally.faults
    assert faults == [], "\n".join(faults)


@pytest.mark.slow
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("command", SHARES)
def test_many_broken_inputs_end_in_a_sentence(command, whole, tmp_path, capsys):
    count = max(10, MANY * SHARES[command] // sum(SHARES.values()))
    limit_s = LIMITS.get(command, LIMIT_S)
    tally = fuzz(recipes(command, SEED + 1, count), whole, tmp_path, SEED + 1, count, limit_s)
    with capsys.disabled():
        print(f"\n{command}: {tally.text()}")
    assert tally.faults == [], "\n".join([tally.text(), *tally.faults[:50]])
