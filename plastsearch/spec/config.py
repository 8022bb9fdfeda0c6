"""TrialConfig: all that can change a result. RunSettings: all that cannot. Neither imports torch.

The string below a setting describes it wherever it is described: in schema.py, hence in editors, and in the reference.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

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
    MOST_TAPS,
    MOST_WIDTH,
)
from plastsearch.spec.open_choices import normalise_of, stem_of, unlike_before
from plastsearch.spec.patterns import SITE_PATTERN
from plastsearch.spec.starts import STARTS
from plastsearch.spec.vocabulary import Corpus, Criterion, Head, Method, Model, Preset

# Settings that came after the first journals: at their defaults no part of an id, so that older ids still hold.
LATER = (
    "lora_share", "adaptive_steps", "adaptive_score", "train.encoder_lr_ratio", "train.layer_decay",
    "train.average_best", "train.checkpoint_layers", "train.grow_at", "train.train_stem", "data.score", "data.speech_s",
    "kernel", "newborn_lr_ratio", "newborn_state", "newborn_gate",
)  # fmt: skip
LATER_OF_DATA = {"score": "head", "speech_s": None}  # the same in the part that names a corpus
EVERY_LAYER = ("mhfa", "sls")  # heads that read every layer whatever `layers_in` says
# Of a model; in an id where they are not as they were before.
OF_SPECTRA = ("normalise", "bins", "deltas", "stem", "masks")
SPIKING = ("time_steps", "leak", "threshold", "reset", "surrogate")  # settings of a model that `lif` alone reads
CROPS = 4  # measured: see benchmarks/RESULTS.md
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


class Closed(BaseModel):
    """A typed, frozen section that refuses unknown keys."""

    # As text an infinity (`--checkpoint-s inf`: never) stays one; by default it would become null.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, ser_json_inf_nan="constants", use_attribute_docstrings=True
    )


class ModelConfig(Closed):
    """Which network; `from` takes its weights from a local folder or a hub name."""

    name: Model = "wav2vec2"
    """The network; wav2vec2 also stands for HuBERT, WavLM and W2V-BERT, whose weights `from` names."""
    preset: Preset = "tiny"
    """How large it is where `from` names no weights."""
    from_: str | None = Field(None, alias="from", examples=["facebook/wav2vec2-base", "weights/xlsr", "tiny-speech"])
    """A folder with weights, a hub name, or tiny-speech, which comes along; null: random weights."""
    front_end: Literal["waveform", "log_mel", "linear", "lfcc", "mfcc"] | None = None
    """What the network reads; null: its own (wav2vec2: waveform; resnet18, cnn: log_mel; grnn, lcnn: lfcc)."""
    normalise: Literal["none", "corpus", "clip"] | None = None
    """What a front end's features are set against: nothing, statistics of the training clips, or the clip's own."""
    bins: int | None = Field(None, ge=4, le=128)
    """Rows of a front end, without slopes; null: 64 bands or 40 coefficients, or what the folder says."""
    deltas: int | None = Field(None, ge=0, le=2)
    """Slopes of these features, and slopes of the slopes; null: 0, or what the folder says."""
    stem: Literal["quarter", "half", "whole"] | None = None
    """resnet18: how much of the picture is left for its blocks; null: half for tiny and small, a quarter for others."""
    masks: int = Field(0, ge=0, le=8)
    """SpecAugment: so many bands of rows, and of frames, that training hides; for networks with a front end."""
    head: Head = "linear"
    """What judges the frames; all but linear are for speech encoders."""
    layers_in: Literal["last", "weighted_sum"] = "last"
    """Which layers of an encoder the head reads; mhfa and sls read all of them anyhow."""
    pooling: Literal["mean", "attention", "mean_std"] = "mean"
    """How the linear head makes frames one vector; other heads have a way of their own."""
    bidirectional: bool = False
    """grnn only: layers of two directions."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of activations that training leaves out."""
    activation: Literal["own", "lif"] = "own"
    """lif: spiking neurons (docs/spiking.md), in resnet18 and grnn."""
    time_steps: int = Field(4, ge=1, le=64)
    """lif: how often each clip's currents are applied."""
    leak: float = Field(0.5, gt=0, le=1)
    """lif: share of a membrane that a step leaves; 1: none is lost."""
    threshold: float = Field(0.5, gt=0, le=MOST_AMOUNT)
    """lif: of a membrane, to fire."""
    reset: Literal["soft", "hard"] = "soft"
    """lif: a spike takes the threshold off its membrane (soft), or all of it (hard)."""
    surrogate: Literal["arctan", "fast_sigmoid"] = "arctan"
    """lif: what stands in the place of a spike's derivative."""

    def identity(self) -> dict[str, object]:
        """Plain data for hashes: what a network does not read is left out, and so is what older ids know nothing of.

        Choices of a front end are in it by what they come to, and only where that differs from what always was; with
        `from` a choice left open is the folder's.
        """
        unread = {"activation", *SPIKING} if self.activation == "own" else set()
        if self.head == "linear":
            unread |= {"head"}
        else:
            unread |= {"pooling"}
        if self.layers_in == "last" or self.head in EVERY_LAYER:
            unread |= {"layers_in"}
        plain = self.model_dump(mode="json", by_alias=True, exclude={*unread, *OF_SPECTRA})
        settings: dict[str, object] = {"bins": self.bins, "deltas": self.deltas, "masks": self.masks}
        if self.from_ is None:
            settings["normalise"] = normalise_of(self.name, self.normalise)
            settings["stem"] = stem_of(self.name, self.preset, self.activation, self.stem)
        else:
            settings |= {"normalise": self.normalise, "stem": self.stem}
        if self.from_ is not None and self.from_ in STARTS:
            plain["weights"] = STARTS[self.from_]
        return plain | unlike_before(settings)


class SearchDev(Closed):
    """What the search may score on: never the evaluation split."""

    policy: Literal["held_out_attacks", "dev", "second_corpus"] = "dev"
    """The corpus's dev split; attacks kept out of training; or another corpus."""
    attacks: tuple[str, ...] = Field((), examples=[["A05", "A06"]])
    """held_out_attacks: kept out of training, searched on."""
    corpus: Corpus | None = None
    """second_corpus: its name."""
    root: str | None = None
    """second_corpus: the folder that holds it."""
    variant: str | None = None
    """second_corpus: its variant."""
    manifest: str | None = None
    """second_corpus: a CSV or Parquet table of clips, where `corpus` is manifest."""


class DataConfig(Closed):
    """Which clips, and how they are cut, changed and weighed."""

    corpus: Corpus = "synthetic"
    """Whose protocols are read; synthetic is generated here, manifest is a table of your own."""
    root: str | None = Field(None, examples=["data/ASVspoof2019/LA"])
    """The folder that holds the corpus; of a manifest the one that its paths start from."""
    variant: str | None = Field(None, examples=["for-norm", "la"])
    """fake_or_real: for-original, for-norm, for-2sec or for-rerec; synthetic: layout la, pa, for or itw."""
    manifest: str | None = Field(None, examples=["clips.csv"])
    """corpus manifest: a CSV or Parquet table with columns path, label, split, perhaps attack and speaker."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """synthetic: of what is generated."""
    clips: int | None = Field(None, ge=8, le=MOST_CLIPS)
    """synthetic: training clips; elsewhere at most so many, in equal shares of classes and attacks. null: all."""
    difficulty: float = Field(0.5, ge=0, le=1)
    """synthetic: how hard it is to tell the classes apart."""
    speech_s: float | None = Field(None, ge=0.2, le=60)
    """synthetic: seconds that every clip lasts; null: one to two, drawn (for-2sec and for-rerec: two)."""
    search_dev: SearchDev = SearchDev()
    """What the search may score on: never the evaluation split."""
    rate_hz: int = Field(16_000, ge=1, le=MOST_RATE_HZ)
    """Samples per second; clips of another rate are converted."""
    length_samples: int = Field(64_600, ge=400, le=MOST_SAMPLES)
    """How long a clip is cut or repeated to."""
    crops: Annotated[int, Field(ge=1, le=MOST_REPEATS)] | Literal["fresh"] = CROPS
    """In every arm alike: N fixed places of each training clip in turn, or a fresh one per epoch."""
    storage: Literal["int16", "float32"] = "int16"
    """How decoded clips are kept; int16 is exact for 16-bit mono files."""
    on_bad: Literal["refuse", "skip"] = "refuse"
    """What becomes of clips that cannot be decoded."""
    balance: Literal["weights", "sampler", "none"] = "weights"
    """How the rarer class is made up for: in the loss, in the order of clips, or not at all."""
    augment: tuple[str, ...] = Field((), examples=[["rawboost5"], ["noise:data/musan"]])
    """What is done to a training clip, in order: names of augment/names.py, e.g. rawboost5, spec_masks."""
    score: Literal["head", "windows"] = "head"
    """What is scored of a long dev or evaluation clip: its head, or the mean of windows as in `score`."""

    def identity(self) -> dict[str, object]:
        """Plain data for hashes: settings that came later are left out at their defaults."""
        plain = self.model_dump(mode="json", by_alias=True)
        return {name: value for name, value in plain.items() if LATER_OF_DATA.get(name, ...) != value}

    @field_validator("crops", mode="before")
    @classmethod
    def _once_null(cls, value: object) -> object:
        """Journals of sweeps from before the one policy for all arms say null, and must still be read."""
        return CROPS if value is None else value


class StageValues(Closed):
    """One number for each stage that trains."""

    train: float = Field(ge=0, le=MOST_AMOUNT)
    """Before growth."""
    retrain: float = Field(ge=0, le=MOST_AMOUNT)
    """After growth."""
    consolidate: float = Field(ge=0, le=MOST_AMOUNT)
    """After pruning."""


class TrainConfig(Closed):
    """How long and how every method trains; the total of optimiser steps is the same for all methods."""

    steps: int | None = Field(None, ge=3, le=MOST_COUNT)
    """Optimiser steps over all stages; or give `epochs`."""
    epochs: float | None = Field(None, gt=0, le=MOST_COUNT)
    """The same in passes over the training clips; or give `steps`."""
    shares: StageValues = StageValues(train=0.5, retrain=0.25, consolidate=0.25)
    """How the steps are shared out among the stages."""
    grow_at: float | None = Field(None, gt=0, lt=1)
    """Share of all steps before growth, in place of `shares.train`; null: as `shares` say."""
    batch_size: int = Field(16, ge=1, le=MOST_AT_ONCE)
    """Clips of a step."""
    accumulate: int = Field(1, ge=1, le=MOST_AT_ONCE)
    """In how many parts a batch is computed, where memory is short."""
    lr: float = Field(1e-3, gt=0, le=MOST_AMOUNT)
    """Highest learning rate."""
    lr_ratios: StageValues = StageValues(train=1.0, retrain=0.5, consolidate=0.1)
    """The rate of each stage, in multiples of `lr`."""
    weight_decay: float = Field(0.01, ge=0, le=MOST_AMOUNT)
    """Of AdamW."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of a stage's steps in which the rate rises."""
    clip_norm: float = Field(1.0, gt=0, le=MOST_AMOUNT)
    """Largest norm of a gradient."""
    loss: Literal["cross_entropy", "oc_softmax", "am_softmax"] = "cross_entropy"
    """What training makes small."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """auto: bf16 where the GPU computes in it."""
    compile: bool = False
    """Training steps on GPUs are compiled, block by block; costs are timed without."""
    evaluations: int = Field(2, ge=1, le=MOST_REPEATS)
    """Evaluations on search-dev in each stage; the best state is kept."""
    early_stop: int = Field(0, ge=0, le=MOST_COUNT)
    """A stage ends after so many evaluations without gain; 0: never (else marked 'unequal budget')."""
    train_head: bool = True
    """Whether the head goes on learning after growth, in every arm alike."""
    train_stem: bool = True
    """Whether what lies below the first block learns where everything does; an encoder's convolutions seldom do."""
    encoder_lr_ratio: float = Field(1.0, gt=0, le=MOST_AMOUNT)
    """Learning rate of all below the head, new neurons too, over that of the head."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Share of the learning rate that is left with each block further down; 1: the same for all."""
    average_best: int = Field(1, ge=1, le=MOST_REPEATS)
    """The mean of so many best states is what a stage ends with, where it is better on search-dev than the best."""
    checkpoint_layers: bool = False
    """Blocks are computed again in the backward pass: less memory, more time, equal numbers."""

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
