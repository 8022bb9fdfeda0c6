"""TrialConfig: all that can change a result. Its sections: model.py, data.py, training.py; what cannot: running.py."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field

from plastsearch.spec.closed import Closed
from plastsearch.spec.data import DataConfig
from plastsearch.spec.limits import (
    MOST_AMOUNT,
    MOST_AT_ONCE,
    MOST_CLIPS,
    MOST_LAYERS,
    MOST_REPEATS,
    MOST_SEED,
    MOST_TAPS,
    MOST_WIDTH,
)
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.patterns import SITE_PATTERN
from plastsearch.spec.training import TrainConfig
from plastsearch.spec.vocabulary import Criterion, Method

# Settings that came after the first journals: at their defaults no part of an id, so that older ids still hold.
LATER = (
    "lora_share", "adaptive_steps", "adaptive_score", "train.encoder_lr_ratio", "train.layer_decay",
    "train.average_best", "train.checkpoint_layers", "train.grow_at", "train.train_stem", "data.score", "data.speech_s",
    "data.bona_fide_share", "kernel", "newborn_lr_ratio", "newborn_state", "newborn_gate",
)  # fmt: skip
WIDER_ALWAYS = ("stack", "adaptive")  # methods that add neurons, whatever `operator` says
Neurons = Annotated[int, Field(ge=-MOST_WIDTH, le=MOST_WIDTH)]
SiteName = Annotated[str, Field(json_schema_extra={"pattern": SITE_PATTERN})]  # what a network has, preflight asks it


def _with_a_middle(taps: int) -> int:
    if taps % 2 == 0:
        raise ValueError(f"a kernel of {taps} taps has no middle; give an odd number")
    return taps


Kernel = Annotated[
    int, Field(ge=3, le=MOST_TAPS, json_schema_extra={"not": {"multipleOf": 2}}), AfterValidator(_with_a_middle)
]


class TrialConfig(Closed):
    """One configuration; its content hash is the trial's id."""

    model: ModelConfig = ModelConfig()
    """Which network."""
    data: DataConfig = DataConfig()
    """Which clips, and how they are cut, changed and weighed."""
    train: TrainConfig = TrainConfig()
    """How long and how every method trains."""
    method: Method = "dropin"
    """What is done to the network: docs/arms.md says what each does."""
    layers: tuple[SiteName, ...] = Field((), max_length=MOST_LAYERS, examples=[["encoder.3.ffn"], ["gru.0", "gru.1"]])
    """The sites that grow; `plastsearch sites MODEL` lists them."""
    neurons: Neurons | dict[str, Neurons] = Field(0, examples=[32, {"gru.0": 16, "gru.1": 8}])
    """How many neurons come in: one number for each of `layers`, or a number by site."""
    operator: Literal["widen", "parallel", "stack", "ring"] = "widen"
    """How a site grows: wider, by a branch beside it, by a layer on top, or by a ring of zeros around its kernels."""
    kernel: Kernel = Field(5, examples=[5, 7])
    """ring: taps of the grown kernels, an odd number, more than they have; `neurons` is not read then."""
    init: Literal["random", "orthogonal", "pairs", "copies", "net2net", "gradmax"] = "random"
    """Where the weights of new neurons start."""
    regime: Literal["frozen", "unfrozen"] = "frozen"
    """What learns in retrain: new neurons alone, or the whole network."""
    newborn_lr_ratio: float = Field(1.0, gt=0, le=MOST_AMOUNT)
    """retrain: learning rate of new neurons over that of what was there, at the same place."""
    newborn_state: Literal["fresh", "inherited"] = "fresh"
    """retrain: AdamW's moments of new neurons begin at zero, or as the mean of their layer's other neurons."""
    newborn_gate: Literal["open", "learned"] = "open"
    """retrain; learned: a new neuron passes a gate that begins shut, learns, and ends within its outgoing weights."""
    start: Literal["warm", "cold"] = "warm"
    """warm: growth follows training; cold: the network grows from its first weights."""
    lateral: Literal["into_new", "both"] = "into_new"
    """Recurrent sites: whether old units hear new ones, too."""
    criterion: Criterion = "taylor"
    """By what score neurons are pruned, the lowest first."""
    pool: Literal["added", "all"] = "all"
    """Which neurons may be pruned."""
    keep: float = Field(0.0, ge=0, le=1)
    """Share of the added count that stays after prune; 0: the network's first size."""
    compensate: Literal["none", "mean"] = "none"
    """What stands in for pruned neurons: nothing, or their mean output as a bias."""
    calibration_clips: int = Field(256, ge=8, le=MOST_CLIPS)
    """Training clips by which neurons are scored."""
    rank: int | None = Field(None, ge=1, le=MOST_WIDTH)
    """lora: of its matrices; null: as many trainable parameters as the same dropin has."""
    lora_on: Literal["sites", "all"] = "sites"
    """lora: beside the chosen sites, or everywhere."""
    lora_share: float = Field(0.5, ge=0, le=1)
    """lora_growth: share of the frozen dropin's parameters that adapters get."""
    last_k: int | None = Field(None, ge=1, le=MOST_LAYERS)
    """last_k: how many of the last layers learn."""
    truncate_to: int | None = Field(None, ge=1, le=MOST_LAYERS)
    """truncate: how many layers are left."""
    adaptive_steps: int = Field(3, ge=1, le=MOST_REPEATS)
    """adaptive: insertions, at equal distances in the first half of retrain."""
    adaptive_score: Literal["gradient", "natural"] = "gradient"
    """adaptive: sites are compared by gradients; natural: by how far clips agree on them."""
    timing_batch: int = Field(4, ge=1, le=MOST_AT_ONCE)
    """Clips of a step whose cost is timed."""
    timing_steps: int = Field(20, ge=3, le=MOST_AT_ONCE)
    """Steps that are timed."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Of weights, order, crops and masks."""

    @classmethod
    def recorded(cls, plain: Mapping[str, Any]) -> Self:
        """A configuration out of a journal, where all settings are written out: one that lacks is from before it was.

        What such a one meant then it means now, whatever the default has become.
        """
        model = plain.get("model")
        if isinstance(model, dict) and "normalise" not in model and model.get("name") in ("resnet18", "grnn"):
            was = {"normalise": "clip"} | ({"stem": "quarter"} if model["name"] == "resnet18" else {})
            plain = {**plain, "model": {**model, **was}}
        return cls.model_validate(plain)

    def rings(self) -> bool:
        """Whether kernels grow, and no neurons come in."""
        return self.method not in WIDER_ALWAYS and self.operator == "ring"

    def growth(self) -> dict[str, int]:
        """Site name → neurons to add, or taps that its kernels grow to; sites in the order of `layers`."""
        if self.rings():
            return dict.fromkeys(self.layers, self.kernel)
        if isinstance(self.neurons, dict):
            return {site: n for site, n in self.neurons.items() if n}
        return dict.fromkeys(self.layers, self.neurons) if self.neurons else {}

    def trial_id(self) -> str:
        """Twelve hex digits over the content, blind to key order and to spelt-out defaults."""
        plain = self.model_dump(mode="json", by_alias=True) | {"model": self.model.identity()}
        for path in LATER:
            section, _, name = path.rpartition(".")
            values = plain[section] if section else plain
            if values[name] == usual(path):
                del values[name]
        return content_id(plain)


def usual(path: str) -> object:
    """The default of a trial's setting, by its dotted path."""
    section, _, name = path.rpartition(".")
    default: object = (type(getattr(TrialConfig(), section)) if section else TrialConfig).model_fields[name].default
    return default


def content_id(content: object, length: int = 12) -> str:
    """A short hash of plain data, the same for any key order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]
