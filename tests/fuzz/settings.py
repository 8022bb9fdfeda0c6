"""Changes to spaces, tables and command lines that know what their keys mean; drawn from a seeded generator."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import yaml

from plastsearch.spec.coherence import paths
from plastsearch.spec.sweep import SweepSpec
from tests.fuzz import mutations
from tests.fuzz.breaking import as_text

DOMAINS: tuple[dict[str, Any], ...] = (
    {"kind": "int", "low": 0, "high": 10**12}, {"kind": "int", "low": 1, "high": 10**18, "log": True},
    {"kind": "int", "low": -(10**12), "high": 10**12, "step": 10**11}, {"kind": "float", "low": 0, "high": 1e308},
    {"kind": "float", "low": 0, "high": 1, "step": 1e-12}, {"kind": "float", "low": -1e308, "high": 1e308},
    {"kind": "float", "low": 1e-300, "high": 1e300, "log": True}, {"kind": "subset", "of": "gru.{0..99999999}"},
    {"kind": "subset", "of": ["*"] * 3000}, {"kind": "choice", "of": list(range(3000))},
    {"kind": "choice", "of": [{}, [], None, ""]}, {"kind": "choice", "of": [["gru.0"], ["gru.{0..2}"]]},
    {"kind": "subset", "of": "gru.*", "min": 10**12, "max": 10**13}, {"kind": "choice", "of": [10**400, -1]},
    {"kind": "int", "low": 1, "high": 4, "when": {"method": "dropin", "seed": [1, 2]}}, {"kind": "subset", "of": "{"},
)  # fmt: skip


def as_space(rng: random.Random, path: Path) -> None:
    """A space with one thing changed that still is YAML, or its text changed."""
    plain = yaml.safe_load(path.read_text())
    match rng.randrange(8):
        case 0 | 1:
            as_text(rng, path)
            return
        case 2:
            plain.setdefault("space", {})[rng.choice(paths())] = rng.choice(DOMAINS)
        case 3:
            del plain[rng.choice(list(plain))]
        case 4:
            plain |= {f"key{n}": n for n in range(rng.choice((1, 2000)))}
        case 5:
            name, value = setting(rng)
            _put(plain, name.split("."), value)
        case _:
            path.unlink()
            path.write_bytes(mutations.document(rng, plain))
            return
    path.unlink()
    path.write_bytes(json.dumps(plain).encode())


def as_manifests(rng: random.Random, path: Path) -> None:
    """One of several documents in a file changed, or a part of its text."""
    documents = list(yaml.safe_load_all(path.read_text()))
    at = rng.randrange(len(documents))
    parts = [yaml.safe_dump(one).encode() for one in documents]
    parts[at] = mutations.document(rng, documents[at])
    path.unlink()
    path.write_bytes(b"\n---\n".join(parts))


def setting(rng: random.Random) -> tuple[str, Any]:
    """The dotted name of a setting of a space, with a value for it that may be none."""
    names = [*(f"base.{name}" for name in paths()), *paths(SweepSpec)]
    value = rng.choice((*mutations.VALUES, *mutations.WORDS, -0.5, 10**15, 10**17, 0.5, 1e-300, 2))
    return rng.choice(names), value


def override(rng: random.Random) -> str:
    """A `path=value` for `--set`."""
    name, value = setting(rng)
    match rng.randrange(8):
        case 0:
            name = "space." + rng.choice(paths())
            value = rng.choice(DOMAINS)
        case 1:
            name += rng.choice((".x", ".0", ".²", ".-1", "..", "." + "9" * 5000, " ", "\n", "."))
        case 2:
            name = f"objectives.{rng.choice(('0', '²', '9' * 400, '-1', 'x', '1_0'))}.metric"
        case 3:
            name = rng.choice(("space", "base", "search", "try_first", "", "version", "name", "space.layers.of"))
        case _:
            pass
    said = value if isinstance(value, str) else json.dumps(value)
    return f"{name}={said}".replace("\0", "").encode("utf-8", "replace").decode()[:60_000]


def as_table(rng: random.Random, path: Path) -> None:
    """A CSV or Parquet table with a column doubled, lost, retyped or nested."""
    parquet = path.suffix == ".parquet"
    table = pq.read_table(path) if parquet else pa_csv.read_csv(path)
    names = list(table.column_names)
    at = rng.randrange(len(names))
    n = len(table)
    columns = [table[name] for name in names]
    match rng.randrange(9):
        case 0:
            names[at] = rng.choice(names)
        case 1:
            del names[at], columns[at]
        case 2:
            columns[at] = pa.array([[str(k)] for k in range(n)])
        case 3:
            columns[at] = pa.array([{"a": k} for k in range(n)])
        case 4:
            columns[at] = pa.array([None] * n, pa.null())
        case 5:
            columns[at] = pa.array([b"\xff\xfe"] * n, pa.binary())
        case 6:
            columns[at] = pa.array([rng.random() for _ in range(n)])
        case 7:
            columns[at] = pa.array([rng.choice(mutations.WORDS) for _ in range(n)])
        case _:
            columns = [column.slice(0, 0) for column in columns]
    path.unlink()
    changed = pa.table(columns, names=names)
    if parquet:
        pq.write_table(changed, path)
        return
    rows = [",".join(names)]
    rows += [",".join(str(cell.as_py()).replace("\n", " ") for cell in row) for row in zip(*columns, strict=True)]
    path.write_bytes("\n".join(rows).encode("utf-8", "replace"))


def _put(plain: Any, parts: list[str], value: Any) -> None:
    for part in parts[:-1]:
        if not isinstance(plain.get(part), dict):
            plain[part] = {}
        plain = plain[part]
    plain[parts[-1]] = value
