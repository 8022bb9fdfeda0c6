"""The one table of methods and controls: stages, what grows, what is pruned, which settings are read, how many runs.

Everybody who treats one method unlike another asks here, by what the method does and not by its name: checks, canonical
form, keys of stages, counts, forecasts, displays, verdicts. How stages are carried out stands in trial/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

from plastsearch.spec.config import TrialConfig, usual
from plastsearch.spec.vocabulary import Method, Model

StageName = Literal["train", "dropin", "retrain", "prune", "consolidate"]
Change = Literal["none", "neurons", "seek", "layers", "lora", "adalora", "lora_growth", "truncate", "remove"]
Learns = Literal["all", "regime", "new", "top", "survivors", "nothing"]
Adds = Literal["nothing", "neurons", "layers", "adapters"]
Control = Literal["baseline", "lora", "adalora", "random"]

WIDTHS = ("layers", "neurons")
PLACES = (*WIDTHS, "kernel")  # where something is added, and how much of it
NEWBORN = ("newborn_lr_ratio", "newborn_state", "newborn_gate")
CALIBRATION = ("calibration_clips", "train.loss", "data.balance")  # training clips and the loss on them


@dataclass(frozen=True)
class ChangeFacts:
    """What one way of changing a network adds, and the settings it reads as dotted paths of a TrialConfig."""

    adds: Adds = "nothing"
    reads: tuple[str, ...] = ()
    gradmax_reads: tuple[str, ...] = ()  # beside those, where `init` asks the gradient on training clips
    unranked_reads: tuple[str, ...] = ()  # beside those, where the rank follows from what the same growth would add
    newborn_reads: tuple[str, ...] = ()  # what the training behind it reads, for the sake of new neurons

    def read_by(self, config: TrialConfig) -> tuple[str, ...]:
        """The settings it reads in one configuration."""
        found = self.reads + (self.gradmax_reads if config.init == "gradmax" else ())
        return found + (() if config.rank else self.unranked_reads)


CHANGES: dict[Change, ChangeFacts] = {
    "none": ChangeFacts(),
    "neurons": ChangeFacts(
        "neurons", (*PLACES, "operator", "init", "lateral", "regime"), CALIBRATION, newborn_reads=NEWBORN
    ),
    # Neurons too, but gradients say where; they learn in the same regime, so that only the choice of sites differs.
    "seek": ChangeFacts(
        "neurons",
        (*WIDTHS, "adaptive_steps", "adaptive_score", "init", "lateral", "regime", *CALIBRATION),
        newborn_reads=("newborn_lr_ratio", "newborn_state"),  # a gate would shut again at each insertion
    ),
    "layers": ChangeFacts("layers", (*WIDTHS, "init", "lateral", "regime"), CALIBRATION),
    "lora": ChangeFacts(
        "adapters", (*WIDTHS, "rank", "lora_on"), unranked_reads=("operator", "kernel", "lateral", "regime")
    ),
    "adalora": ChangeFacts("adapters", (*PLACES, "operator", "lateral", "regime")),
    "lora_growth": ChangeFacts("neurons", (*WIDTHS, "operator", "init", "lateral", "lora_share"), CALIBRATION),
    "truncate": ChangeFacts(reads=("truncate_to",)),
    "remove": ChangeFacts(reads=("criterion", "pool", "keep", "compensate", *CALIBRATION)),
}
# What training reads only where this is what learns.
LEARNS: dict[str, tuple[str, ...]] = {"regime": ("regime",), "survivors": ("regime",), "top": ("last_k",)}


@dataclass(frozen=True)
class MethodStage:
    """One stage of a method, before a configuration fills it in; `regime`: all or new, as the configuration says."""

    stage: StageName
    change: Change = "none"
    learns: Learns = "nothing"


@dataclass(frozen=True)
class MethodFacts:
    """A method is its stages; the rest follows from what they do."""

    stages: tuple[MethodStage, ...]

    @cached_property
    def adds(self) -> Adds:
        """What it puts into the network."""
        return next((kind for stage in self.stages if (kind := CHANGES[stage.change].adds) != "nothing"), "nothing")

    @property
    def placed(self) -> bool:
        """Whether it needs to know at which sites, and how much."""
        return self.adds != "nothing"

    @property
    def grows(self) -> bool:
        """Whether the network itself gets larger; adapters merge into the weights they sit beside."""
        return self.adds in ("neurons", "layers")

    @cached_property
    def seeks(self) -> bool:
        """Whether its sites are candidates, of which gradients choose on the way: it widens them and nothing else."""
        return any(stage.change == "seek" for stage in self.stages)

    def operator(self, config: TrialConfig) -> str:
        """How it grows, whatever a setting says that it does not read."""
        return "stack" if self.adds == "layers" else "widen" if self.seeks else config.operator

    @cached_property
    def newborn_reads(self) -> tuple[str, ...]:
        """Settings that `retrain` reads for the sake of new neurons."""
        return tuple(name for stage in self.stages for name in CHANGES[stage.change].newborn_reads)

    @cached_property
    def prunes(self) -> bool:
        """Whether it takes neurons out again."""
        return any(stage.change == "remove" for stage in self.stages)

    @cached_property
    def truncates(self) -> bool:
        """Whether it takes whole layers away."""
        return any(stage.change == "truncate" for stage in self.stages)

    @cached_property
    def reads(self) -> frozenset[str]:
        """The settings of its own: not those that every method reads."""
        changes = [CHANGES[stage.change] for stage in self.stages]
        named = [name for one in changes for name in (*one.reads, *one.gradmax_reads, *one.unranked_reads)]
        named += [name for one in changes for name in one.newborn_reads]
        named += [name for stage in self.stages for name in LEARNS.get(stage.learns, ())]
        return frozenset(name for name in named if "." not in name)


_TRAIN = MethodStage("train", learns="all")
_DROPIN = (_TRAIN, MethodStage("dropin", "neurons"), MethodStage("retrain", learns="regime"))

METHODS: dict[Method, MethodFacts] = {
    "baseline": MethodFacts((_TRAIN, MethodStage("retrain", learns="all"))),
    "dropin": MethodFacts(_DROPIN),
    "plasticity": MethodFacts(
        (*_DROPIN, MethodStage("prune", "remove"), MethodStage("consolidate", learns="survivors"))
    ),
    "lora": MethodFacts((_TRAIN, MethodStage("dropin", "lora"), MethodStage("retrain", learns="new"))),
    "adalora": MethodFacts((_TRAIN, MethodStage("dropin", "adalora"), MethodStage("retrain", learns="new"))),
    "lora_growth": MethodFacts((_TRAIN, MethodStage("dropin", "lora_growth"), MethodStage("retrain", learns="new"))),
    "last_k": MethodFacts((_TRAIN, MethodStage("retrain", learns="top"))),
    "stack": MethodFacts((_TRAIN, MethodStage("dropin", "layers"), MethodStage("retrain", learns="regime"))),
    "truncate": MethodFacts((_TRAIN, MethodStage("dropin", "truncate"), MethodStage("retrain", learns="all"))),
    "adaptive": MethodFacts((_TRAIN, MethodStage("dropin", "seek"), MethodStage("retrain", learns="regime"))),
}
# What some methods cannot do to some networks, and the way out.
UNFIT: dict[Method, dict[Model, str]] = {
    "adalora": {
        "grnn": "AdaLoRA adapts linear and convolution layers, and grnn has neither at its sites; use lora there, "
        "which also adapts the weights of recurrent layers",
        "lcnn": "AdaLoRA adapts linear and convolution layers, and a site of lcnn is a recurrent one; use lora there, "
        "which also adapts the weights of recurrent layers",
    },
    "lora_growth": {
        "grnn": "grown recurrent layers read the weights of the layer they stand around by themselves and would not "
        "hear its adapters; use lora or dropin there",
        "lcnn": "a grown recurrent layer, as lstm.0 may be, reads the weights of the layer it stands around by itself "
        "and would not hear its adapters; use lora or dropin there",
    },
}


def unfit(method: str, model: str) -> str | None:
    """Why a method cannot do its work on a network, and what to take instead."""
    return UNFIT.get(cast("Method", method), {}).get(cast("Model", model))


# What `lora_growth` comes to where one side gets all: neurons alone, or adapters alone.
SHARE_ENDS: dict[float, Method] = {0.0: "dropin", 1.0: "lora"}
UNTOUCHED: Method = "baseline"  # what a method comes to that has nothing to add

# Every setting that only some methods read.
OWN_SETTINGS = tuple(name for name in TrialConfig.model_fields if any(name in one.reads for one in METHODS.values()))


def reads(method: str, setting: str) -> bool:
    """Whether a method takes any notice of a setting."""
    return setting not in OWN_SETTINGS or setting in facts(method).reads


def for_newborns(config: TrialConfig) -> list[str]:
    """What new neurons get that they usually do not, in words."""
    read = () if config.rings() else facts(config.method).newborn_reads
    return [f"{name} {getattr(config, name)}" for name in read if getattr(config, name) != usual(name)]


def facts(method: str) -> MethodFacts:
    """The facts of a method by its name, as a journal or a space's domain spells it."""
    return METHODS[cast("Method", method)]


@dataclass(frozen=True)
class ControlFacts:
    """One arm beside every search: its name in tables and in sentences, its method, and whom it answers to."""

    label: str
    called: str
    method: Method | None = None  # None: the method of the trial it answers to
    of_winner: bool = True  # it repeats the search's best trial but for one thing, so it runs after the search
    finalist: bool = False  # run again beside the members of the front, which have nothing to stand against without it


YARDSTICK: Control = "baseline"  # what relative limits refer to, and whether growth pays
CONTROLS: dict[Control, ControlFacts] = {
    YARDSTICK: ControlFacts(
        "baseline (no growth)", "the equal-budget baseline (no growth)", UNTOUCHED, of_winner=False, finalist=True
    ),
    "lora": ControlFacts("LoRA, same sites", "LoRA on the same sites", "lora"),
    "adalora": ControlFacts("AdaLoRA, same sites", "AdaLoRA on the same sites", "adalora"),
    "random": ControlFacts("random sites", "growth at random sites"),
}


@dataclass(frozen=True)
class Runs:
    """How many trials a sweep runs at most, by role; fewer where a budget ends it or the front has few members."""

    search: int
    controls: int
    finalists: int
    seeds: int = 0  # of the finalists

    @property
    def total(self) -> int:
        """All of them."""
        return self.search + self.controls + self.finalists


def runs(trials: int, controls: Sequence[Control], top: int, seeds: int) -> Runs:
    """What a sweep with these numbers runs; a control's finalists stand beside those of the front."""
    beside = sum(CONTROLS[name].finalist for name in controls)
    return Runs(trials, len(controls), (top + beside) * seeds if top else 0, seeds if top else 0)
