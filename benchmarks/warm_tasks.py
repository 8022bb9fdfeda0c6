"""Pairs of tasks for warm_start.py: what an earlier sweep searched, and what the next one does.

Landscapes are those of search.py; to a like task one with other useful layers adds three tenths, an unlike one is that
alone. Tables look real trials up: `recorded` in recorded.parquet, `attacks` and `corpora` in recorded_parts.parquet. Of
these two every seed takes another three of the six attacks, and the other corpus has the other three; in `corpora` it
has other speakers as well. An unlike task has the EERs of all points dealt out anew.
"""

import functools
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import search
from recorded import PARTS, TABLE, part_name

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.sweep import SweepSpec

LIKE = 0.7  # of a like task's EER comes from the task itself
NOISE = 2.0  # of an EER on the landscapes, in points: as much as real sweeps showed between seeds
EARLIER = 500  # added to the seed of the earlier sweep
COST = "backward_gflop"
ATTACKS = ("A01", "A02", "A03", "A04", "A05", "A06")
TABLES = ("recorded", "attacks", "corpora")
Worth = Callable[[TrialConfig], list[float]]
Runs = Mapping[str, Mapping[int, Mapping[str, float]]]  # of a point, with a seed, by metric


@dataclass(frozen=True)
class Task:
    """A space, what its configurations are truly worth, and what one of their runs shows."""

    spec: Callable[[int, int], SweepSpec]
    worth: Worth
    run: Callable[[TrialConfig, int, int, int], list[float]]  # of trial number, seed offset and sweep
    reference: tuple[float, float]


def tasks_of(kind: str, seed: int) -> dict[str, Task]:
    """The task of this seed (`own`), and others that an earlier sweep may have searched."""
    return tables(kind, seed) if kind in TABLES else landscapes(kind, seed)


def landscapes(kind: str, seed: int) -> dict[str, Task]:
    """The task of this seed, one like it, and one that is not."""
    own, other = (_without_noise(search.landscape(kind, at)) for at in (seed, seed + 1000))

    def like(config: TrialConfig) -> list[float]:
        one, two = own(config), other(config)
        return [LIKE * one[0] + (1 - LIKE) * two[0], one[1]]

    def task(worth: Worth) -> Task:
        def run(config: TrialConfig, number: int, offset: int, at: int) -> list[float]:
            # The n-th trial has the same luck in every arm.
            key = [at, 5, number, offset] if offset else [at, 5]
            luck = np.random.default_rng(key).normal(0, NOISE, 1 if offset else number + 1)[-1]
            return [worth(config)[0] + float(luck), *worth(config)[1:]]

        return Task(lambda trials, at: search.spec(trials, at, "auto"), worth, run, (50.0, 1.1))

    return {name: task(worth) for name, worth in (("own", own), ("like", like), ("unlike", other))}


def _without_noise(measure: search.Landscape) -> Worth:
    return lambda config: measure(config, 0.0)


def tables(kind: str, seed: int) -> dict[str, Task]:
    """The recorded table and the same before removal, or two corpora made of parts of its clips."""
    if kind == "recorded":
        own, others = "dev_eer", {"before removal": "dev_eer_grown"}
    else:
        own, other = pair(seed, speakers=kind == "corpora")
        others = {"other attacks, other speakers" if kind == "corpora" else "other attacks": other}
    _, found, _ = recorded()
    names = list(found)
    dealt = dict(zip(names, np.random.default_rng([seed, 43]).permutation(names), strict=True))
    told = {name: looked_up(metric, {}, own, seed) for name, metric in others.items()}
    return {"own": looked_up(own, {}, own, seed), **told, "unlike": looked_up(own, dealt, own, seed)}


def pair(seed: int, *, speakers: bool) -> tuple[str, str]:
    """Two parts with no attack in common, and no speaker either if so asked: each seed has its own."""
    some = list(itertools.combinations(ATTACKS, 3))[seed % 20]
    rest = [one for one in ATTACKS if one not in some]
    halves = ("odd", "even") if (seed + seed // 20) % 2 else ("even", "odd")
    return part_name(some, halves[0] if speakers else ""), part_name(rest, halves[1] if speakers else "")


def looked_up(metric: str, told: Mapping[str, str], own: str, seed: int) -> Task:
    """A task of the recorded space; `told` gives a point the EERs of another one."""
    asked, found, seeds = recorded()
    order = np.random.default_rng([seed, 11]).permutation(seeds)
    worst, most = (max(row[name] for runs in found.values() for row in runs.values()) for name in (own, COST))

    def runs_of(config: TrialConfig) -> dict[int, list[float]]:
        plain = config.model_dump(mode="json")
        key = _key({**plain, "layers": ",".join(config.layers), "neurons": next(iter(config.growth().values()))})
        other = found[told.get(key, key)]
        return {one: [other[one][metric], found[key][one][COST]] for one in seeds}

    def worth(config: TrialConfig) -> list[float]:
        return [float(one) for one in np.mean(list(runs_of(config).values()), axis=0)]

    # A sweep's trials share a seed, as real ones do: the first of its own order of those that were recorded.
    def run(config: TrialConfig, number: int, offset: int, at: int) -> list[float]:  # noqa: ARG001 seeds decide
        return runs_of(config)[int(order[(offset + (at >= EARLIER)) % len(order)])]

    def spec(trials: int, at: int) -> SweepSpec:
        changed = {"trials": trials, "seed": at, "sampler": "auto", "parallel": None}
        return asked.model_copy(update={"search": asked.search.model_copy(update=changed)})

    return Task(spec, worth, run, (worst, 1.1 * most))


@functools.cache
def recorded() -> tuple[SweepSpec, Runs, list[int]]:
    """The space that was recorded, what every point did with each seed, and the seeds that all points have."""
    table = pq.read_table(TABLE)
    plain = json.loads(table.schema.metadata[b"sweep"])
    plain["base"]["model"]["from"] = str(TABLE.with_name(plain["base"]["model"]["from"]))  # lies beside the table
    found: dict[str, dict[int, dict[str, float]]] = {}
    for path in (TABLE, PARTS):
        for row in pq.read_table(path).to_pylist():
            if row["layers"]:
                found.setdefault(_key(row), {}).setdefault(row["seed"], {}).update(row)
    seeds = set.intersection(*(set(runs) for runs in found.values()))
    return SweepSpec.model_validate(plain), found, sorted(seeds)


def _key(row: Mapping[str, object]) -> str:
    """What makes a point, apart from its seed."""
    return ";".join(str(row[name]) for name in ("layers", "neurons", "criterion", "regime"))
