"""Fake-or-Real: no protocol, the folders `{training,validation,testing}/{real,fake}` are the labels."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from plastsearch.data.audio import SUFFIXES
from plastsearch.data.manifest import Manifest, rows
from plastsearch.data.problems import Problem
from plastsearch.errors import DataError

# variant → the folder inside it, as shipped
INNER = {
    "for-original": "for-original",
    "for-norm": "for-norm",
    "for-2sec": "for-2seconds",
    "for-rerec": "for-rerecorded",
}
FOLDERS = {"train": "training", "dev": "validation", "eval": "testing"}
LABELS = {"real": 1, "fake": 0}
CLUTTER = frozenset({"thumbs.db", "desktop.ini"})


def read_fake_or_real(root: Path, variant: str | None) -> Manifest:
    """The clips of one variant, ids being paths below its folder."""
    variant = variant or "for-norm"
    if variant not in INNER:
        raise DataError(f"fake_or_real: unknown `data.variant` '{variant}'; known: {', '.join(INNER)}")
    base = _base(root, variant)
    result = Manifest("fake_or_real", base, variant, {}, {})
    for split, folder in FOLDERS.items():
        result.sources[split] = str(base / folder)
        parts = [_folder(result, split, label) for label in LABELS]
        result.splits[split] = pa.concat_tables(parts).combine_chunks()
    return result


def _base(root: Path, variant: str) -> Path:
    """The folder that holds training/; the archive nests it, copies often do not."""
    own = root.name in (variant, INNER[variant])
    candidates = [root / variant / INNER[variant], root / variant / variant, root / variant, root / INNER[variant]]
    for base in candidates + ([root] if own else []):
        if (base / "training").is_dir():
            return base
    others = [name for name in INNER if (root / name).is_dir()]
    if (root / "training").is_dir():
        hint = f"this looks like the inside of one variant; set `root` to the folder above it that is named {variant}"
    elif others:
        hint = f"it holds {', '.join(others)}: set `data.variant` (--variant) to what it holds"
    else:
        hint = f"`root` must hold {variant}/{INNER[variant]}/training/real and its siblings"
    raise DataError(f"fake_or_real: {root} has no training folder of {variant}; {hint}")


def _folder(result: Manifest, split: str, label: str) -> pa.Table:
    folder = result.root / FOLDERS[split] / label
    if not folder.is_dir():
        raise DataError(f"fake_or_real: the folder {folder} is missing")
    names: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".") or name.lower() in CLUTTER:
                continue
            # odd names are part of the corpus: file7.wav_16k.wav_norm.wav_mono.wav_silence.wav
            if os.path.splitext(name)[1].lower() in SUFFIXES:  # noqa: PTH122 - a Path per file is ten times slower
                names.append(name)
            else:
                result.problems.add(Problem(split, str(folder), 0, name, "not an audio file name"))
    names.sort()
    ids = pa.array([f"{FOLDERS[split]}/{label}/{name}" for name in names], pa.string())
    attack = pa.array(["-" if LABELS[label] else "fake"]).take(pa.array(np.zeros(len(names), np.int64)))
    return rows({
        "id": ids, "path": ids, "label": pa.array(np.full(len(names), LABELS[label], np.int8)), "attack": attack,
        "line": pa.array(np.zeros(len(names), np.int32)),
    })  # fmt: skip
