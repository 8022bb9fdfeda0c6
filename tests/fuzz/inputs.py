"""The whole inputs of all recipes in one folder: small, of every kind of file that a command reads."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import yaml

from plastsearch import load_model
from plastsearch.audio import write_audio
from plastsearch.models.build import build, save_pretrained
from plastsearch.scores.files import write_scores
from plastsearch.use.facts import Calibration
from plastsearch.use.folder import write_folder
from tests.made_sweep import make_sweep

ROOT = Path(__file__).parents[2]


def make_inputs(folder: Path, found: Path) -> Path:
    """Everything, of which `found` (found_models.py) gives a sweep with real weights, its store and its cache."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    _spaces(folder)
    _weights(folder)
    _corpora(folder, rng)
    _scores(folder, rng)
    _model(folder, found, rng)
    (folder / "loop").symlink_to("loop")
    (folder / "to_null").symlink_to("/dev/null")
    (folder / "to_nothing").symlink_to("nothing")
    os.mkfifo(folder / "pipe")
    make_sweep(folder / "made", search=6, repeats=1)
    _sweep(folder, found)
    return folder


def _spaces(folder: Path) -> None:
    smoke = (ROOT / "search_spaces" / "smoke.yaml").read_text()
    (folder / "space.yaml").write_text(smoke)
    (folder / "from.yaml").write_text(smoke.replace("name: grnn, preset: tiny", "name: grnn, from: in/weights"))
    corpus = "corpus: in_the_wild, root: in/itw, length_samples: 1600, rate_hz: 16000"
    (folder / "corpus.yaml").write_text(smoke.replace("corpus: synthetic, clips: 64, length_samples: 8000", corpus))
    (folder / "bad.yaml").write_text(smoke.replace("gru.*", "nothing.*"))
    trial = {"model": {"name": "grnn", "from": "in/weights"}, "method": "baseline", "timing_batch": 2,
             "timing_steps": 3, "data": {"corpus": "in_the_wild", "root": "in/itw", "length_samples": 800, "clips": 8},
             "train": {"steps": 3, "batch_size": 2, "evaluations": 1}, "calibration_clips": 8}  # fmt: skip
    (folder / "trial.yaml").write_text(json.dumps(trial))
    (folder / "overlay.yaml").write_text((ROOT / "search_spaces" / "w2v_layers.yaml").read_text())
    parts = [ROOT / "k8s" / "sweep" / "rayjob.yaml", ROOT / "k8s" / "platform" / "mlflow.yaml"]
    (folder / "manifests.yaml").write_text("\n---\n".join(part.read_text() for part in parts))


def _weights(folder: Path) -> None:
    save_pretrained(build("grnn"), folder / "weights")
    save_pretrained(build("wav2vec2"), folder / "w2v")


def _corpora(folder: Path, rng: np.random.Generator) -> None:
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


def _scores(folder: Path, rng: np.random.Generator) -> None:
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
    classes = [number % 2 for number in range(24)]
    write_scores(folder / "many.txt", [f"m{number}" for number in range(24)],
                 0.8 * np.array(classes) + rng.normal(size=24), "2019", classes,
                 ["-" if bona else "A01" for bona in classes])  # fmt: skip


def _model(folder: Path, found: Path, rng: np.random.Generator) -> None:
    """An exported model, clips for it, their protocol, and scores of somebody else."""
    model = load_model(f"{found}/grnn:1")
    calibration = Calibration(slope=1.2, offset=0.1, learnt_on="made clips", bona_fide=10, spoofed=10)
    write_folder(folder / "model", model.detector, model.facts.model_copy(update={"calibration": calibration}))
    (folder / "clips").mkdir()
    ids = ["a", "b", "c", "d"]
    for name in ids:
        suffix = ".flac" if name == "b" else ".wav"
        write_audio(folder / "clips" / f"{name}{suffix}", 0.1 * rng.standard_normal(9000), 16_000)
    classes = ["A01 spoof", "- bonafide", "A01 spoof", "- bonafide"]
    lines = [f"S{k % 2} {name} - {kind}" for k, (name, kind) in enumerate(zip(ids, classes, strict=True))]
    (folder / "protocol.txt").write_text("\n".join(lines) + "\n")
    write_scores(folder / "theirs.txt", ids, [0.1, 1.5, -0.3, 0.8])


def _sweep(folder: Path, found: Path) -> None:
    """A finished sweep of which a resume has nothing to run: of the controls that were asked for, one is there."""
    for name, place in (("grnn", "sweep"), ("store", "store"), ("cache", "cache")):
        shutil.copytree(found / name, folder / place)
    path = folder / "sweep" / "trials.jsonl"
    head, *rest = path.read_text().splitlines(keepends=True)
    plain = json.loads(head)
    plain["spec"]["controls"] = ["baseline"]
    path.write_text(json.dumps(plain) + "\n" + "".join(rest))
    (folder / "sweep.yaml").write_text(yaml.safe_dump(plain["spec"]))
    spec = json.loads((folder / "made" / "trials.jsonl").read_text().splitlines()[0])["spec"]
    spec["search"]["warm_start"] = ["in/made"]
    (folder / "warm.yaml").write_text(yaml.safe_dump(spec))
