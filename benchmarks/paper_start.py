"""The paper's setting on recorded speech: a start that learnt other attacks, and clips that it never met.

The training clips of a corpus in the layout of ASVspoof 2019 LA are shared out: the attacks of the start with half of
the bona fide clips, the other attacks with the other half. The start is trained on its half, with labels (an encoder's
convolutions without: they learn bands, and stay); the arms on theirs, and are searched on the dev clips of their own
attacks. The evaluation split stays whole.
"""

import csv
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from start_bank import ENVELOPES, reading_bands

from plastsearch.data.clips import ClipSet
from plastsearch.data.corpus import open_corpus
from plastsearch.models.catalog import Widths, preset_widths
from plastsearch.spec.data import DataConfig
from plastsearch.spec.model import ModelConfig
from plastsearch.trial.pretrain import Pretraining, pretrain

SPLITS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}
HEAD = ["path", "label", "split", "attack", "speaker"]
FEATURES = 96  # of a frame, at least: it has 80 bands
BAND_STEPS = 1000


@dataclass(frozen=True)
class Shared:
    """The two tables: of the start, and of the arms."""

    start: Path
    arms: Path


def share_out(corpus: Path, of_start: Collection[str], out: Path) -> Shared:
    """Tables for `corpus: manifest`, from the protocols of a corpus; attacks that no clip has are an error."""
    start, arms = [], []
    met = set()
    for split, ending in SPLITS.items():
        protocol = corpus / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{ending}.txt"
        bona = 0
        for line in protocol.read_text().splitlines():
            speaker, name, _, attack, label = line.split()
            met.add(attack)
            row = [f"ASVspoof2019_LA_{split}/flac/{name}.flac", label, split, attack, speaker]
            if split == "eval":
                arms.append(row)
                start.append(row)  # a table must have one; no start is scored on it
            elif label == "bonafide":
                bona += 1
                if split == "dev":
                    arms.append(row)  # the start is not searched for, so its dev clips choose nothing
                    start.append(row)
                else:
                    (start if bona % 2 else arms).append(row)
            else:
                (start if attack in of_start else arms).append(row)
    unknown = sorted(set(of_start) - met)
    if unknown:
        raise SystemExit(f"{corpus}: no clip of {', '.join(unknown)}; known: {', '.join(sorted(met - {'-'}))}")
    return Shared(_written(out / "start.csv", start), _written(out / "arms.csv", arms))


def pretrained(model: ModelConfig, data: DataConfig, plan: Pretraining, folder: Path, cache: Path) -> Path:
    """A start in that folder; one that is there already is taken as it is."""
    if not folder.exists():
        clips = open_corpus(data, cache).train
        if model.name == "wav2vec2":
            bands = _of_bands(model, clips, plan, folder.with_name(f"{folder.name}_bands"))
            model = ModelConfig.model_validate({**model.model_dump(by_alias=True), "from": str(bands.absolute())})
            plan = replace(plan, train_stem=False)
        for report in pretrain(model, clips, plan, folder, torch.device("cpu")):
            print(f"start of {model.name}: step {report['step']:.0f}, loss {report['loss']:.3f}", flush=True)
    return folder


def _of_bands(model: ModelConfig, clips: ClipSet, plan: Pretraining, folder: Path) -> Path:
    """What the layers of an encoder start from: convolutions that tell the envelopes of the start's clips."""
    wave_BT = torch.from_numpy(clips.batch(np.arange(len(clips)), plan.length_samples))
    preset = preset_widths(model.name, model.preset)
    widths: Widths = {
        "model_type": model.name, **preset, "hidden_size": max(preset["hidden_size"], FEATURES),
        "pooling": model.pooling, "dropout": model.dropout,
    }  # fmt: skip
    error = reading_bands(widths, ENVELOPES, wave_BT, folder, steps=BAND_STEPS, batch=8, seed=plan.seed)
    print(f"start of {model.name}: {error:.3f} of the bands' variance are not told", flush=True)
    return folder


def _written(path: Path, rows: Iterable[Sequence[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    return path
