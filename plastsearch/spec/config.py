"""TrialConfig: all that can change a result. RunSettings: all that cannot. Neither imports torch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from plastsearch.spec.limits import (
    MOST_AMOUNT,
    MOST_AT_ONCE,
    MOST_CLIPS,
    MOST_COUNT,
    MOST_LAYERS,
    MOST_RATE_HZ,
    MOST_REPEATS,
    MOST_SAMPLES,
    MOST_SEED,
    MOST_WIDTH,
)
from plastsearch.spec.open_choices import normalise_of, stem_of, unlike_before
from plastsearch.spec.vocabulary import Corpus, Criterion, Method, Model, Preset

# Settings that came after the first journals: at their defaults no part of an id, so that older ids still hold.
LATER = ("lora_share", "adaptive_steps", "adaptive_score")
LATER_OF_DATA = ("score",)
OF_SPECTRA = ("normalise", "deltas", "stem", "masks")  # of a model; in an id where they are not as they were before
SPIKING = ("time_steps", "leak", "threshold", "reset", "surrogate")  # settings of a model that `lif` alone reads
CROPS = 4  # measured: see benchmarks/RESULTS.md
Neurons = Annotated[int, Field(ge=-MOST_WIDTH, le=MOST_WIDTH)]


class Closed(BaseModel):
    """A typed, frozen section that refuses unknown keys."""

    # As text an infinity (`--checkpoint-s inf`: never) stays one; by default it would become null.
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, ser_json_inf_nan="constants")


class ModelConfig(Closed):
    """Which network; `from` takes its weights from a local folder or a hub name."""

    name: Model = "wav2vec2"
    preset: Preset = "tiny"
    from_: str | None = Field(None, alias="from")
    front_end: Literal["waveform", "log_mel", "linear", "lfcc", "mfcc"] | None = None  # None: the network's own
    normalise: Literal["none", "corpus", "clip"] | None = None  # its features against nothing, training clips, the clip
    deltas: int | None = Field(None, ge=0, le=2)  # slopes of its features, slopes of these; None: 0, or the folder's
    stem: Literal["quarter", "half", "whole"] | None = None  # resnet18: of the picture that is left for its blocks
    masks: int = Field(0, ge=0, le=8)  # SpecAugment: bands of rows, and of frames, that training hides
    pooling: Literal["mean", "attention", "mean_std"] = "mean"
    bidirectional: bool = False  # grnn only
    dropout: float = Field(0.0, ge=0, lt=1)
    activation: Literal["own", "lif"] = "own"  # lif: spiking neurons (docs/spiking.md); resnet18 and grnn
    time_steps: int = Field(4, ge=1, le=64)  # lif: how often each clip's currents are applied
    leak: float = Field(0.5, gt=0, le=1)  # lif: share of a membrane that a step leaves; 1: none is lost
    threshold: float = Field(0.5, gt=0, le=MOST_AMOUNT)  # lif: of a membrane, to fire
    reset: Literal["soft", "hard"] = "soft"  # lif: a spike takes the threshold off its membrane, or all of it
    surrogate: Literal["arctan", "fast_sigmoid"] = "arctan"  # lif: in the place of a spike's derivative

    def identity(self) -> dict[str, object]:
        """Plain data for hashes: what only spiking networks read is left out of others, whose ids are older than it.

        What came later is in it by what it comes to, and only where that differs from what always was; with `from` a
        choice left open is the folder's.
        """
        unread = {"activation", *SPIKING} if self.activation == "own" else set()
        plain = self.model_dump(mode="json", by_alias=True, exclude={*unread, *OF_SPECTRA})
        settings: dict[str, object] = {"deltas": self.deltas, "masks": self.masks}
        if self.from_ is None:
            settings["normalise"] = normalise_of(self.name, self.normalise)
            settings["stem"] = stem_of(self.name, self.preset, self.activation, self.stem)
        else:
            settings |= {"normalise": self.normalise, "stem": self.stem}
        return plain | unlike_before(settings)


class SearchDev(Closed):
    """What the search may score on: never the evaluation split."""

    policy: Literal["held_out_attacks", "dev", "second_corpus"] = "dev"
    attacks: tuple[str, ...] = ()  # held_out_attacks: kept out of training, searched on
    corpus: Corpus | None = None  # second_corpus
    root: str | None = None
    variant: str | None = None
    manifest: str | None = None


class DataConfig(Closed):
    """Which clips, and how they are cut, changed and weighed."""

    corpus: Corpus = "synthetic"
    root: str | None = None
    variant: str | None = None  # fake_or_real: for-norm, …; synthetic: layout la | pa | for | itw
    manifest: str | None = None  # corpus manifest: a CSV or Parquet table
    seed: int = Field(0, ge=0, le=MOST_SEED)  # synthetic
    clips: int | None = Field(None, ge=8, le=MOST_CLIPS)  # synthetic: training clips; elsewhere a stratified cap
    difficulty: float = Field(0.5, ge=0, le=1)  # synthetic
    search_dev: SearchDev = SearchDev()
    rate_hz: int = Field(16_000, ge=1, le=MOST_RATE_HZ)
    length_samples: int = Field(64_600, ge=400, le=MOST_SAMPLES)
    # In every arm alike: N fixed places of each training clip in turn, the head among them, or a fresh one per epoch.
    crops: Annotated[int, Field(ge=1, le=MOST_REPEATS)] | Literal["fresh"] = CROPS
    storage: Literal["int16", "float32"] = "int16"  # of decoded clips; int16 is exact for 16-bit mono files
    on_bad: Literal["refuse", "skip"] = "refuse"
    balance: Literal["weights", "sampler", "none"] = "weights"
    augment: tuple[str, ...] = ()  # names of augment/changes.py, in order, e.g. rawboost5, spec_masks
    score: Literal["head", "windows"] = "head"  # a long clip by its head, or by the mean of windows as in `score`

    def identity(self) -> dict[str, object]:
        """Plain data for hashes: settings that came later are left out at their defaults."""
        plain = self.model_dump(mode="json", by_alias=True)
        later = {name: DataConfig.model_fields[name].default for name in LATER_OF_DATA}
        return {name: value for name, value in plain.items() if name not in later or value != later[name]}

    @field_validator("crops", mode="before")
    @classmethod
    def _once_null(cls, value: object) -> object:
        """Journals of sweeps from before the one policy for all arms say null, and must still be read."""
        return CROPS if value is None else value


class StageValues(Closed):
    """One number for each stage that trains."""

    train: float = Field(ge=0, le=MOST_AMOUNT)
    retrain: float = Field(ge=0, le=MOST_AMOUNT)
    consolidate: float = Field(ge=0, le=MOST_AMOUNT)


class TrainConfig(Closed):
    """How long and how every method trains; the total of optimiser steps is the same for all methods."""

    steps: int | None = Field(None, ge=3, le=MOST_COUNT)  # total over all stages; or
    epochs: float | None = Field(None, gt=0, le=MOST_COUNT)  # the same in passes over the training clips
    shares: StageValues = StageValues(train=0.5, retrain=0.25, consolidate=0.25)
    batch_size: int = Field(16, ge=1, le=MOST_AT_ONCE)  # effective
    accumulate: int = Field(1, ge=1, le=MOST_AT_ONCE)
    lr: float = Field(1e-3, gt=0, le=MOST_AMOUNT)
    lr_ratios: StageValues = StageValues(train=1.0, retrain=0.5, consolidate=0.1)
    weight_decay: float = Field(0.01, ge=0, le=MOST_AMOUNT)
    warmup: float = Field(0.1, ge=0, lt=1)  # share of a stage's steps
    clip_norm: float = Field(1.0, gt=0, le=MOST_AMOUNT)
    loss: Literal["cross_entropy", "oc_softmax", "am_softmax"] = "cross_entropy"
    precision: Literal["auto", "float32", "bf16"] = "auto"
    compile: bool = False  # training steps on GPUs, block by block; costs are timed without it
    evaluations: int = Field(2, ge=1, le=MOST_REPEATS)  # dev evaluations per stage; the best state is kept
    early_stop: int = Field(0, ge=0, le=MOST_COUNT)  # evaluations without gain; 0: never (else marked 'unequal budget')
    train_head: bool = True  # in every arm alike

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give steps or epochs, not both")
        return self

    def unworkable(self) -> tuple[str, str] | None:
        """The setting, and why nothing can be trained so; not refused when read, for a search may set either half."""
        if self.accumulate > self.batch_size:
            reason = f"{self.accumulate} parts of a batch of {self.batch_size} clips; at most one for each clip"
            return "accumulate", f"{reason}: lower it, or raise batch_size"
        if not (self.shares.train or self.shares.retrain or self.shares.consolidate):
            return "shares", "all are 0, so nothing would train; give a stage a share"
        return None


class TrialConfig(Closed):
    """One configuration; its content hash is the trial's id."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    method: Method = "dropin"
    layers: tuple[str, ...] = Field((), max_length=MOST_LAYERS)  # site names
    neurons: Neurons | dict[str, Neurons] = 0  # per site, or one number for each of `layers`
    operator: Literal["widen", "parallel", "stack"] = "widen"
    init: Literal["random", "orthogonal", "pairs", "copies", "net2net", "gradmax"] = "random"
    regime: Literal["frozen", "unfrozen"] = "frozen"
    start: Literal["warm", "cold"] = "warm"
    lateral: Literal["into_new", "both"] = "into_new"  # recurrent sites
    criterion: Criterion = "taylor"
    pool: Literal["added", "all"] = "all"
    keep: float = Field(0.0, ge=0, le=1)  # share of the added count that stays after prune; 0: original size
    compensate: Literal["none", "mean"] = "none"
    calibration_clips: int = Field(256, ge=8, le=MOST_CLIPS)
    rank: int | None = Field(None, ge=1, le=MOST_WIDTH)  # lora: None matches the trainable count of the same dropin
    lora_on: Literal["sites", "all"] = "sites"
    lora_share: float = Field(0.5, ge=0, le=1)  # lora_growth: share of the frozen dropin's parameters that adapters get
    last_k: int | None = Field(None, ge=1, le=MOST_LAYERS)
    truncate_to: int | None = Field(None, ge=1, le=MOST_LAYERS)
    adaptive_steps: int = Field(
        3, ge=1, le=MOST_REPEATS
    )  # adaptive: insertions, at equal distances in the first half of retrain
    adaptive_score: Literal["gradient", "natural"] = "gradient"  # natural: by how far clips agree
    timing_batch: int = Field(4, ge=1, le=MOST_AT_ONCE)
    timing_steps: int = Field(20, ge=3, le=MOST_AT_ONCE)
    seed: int = Field(0, ge=0, le=MOST_SEED)

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

    def growth(self) -> dict[str, int]:
        """Site name → neurons to add, sites in the order of `layers`."""
        if isinstance(self.neurons, dict):
            return {site: n for site, n in self.neurons.items() if n}
        return dict.fromkeys(self.layers, self.neurons) if self.neurons else {}

    def trial_id(self) -> str:
        """Twelve hex digits over the content, blind to key order and to spelt-out defaults."""
        plain = self.model_dump(mode="json", by_alias=True)
        plain |= {"model": self.model.identity(), "data": self.data.identity()}
        for name in LATER:
            if plain[name] == type(self).model_fields[name].default:
                del plain[name]
        return content_id(plain)


class RunSettings(Closed):
    """Where and how a trial runs; nothing here may change its result (timings apart)."""

    device: str = "auto"  # auto | cpu | cuda | cuda:1
    threads: int = Field(1, ge=1, le=MOST_AT_ONCE)
    gpu_share: float = Field(1.0, gt=0)  # GPUs that the trial is charged with, if it runs on one
    loader_workers: int | None = Field(None, ge=0)  # threads that prepare batches; None: by device and `threads`
    deterministic: bool = False  # equal runs on one GPU agree to the last bit; slower
    store: Path  # finished stages by content, shared by all trials of a site
    cache: Path  # prefix activations, and decoded clips where `clips` names no other place
    clips: Path | None = None  # decoded clips, on a file system that nodes share
    share_stages: bool = True
    cache_prefix: bool = True
    cache_max_gb: float | None = Field(None, gt=0)  # of kept activations; None: half of the disk that is free for them
    cache_half: bool | None = None  # keep activations in float16; None: where they are computed in bf16
    store_max_gb: float | None = Field(None, gt=0)  # None: the store grows without end
    checkpoint_s: float = Field(60.0, ge=0)  # least time between checkpoints inside a stage; more where writing is slow
    defer_busy: bool = False  # raise StageBusyError instead of waiting for another trial's stage
    exclusive_timing: bool = True  # take turns on this node while timing
    data_progress: bool = False
    waits: Path | None = None  # where the attempt writes how long it waited for others; its time limit leaves that out
    output: Path | None = None  # where a worker process of the attempt's own leaves what it prints, if that fails
    check_evaluation: bool = False  # before training: can the clips that finalists are scored on be decoded?

    @property
    def clips_folder(self) -> Path:
        """Where decoded clips are."""
        return self.clips or self.cache


def content_id(content: object, length: int = 12) -> str:
    """A short hash of plain data, the same for any key order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@dataclass(frozen=True)
class Report:
    """One dev evaluation, stage boundary or result; `step` counts optimiser steps over all stages."""

    stage: str  # train | dropin | retrain | prune | consolidate | timing | result
    step: int
    steps_total: int
    metrics: dict[str, float] = field(default_factory=dict)
    final: bool = False  # the last report holds every metric of the trial
    details: dict[str, Any] = field(default_factory=dict)  # reused stages, warnings, per-attack EERs, device
