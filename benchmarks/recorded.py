"""The recorded table: real trials of a small space, each point with every seed, to look up instead of running them.

    table = load()
    table.metrics(config, seed=3)["dev_eer"]    # what one run showed
    table.truth(config)                         # both objectives, means over all seeds
    table.true_front                            # the same of the configurations that no other beats

`config` is a TrialConfig of the space (`space_spec`), or the baseline's. No trial is run here. See docs/recorded.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from plastsearch.pareto.front import front, hypervolume
from plastsearch.search.space import open_space
from plastsearch.spec.coherence import set_at
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.domains import Point
from plastsearch.spec.sweep import SweepSpec

HERE = Path(__file__).resolve().parent
TABLE = HERE / "recorded.parquet"
PARTS = HERE / "recorded_parts.parquet"  # the same trials' EERs over parts of the clips: record_parts.py
START = HERE / "recorded_start"  # the pretrained encoder that every trial began from
NEURONS = (16, 96)
CRITERIA = ("taylor", "magnitude")
REGIMES = ("frozen", "unfrozen")
KEY = ("layers", "neurons", "criterion", "regime", "seed")
METRICS = (
    "dev_eer", "dev_eer_grown", "dev_eer_pruned", "dev_eer_baseline", "dev_eer_tie_safe", "dev_cllr", "dev_min_dcf",
    "dev_act_dcf", "dev_auc", "dev_eer_smooth", "train_loss", "turnover", "backward_gflop", "backward_ratio",
    "params_total", "params_trainable", "params_final", "params_added", "peak_memory_mb",
)  # fmt: skip
PERCENT = "dev_eer_at_{}"  # percent of the steps after growth
CURVE = tuple(PERCENT.format(at) for at in (25, 50, 75, 100))
OBJECTIVES = ("dev_eer", "backward_gflop")
GOALS: tuple[Literal["min"], Literal["min"]] = ("min", "min")
# Of the subsets: `window` is single sites and neighbours. `onoff` would be every pair: 624 points, not recorded yet.
ENCODING: Literal["window", "onoff"] = "window"
Key = tuple[str, int, str, str]  # layers, neurons, criterion, regime: which configuration, whatever its seed
BASELINE: Key = ("", 0, "", "")
Row = dict[str, Any]  # one trial: the columns of KEY, METRICS and CURVE, and its seconds
BASE: dict[str, Any] = {
    "method": "plasticity",
    "data": {"corpus": "synthetic", "clips": 750, "length_samples": 3200},
    # The start knows one attack of six, and `train` is short: growth has much to do. The head stays as `train` left it,
    # for it alone would learn more in so few steps than the grown neurons, and all sites would come out alike.
    "train": {
        "steps": 30, "batch_size": 16, "lr": 6e-3, "train_head": False,
        "shares": {"train": 0.2, "retrain": 0.4, "consolidate": 0.4},
        "lr_ratios": {"train": 0.08, "retrain": 1.0, "consolidate": 0.5},
    },
    "keep": 0.5, "calibration_clips": 32, "timing_batch": 4, "timing_steps": 3,
}  # fmt: skip


def space_spec(trials: int = 100, seed: int = 0, sampler: str = "auto", anchors: bool = True) -> SweepSpec:
    """The space that was recorded, as a search of it."""
    return SweepSpec.model_validate(
        {
            "name": "recorded",
            "base": {**BASE, "model": {"name": "wav2vec2", "from": str(START)}},
            "space": {
                "layers": {"kind": "subset", "of": "encoder.*.ffn", "min": 1, "max": 2},
                "neurons": {"kind": "choice", "of": list(NEURONS)},
                "criterion": {"kind": "choice", "of": list(CRITERIA)},
                "regime": {"kind": "choice", "of": list(REGIMES)},
            },
            "objectives": [{"metric": "dev_eer"}, {"metric": "backward_gflop"}],
            "controls": ["baseline"],
            "finalists": {"top": 0},
            "search": {"trials": trials, "seed": seed, "sampler": sampler, "anchors": anchors, "encoding": ENCODING},
        }
    )


def config_of(point: Point | None, seed: int) -> TrialConfig:
    """The trial of a point with a seed; None: the equal-budget baseline."""
    base = space_spec().base.model_copy(update={"seed": seed})
    return base.model_copy(update={"method": "baseline"}) if point is None else set_at(base, point)


def key_of(config: TrialConfig) -> Key:
    """Which configuration a trial is of."""
    growth = config.growth()
    if not growth:
        return BASELINE
    return (",".join(growth), next(iter(growth.values())), config.criterion, config.regime)


@dataclass(frozen=True)
class Recorded:
    """Every configuration of the space with every seed that is complete."""

    rows: Mapping[tuple[Key, int], Row]
    keys: tuple[Key, ...]  # without the baseline
    seeds: tuple[int, ...]

    def metrics(self, config: TrialConfig | Key, seed: int) -> dict[str, float]:
        """What the trial with that seed found; absent metrics are absent."""
        row = self.rows[_key(config), seed]
        return {name: float(row[name]) for name in METRICS if row[name] is not None}

    def value(self, config: TrialConfig | Key, seed: int) -> list[float]:
        """Its objectives."""
        return [float(self.rows[_key(config), seed][name]) for name in OBJECTIVES]

    def truth(self, config: TrialConfig | Key) -> list[float]:
        """The objectives' means over all seeds."""
        return [float(mean) for mean in np.mean([self.value(config, seed) for seed in self.seeds], axis=0)]

    def curve(self, config: TrialConfig | Key, seed: int) -> list[float]:
        """Dev EERs at a quarter, a half, three quarters and all of the steps after growth."""
        return [float(self.rows[_key(config), seed][name]) for name in CURVE]

    def triples(self, metric: str) -> Iterator[tuple[int, int, float]]:
        """Configuration (its place in `keys`), seed and value, for all of the table but the baseline."""
        for at, key in enumerate(self.keys):
            for seed in self.seeds:
                yield at, seed, float(self.rows[key, seed][metric])

    @cached_property
    def truths(self) -> NDArray[np.float64]:
        """One row for each of `keys`."""
        return np.array([self.truth(key) for key in self.keys])

    @cached_property
    def front_keys(self) -> tuple[Key, ...]:
        """The configurations that no other beats, by their means."""
        return tuple(self.keys[at] for at in np.flatnonzero(front(self.truths, GOALS)))

    @cached_property
    def true_front(self) -> NDArray[np.float64]:
        """What they are worth."""
        return self.truths[front(self.truths, GOALS)]

    @cached_property
    def reference(self) -> tuple[float, float]:
        """The worst EER of any recorded run, and a tenth beyond the most expensive one."""
        values = np.array([self.value(key, seed) for key in self.keys for seed in self.seeds])
        return float(values[:, 0].max()), float(1.1 * values[:, 1].max())

    def share(self, values: Sequence[Sequence[float]] | NDArray[np.float64]) -> float:
        """The hypervolume of some points, as a share of the true front's."""
        if not len(values):
            return 0.0
        return hypervolume(values, GOALS, self.reference) / hypervolume(self.true_front, GOALS, self.reference)


def _key(config: TrialConfig | Key) -> Key:
    return key_of(config) if isinstance(config, TrialConfig) else config


def part_name(attacks: Sequence[str], speakers: str = "") -> str:
    """The column of `recorded_parts.parquet` with the EERs of these attacks and speakers."""
    return "_".join(["dev_eer", *sorted(attacks), *([speakers] if speakers else [])])


def all_keys() -> tuple[Key, ...]:
    """Every configuration of the space, the baseline apart."""
    space = open_space(space_spec())
    return tuple(key_of(config_of(point, 0)) for point in space.points())


def load(path: Path = TABLE) -> Recorded:
    """The table, or what is complete of it: a seed counts once every configuration and the baseline has it."""
    rows = {(tuple(row[name] for name in KEY[:-1]), row["seed"]): row for row in pq.read_table(path).to_pylist()}
    keys = all_keys()
    seeds = sorted({seed for _, seed in rows})
    whole = tuple(seed for seed in seeds if all((key, seed) in rows for key in (BASELINE, *keys)))
    return Recorded(rows, keys, whole)
