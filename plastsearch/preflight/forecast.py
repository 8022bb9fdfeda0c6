"""What a dry run asks of its child (forecast_child.py, which has torch), and whether kept activations will fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from plastsearch.data.choice import clip_counts
from plastsearch.spec.config import TrialConfig
from plastsearch.words import sized

_PLAIN = ConfigDict(frozen=True, ser_json_inf_nan="constants")  # a budget may be infinite: `--cache-max-gb inf`


NO_ROOM = (
    "a training step of this space does not fit in the memory here; lower train.batch_size, data.length_samples or "
    "neurons, or choose a smaller preset"
)


class ForecastRequest(BaseModel):
    """What to count; with `time` one network is run, with `cache` the room for kept activations is looked at."""

    model_config = _PLAIN

    configs: tuple[TrialConfig, ...]
    time: bool = False
    cache: Path | None = None
    cache_max_gb: float | None = None


class Parameters(BaseModel):
    """How many one configuration has, before growth and at its largest."""

    model_config = ConfigDict(frozen=True)

    params_baseline: int
    params_total: int


class Activations(BaseModel):
    """What keeping them would take: bytes of a clip in float32 at every cut that is used, and what is allowed."""

    model_config = _PLAIN

    bytes: dict[str, int]
    half: bool  # they are kept in float16
    budget: float  # bytes


class Demand(BaseModel):
    """What a full training step of a network asks for, from its shapes."""

    model_config = ConfigDict(frozen=True)

    parameters: int
    clip_bytes: int  # that autograd keeps of one clip, in float32
    clip_gflop: float  # forward and backward


class ForecastAnswer(BaseModel):
    """What the child found; `error` is a mistake of the user's, and the only thing said then."""

    model_config = ConfigDict(frozen=True)

    counts: tuple[Parameters | None, ...] = ()  # None: cannot be told from shapes
    step_s: float | None = None
    device: str = "cpu"
    kept: Activations | None = None
    demand: Demand | None = None  # of the first network, where that is one for GPUs
    error: str | None = None


@dataclass(frozen=True)
class CachedPrefix:
    """What keeping takes at each cut that is used, and what may be taken on this machine."""

    clips: tuple[int, int]  # training and search-dev
    crops: int
    half: bool  # in float16
    gb: Mapping[str, float]  # cut → training clips at all crops and search-dev clips; less where clips are short
    budget_gb: float
    fit: int  # so many of the cuts fit at once
    none: str = ""  # why nothing is kept

    def text(self) -> str:
        """One line for the terminal."""
        if not self.gb:
            return f"kept activations: none, for {self.none}"
        sizes = sorted(self.gb.values())
        each = sized(1e9 * sizes[0]) + (f" to {sized(1e9 * sizes[-1])}" if sizes[-1] > 1.005 * sizes[0] else "")
        kind = f"{'float16' if self.half else 'float32'}, {self.crops} crop{'s' * (self.crops > 1)}"
        what = f"kept activations ({kind}): {each} a cut, {len(sizes)} cuts"
        allowed = f"{sized(1e9 * self.budget_gb)} here (--cache-max-gb)"
        if self.fit == len(sizes):
            return f"{what}; all fit in {allowed}"
        if self.fit == 0:
            return f"{what}; none fits in {allowed}: frozen parts will be computed in every step"
        return f"{what}; {self.fit} fit in {allowed} at once, those first that save most seconds per GB"


def kept(config: TrialConfig, answer: Activations) -> CachedPrefix:
    """From what the child that counts has found of bytes, types and disk."""
    clips = clip_counts(config.data)
    changing = _changing(config)
    crops = 1 if changing or config.data.crops == "fresh" else config.data.crops
    # Activations are kept per waveform: where every epoch makes new ones, none is ever asked for twice.
    found = {} if changing else answer.bytes
    # Training clips at every crop, search-dev clips at their one place.
    items = crops * clips[0] + clips[1]
    gb = {cut: items * size * (0.5 if answer.half else 1.0) / 1e9 for cut, size in found.items()}
    budget_gb = answer.budget / 1e9
    # The smallest first: how many fit at most. Which ones stay in the end is decided by seconds saved per byte.
    taken_gb = 0.0
    fit = 0
    for size in sorted(gb.values()):
        taken_gb += size
        fit += taken_gb <= budget_gb
    none = ""
    if not gb:
        none = f"{changing} makes new waveforms in every epoch" if changing else "no part of a network is frozen"
    return CachedPrefix(clips, crops, answer.half, gb, budget_gb, fit, none)


def _changing(config: TrialConfig) -> str:
    """The setting that makes every epoch's waveforms new ones; empty if they stay the same."""
    if config.data.augment:
        return "data.augment"
    return "data.crops: fresh" if config.data.crops == "fresh" else ""
