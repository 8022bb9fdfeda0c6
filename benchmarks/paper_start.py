"""The paper's setting on recorded speech: a start that learnt other attacks, and clips that it never met.

The training clips of a corpus in the layout of ASVspoof 2019 LA are shared out: the attacks of the start with half of
the bona fide clips, the other attacks with the other half. The start is trained on its half, with labels; the arms on
theirs, and are searched on the dev clips of their own attacks. The evaluation split stays whole.
"""

import csv
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from plastsearch.data.corpus import open_corpus
from plastsearch.spec.data import DataConfig
from plastsearch.spec.model import ModelConfig
from plastsearch.trial.pretrain import Pretraining, pretrain

SPLITS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}
HEAD = ["path", "label", "split", "attack", "speaker"]


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
        for report in pretrain(model, open_corpus(data, cache).train, plan, folder, torch.device("cpu")):
            print(f"start of {model.name}: step {report['step']:.0f}, loss {report['loss']:.3f}", flush=True)
    return folder


def _written(path: Path, rows: Iterable[Sequence[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    return path
