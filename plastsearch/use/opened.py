"""Which clips finalists were judged on: nothing that is learnt may rest on them, or their error rates flatter.

By name, out of the ledger beside the store and of what finalists said; by their samples, where the decoded clips lie
beside the sweep. An exported model takes a sample of the names along. No split is opened here.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from plastsearch.analysis.results import Results
from plastsearch.audio import BadAudioError, Samples, decode
from plastsearch.errors import DataError
from plastsearch.scores.clip_scores import FOLDER, read_clip_scores
from plastsearch.store.openings import FILE
from plastsearch.use.facts import Facts

STORE, CACHE = "store", "cache"  # beside the sweeps of one root
KEPT = 512  # names that an exported model knows: all of a small set, of a large one a sample
SAMPLED = "evaluation_names"


def opened_names(results: Results) -> frozenset[str]:
    """Every clip on which a finalist of this root was judged, as far as that was kept."""
    names: set[str] = set()
    for row in results.every:
        kept = dict(row.record.details.get("scores") or {}).get("evaluation")
        if kept and Path(kept).is_file():
            names.update(read_clip_scores(Path(kept)).ids)
    scores = results.folder.parent / STORE / FOLDER
    for _, trial in ledger(results.folder.parent):
        path = scores / f"{trial}.txt"
        if trial.isalnum() and path.is_file():
            names.update(line.split(maxsplit=1)[0] for line in path.read_text().splitlines() if line.strip())
    return frozenset(names)


def ledger(root: Path) -> list[tuple[str, str]]:
    """Corpus and trial of every opening under a root of sweeps."""
    path = root / FILE
    if not path.is_file():
        return []
    found = []
    for text in path.read_text(errors="replace").splitlines():
        try:
            line = json.loads(text)
            found.append((str(line["corpus"]), str(line["trial"])))
        except (ValueError, KeyError, TypeError):
            continue  # cut by a crash of the machine; store/openings.py counts it
    return found


def sample_of(names: Iterable[str]) -> list[str]:
    """The names whose hashes are lowest: of two sets, the same names are in both samples or in none."""
    return sorted(_hash(name) for name in names)[:KEPT]


def known_to(facts: Facts, names: Iterable[str]) -> list[str]:
    """Those of these names that an exported model's finalists were judged on, as far as its sample tells."""
    kept = facts.found.get(SAMPLED)
    known = {str(one) for one in kept} if isinstance(kept, list) else set()
    return [name for name in names if _hash(name) in known]


def same_audio(results: Results, paths: Sequence[str], rate_hz: int, storage: str) -> list[str]:
    """Those of these files whose samples are an opened clip's, whatever they are called."""
    # Here: whoever only loads a model should not wait for pyarrow.
    from plastsearch.data.index import read_clip_index
    from plastsearch.data.shards import audio_hash

    known: set[bytes] = set()
    for corpus in {corpus for corpus, _ in ledger(results.folder.parent)}:
        for folder in (results.folder.parent / CACHE / "clips").glob(f"{corpus}-eval-*"):
            index = read_clip_index(folder)
            known.update(index.audio(index.keys).to_pylist())
    found = []
    for path in paths if known else ():
        samples = _decoded(path, rate_hz, storage)
        if samples is not None and audio_hash(samples) in known:
            found.append(path)
    return found


def refuse(found: Sequence[str], of: int, told_so: bool) -> None:
    """End with the law, if any of the clips is one that finalists were judged on."""
    if found and not told_so:
        named = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
        raise DataError(
            f"{len(found):,} of these {of:,} clips are evaluation data that this sweep's finalists were judged on "
            f"({named}); a calibration learnt from them makes later figures on them flatter. Take --on dev or other "
            "clips, or say --even-evaluation"
        )


def _hash(name: str) -> str:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _decoded(path: str, rate_hz: int, storage: str) -> Samples | None:
    try:
        return decode(path, rate_hz, "float32" if storage == "float32" else "int16")[0]
    except (BadAudioError, OSError, ValueError):
        return None  # it is listed when it is scored
