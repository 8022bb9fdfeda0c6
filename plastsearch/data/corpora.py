"""The corpora by name: where their protocols and audio lie below `root`, and how each becomes a manifest."""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.audio import SUFFIXES
from plastsearch.data.manifest import SPLITS, Manifest, Problem, check_ids, rows
from plastsearch.data.tables import read_columns, read_in_the_wild, read_protocol, read_table
from plastsearch.errors import DataError
from plastsearch.files import typed_path
from plastsearch.scores.columns import ASVSPOOF5, DF_2021, LA_2019, LA_2021, PA_2019, ColumnOrder

EVALUATION_ONLY = frozenset({"asvspoof2021_la", "asvspoof2021_df"})


@dataclass(frozen=True)
class Ask:
    """What a reader is told."""

    root: Path
    variant: str | None
    manifest: Path | None
    needed: Collection[str]  # splits that must be there; others are read if they are. None: look at whatever there is


Reader = Callable[[Ask], Manifest]


def read_corpus(
    corpus: str,
    root: str | Path | None,
    *,
    variant: str | None = None,
    manifest: str | Path | None = None,
    needed: Collection[str] = SPLITS,
) -> Manifest:
    """The manifest of a corpus: every split that is there, and an error if a needed one is not; no audio is read."""
    if corpus not in READERS:
        near = get_close_matches(corpus, READERS, n=1)
        guess = f"did you mean '{near[0]}'? " if near else ""
        raise DataError(f"unknown corpus '{corpus}'; {guess}known: synthetic, {', '.join(READERS)}")
    if root is None and corpus != "manifest":
        raise DataError(f"{corpus}: `data.root` (--root) is missing; it names the folder that holds the corpus")
    table = typed_path(str(manifest)) if manifest is not None else None
    place = typed_path(str(root)) if root is not None else (table or Path()).parent
    if not place.is_dir():
        raise DataError(f"{corpus}: root {place} {'is not a folder' if place.exists() else 'does not exist'}")
    if variant is not None and corpus != "fake_or_real":
        raise DataError(f"{corpus} has no variants, got `data.variant: {variant}`")
    result = READERS[corpus](Ask(place.absolute(), variant, table, needed))
    check_ids(result)  # over all splits that are there: a clip in two of them spoils the one that is asked for, too
    if needed:
        result.problems.keep_splits(needed)
    empty = [split for split in needed if split not in result.splits or not len(result.splits[split])]
    if empty and not len(result.problems):
        looked = ", ".join(dict.fromkeys(result.sources.values())) or place
        raise DataError(f"{corpus}: no clips in split {', '.join(empty)} below {place} (looked for in {looked})")
    return result


def _asvspoof2019(task: str, order: ColumnOrder) -> Reader:
    def read(ask: Ask) -> Manifest:
        root = ask.root
        protocols = root / f"ASVspoof2019_{task}_cm_protocols"
        _expect(root, protocols.name, f"asvspoof2019_{task.lower()}", f"the folder `{task}` of the distribution")
        result = Manifest(f"asvspoof2019_{task.lower()}", root, None, {}, {})
        for split in SPLITS:
            kind = "trn" if split == "train" else "trl"
            path = protocols / f"ASVspoof2019.{task}.cm.{split}.{kind}.txt"
            audio = f"ASVspoof2019_{task}_{split}/flac"
            _add(result, split, path, order, audio, ask.needed)
        return result

    return read


def _asvspoof2021(task: str, order: ColumnOrder) -> Reader:
    def read(ask: Ask) -> Manifest:
        root = ask.root
        corpus = f"asvspoof2021_{task.lower()}"
        folder = f"ASVspoof2021_{task}_eval"
        _expect(root, folder, corpus, f"the folder that holds `{folder}`")
        keys = _first(
            [base / "keys" / task / "CM" / "trial_metadata.txt" for base in (root, root / folder, root.parent)]
            + [root / task / "CM" / "trial_metadata.txt"],
            f"{corpus}: the keys are distributed apart from the audio; unpack `{task}-keys-full` so that they lie at",
        )
        result = Manifest(corpus, root, None, {}, {})
        table = read_protocol(keys, order, f"{folder}/flac", ".flac", "eval", result.problems)
        _compare_list(root / folder / f"ASVspoof2021.{task}.cm.eval.trl.txt", table, result)
        # one key file for three parts; only the first counts in the published results, all three stay closed
        for split in ("eval", "progress", "hidden"):
            part = table.filter(pc.equal(table["subset"], split)).drop_columns("subset").combine_chunks()
            if len(part):
                result.splits[split], result.sources[split] = part, str(keys)
        return result

    return read


def _compare_list(path: Path, keyed: pa.Table, result: Manifest) -> None:
    """The audio comes with a list of its own; a clip in one but not in the other is worth a note."""
    if not path.is_file():
        result.notes.append(f"no audio list at {path}; the keys alone say which clips there are")
        return
    listed, _ = read_columns(path, 1, (0,), "LA_E_9332881", "eval", result.problems)
    ids = listed["c0"].combine_chunks()
    unlisted = int(np.count_nonzero(~np.asarray(pc.is_in(keyed["id"], value_set=ids))))
    unkeyed = int(np.count_nonzero(~np.asarray(pc.is_in(ids, value_set=keyed["id"].combine_chunks()))))
    if unlisted or unkeyed:
        counts = f"{unlisted:,} keyed clips are not in it, {unkeyed:,} of its clips have no key"
        result.notes.append(f"{path.name}: {counts}")


def _asvspoof5(ask: Ask) -> Manifest:
    root = ask.root
    result = Manifest("asvspoof5", root, None, {}, {})
    audio = {"train": "flac_T", "dev": "flac_D", "eval": "flac_E_eval"}
    names = {"train": "ASVspoof5.train.tsv", "dev": "ASVspoof5.dev.track_1.tsv", "eval": "ASVspoof5.eval.track_1.tsv"}
    folders = [root, root / "ASVspoof5_protocols", root / "protocols"]  # beside the audio, or in one of their own
    if not any((folder / name).is_file() for folder in folders for name in names.values()):
        _expect(root, names["train"], "asvspoof5", "the folder that holds the `.tsv` protocols and `flac_T`")
    for split in SPLITS:
        name = names[split]
        path = next((folder / name for folder in folders if (folder / name).is_file()), root / name)
        _add(result, split, path, ASVSPOOF5, audio[split], ask.needed)
    return result


def _add(result: Manifest, split: str, path: Path, order: ColumnOrder, audio: str, needed: Collection[str]) -> None:
    if not path.is_file() and split not in needed:
        result.notes.append(f"no {split} protocol at {path}")
        return
    table = read_protocol(path, order, audio, ".flac", split, result.problems)
    if split in needed and not (result.root / audio).is_dir():
        raise DataError(
            f"{result.corpus}: {path.name} lists {len(table):,} clips, but the folder {result.root / audio} is "
            "missing; unpack the audio there or set `data.root` to where it lies"
        )
    result.splits[split], result.sources[split] = table, str(path)


def _first(candidates: list[Path], missing: str) -> Path:
    for path in candidates:
        if path.is_file():
            return path
    raise DataError(f"{missing} {candidates[0]}")


def _expect(root: Path, name: str, corpus: str, what: str) -> None:
    """Refuse a root at the wrong level, naming the right one if it is near."""
    if (root / name).exists():
        return
    near = [path.parent for path in (*sorted(root.glob(f"*/{name}")), root.parent / name, root.parent.parent / name)
            if path.exists()]  # fmt: skip
    hint = f"did you mean `root: {near[0]}`?" if near else f"`root` must be {what}"
    raise DataError(f"{corpus}: {root} holds no {name}; {hint}")


def _in_the_wild(ask: Ask) -> Manifest:
    root = ask.root
    folder = next((place for place in (root / "release_in_the_wild", root) if (place / "meta.csv").is_file()), None)
    if folder is None:
        _expect(root, "release_in_the_wild", "in_the_wild", "the folder that holds `release_in_the_wild/meta.csv`")
        raise DataError(f"in_the_wild: {root / 'release_in_the_wild' / 'meta.csv'}: no such file")
    return read_in_the_wild(folder)


def _manifest(ask: Ask) -> Manifest:
    if ask.manifest is None:
        raise DataError(
            "manifest: `data.manifest` (--manifest) is missing; it names a CSV or Parquet file with path, label, split"
        )
    return read_table(ask.manifest, ask.root)


def _fake_or_real(ask: Ask) -> Manifest:
    return read_fake_or_real(ask.root, ask.variant)


READERS: dict[str, Reader] = {
    "asvspoof2019_la": _asvspoof2019("LA", LA_2019),
    "asvspoof2019_pa": _asvspoof2019("PA", PA_2019),
    "asvspoof2021_la": _asvspoof2021("LA", LA_2021),
    "asvspoof2021_df": _asvspoof2021("DF", DF_2021),
    "asvspoof5": _asvspoof5,
    "fake_or_real": _fake_or_real,
    "in_the_wild": _in_the_wild,
    "manifest": _manifest,
}


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
    names.sort()  # the order in which a disk lists them differs between machines, and the clips of a seed with it
    ids = pa.array([f"{FOLDERS[split]}/{label}/{name}" for name in names], pa.string())
    attack = pa.array(["-" if LABELS[label] else "fake"]).take(pa.array(np.zeros(len(names), np.int64)))
    return rows({
        "id": ids, "path": ids, "label": pa.array(np.full(len(names), LABELS[label], np.int8)), "attack": attack,
        "line": pa.array(np.zeros(len(names), np.int32)),
    })  # fmt: skip
