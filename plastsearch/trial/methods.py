"""The stages of a configuration: what each one changes, what learns in it and for how many steps.

What stages a method has stands in spec/methods.py.

Every method of a sweep takes the same total of optimiser steps. `train` has one length for all of them, so that they
can share its result; what a method does not spend on `consolidate` it spends on `retrain`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from plastsearch.errors import TrialError
from plastsearch.growth.rules import criterion_refused, growth_refused, ring_refused
from plastsearch.models.catalog import NOT_COMPILED
from plastsearch.models.sites import SiteRow, site_table
from plastsearch.models.widths import SitesUnknownError
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import METHODS, Change, MethodStage, StageName, unfit
from plastsearch.spec.training import StageValues

Learned = Literal["all", "new", "top", "sites", "nothing"]

OPEN_INITS = ("pairs", "net2net", "gradmax")  # outgoing weights of new neurons begin elsewhere than at zero

DEFAULT_STEPS = 200  # where neither steps nor epochs are given


@dataclass(frozen=True)
class Part:
    """One of the insertions that a retrain is cut into, or the part of that retrain behind it."""

    number: int  # from 0
    of: int
    before: int  # optimiser steps of the retrain before this part
    whole: int  # optimiser steps of the retrain

    @property
    def last(self) -> bool:
        """Whether no insertion follows."""
        return self.number == self.of - 1


@dataclass(frozen=True)
class Stage:
    """One stage of a trial: what it changes, what learns in it, for how many optimiser steps, at which rate."""

    name: StageName
    change: Change
    learns: Learned
    steps: int
    lr: float
    first: int = 0  # optimiser steps of the trial before it
    part: Part | None = None  # where growth comes in several insertions, each with a part of retrain behind it
    newborn: tuple[str, ...] = ()  # settings that it reads for the sake of new neurons
    beside: bool = False  # whether it trains new neurons that can be told from old ones of their layer


def total_steps(config: TrialConfig, n_clips: int) -> int:
    """Optimiser steps of the whole trial, whatever its method."""
    if config.train.steps is not None:
        return config.train.steps
    if config.train.epochs is None:
        return DEFAULT_STEPS
    return max(3, math.ceil(config.train.epochs * n_clips / config.train.batch_size))


def stages_of(config: TrialConfig, n_clips: int) -> tuple[Stage, ...]:
    """The stages of a trial; their steps add up to the same total for every method."""
    parts = METHODS[config.method].stages
    if config.start == "cold":
        parts = tuple(part for part in parts if part.stage != "train")
    steps = _lengths(config, total_steps(config, n_clips), {part.stage for part in parts})
    ratios = config.train.lr_ratios.model_dump()
    counts = [steps.get(part.stage, 0) for part in parts]
    made = [
        Stage(part.stage, part.change, _learns(part, config), count, config.train.lr * ratios.get(part.stage, 0.0),
              first, newborn=_newborn_reads(config) if part.stage == "retrain" else (),
              beside=part.stage == "retrain" and shows_newborns(config))
        for part, count, first in zip(parts, counts, accumulate(counts, initial=0), strict=False)
    ]  # fmt: skip
    return tuple(_in_parts(made, config.adaptive_steps)) if METHODS[config.method].seeks else tuple(made)


def _in_parts(stages: list[Stage], wanted: int) -> Iterator[Stage]:
    """An insertion and what trains behind it, again and again, at equal distances in the first half of retrain.

    Stages of their own rather than something inside `retrain`: what was grown is then in the store like everything
    else, so a killed trial goes on from there, and no checkpoint has shapes that its network has not yet.
    """
    for stage, after in zip(stages, [*stages[1:], None], strict=True):
        if stage.change != "seek" or after is None:
            if stage.name != "retrain":
                yield stage
            continue
        number = insertions(after.steps, wanted)
        starts = [after.steps * k // (2 * number) for k in range(number)] + [after.steps]
        for k in range(number):
            part = Part(k, number, starts[k], after.steps)
            first = after.first + starts[k]
            yield replace(stage, first=first, part=part)
            yield replace(after, first=first, steps=starts[k + 1] - starts[k], part=part)


def insertions(steps: int, wanted: int) -> int:
    """How many insertions a retrain of so many steps has room for, with a step at least between two."""
    return max(1, min(wanted, steps // 2))


def check(config: TrialConfig) -> None:
    """Refuse, before anything is trained, sites the network does not have and growth that could not be pruned again."""
    if config.train.compile and config.model.name in NOT_COMPILED:
        raise TrialError(f"train.compile: {NOT_COMPILED[config.model.name]}")
    refused = config.train.unworkable()
    if refused:
        raise TrialError(f"train.{refused[0]}: {refused[1]}")
    growth = config.growth()
    facts = METHODS[config.method]
    reason = _spiking_refused(config) or _halving_refused(config) or _head_refused(config) or _newborns_refused(config)
    if reason:
        raise TrialError(reason)
    lacking = unfit(config.method, config.model.name)
    if lacking:
        raise TrialError(f"method {config.method}: {lacking}")
    if config.method == "adalora" and not growth:
        raise TrialError("method adalora matches a dropin: give `layers` and `neurons`")
    if config.method == "lora_growth" and config.operator in ("stack", "ring"):
        what = "adds whole layers" if config.operator == "stack" else "grows kernels"
        raise TrialError(
            f"operator {config.operator} {what}, which lora_growth cannot share out: use widen or parallel"
        )
    if facts.grows and config.rings() and not growth:
        raise TrialError(f"method {config.method} with operator ring grows kernels, but at no site: give `layers`")
    if facts.grows and not growth:
        raise TrialError(f"method {config.method} adds neurons, but no site has any: give `layers` and `neurons`")
    if facts.prunes:
        lasting = config.operator == "stack" or (config.operator == "parallel" and config.model.name == "grnn")
        if lasting:
            raise TrialError(
                f"operator {config.operator} adds layers to {config.model.name} that cannot be folded into its own, "
                f"so {config.method} could not prune them: use operator widen, or method dropin"
            )
    try:
        known = {row.name: row for row in site_table(config.model)}
    except SitesUnknownError:
        return  # a hub name: dropin will look
    unknown = [name for name in (*config.layers, *growth) if name not in known]
    if unknown:
        raise TrialError(f"no site {unknown[0]!r} in {config.model.name}; its sites: {', '.join(known)}")
    reason = _growth_refused(config, growth, known)
    if reason:
        raise TrialError(reason)


def _spiking_refused(config: TrialConfig) -> str | None:
    """What a spiking network cannot do, though the network it stands for can."""
    facts = METHODS[config.method]
    if config.model.activation == "own":
        return None
    if config.model.name == "resnet18" and (facts.adds == "layers" or (facts.grows and config.operator == "stack")):
        return (
            "a stacked block would add real numbers to the spikes that go from block to block of a spiking resnet18; "
            "use operator widen or parallel, or model.activation: own"
        )
    if config.model.name == "grnn" and facts.prunes and config.compensate == "mean":
        return (
            "compensate: mean cannot serve a spiking grnn: a layer reads its own real-valued state and others read its "
            "spikes, and one mean is not that of both; use compensate: none"
        )
    return None


def _newborns_refused(config: TrialConfig) -> str | None:
    """What cannot be done for the sake of new neurons."""
    reads = _newborn_reads(config)
    gated = "newborn_gate" in reads and config.newborn_gate == "learned"
    inherits = "newborn_state" in reads and config.newborn_state == "inherited"
    what = "newborn_gate: learned" if gated else "newborn_state: inherited"
    if (gated or inherits) and not shows_newborns(config):
        return f"{what} needs new neurons beside old ones of a layer, and operator {config.operator} adds a layer"
    if gated and config.init in OPEN_INITS:
        return (
            f"newborn_gate: learned opens outgoing weights from zero, and init {config.init} begins with others: "
            "use init random, orthogonal or copies"
        )
    return None


def _newborn_reads(config: TrialConfig) -> tuple[str, ...]:
    """Settings of new neurons that training reads; kernels grow without any."""
    return () if config.rings() else METHODS[config.method].newborn_reads


def shows_newborns(config: TrialConfig) -> bool:
    """Whether new neurons fold into the layers they stand beside, where they can be told from the old ones."""
    operator = METHODS[config.method].operator(config)
    apart = operator in ("stack", "ring") or (operator == "parallel" and config.model.name == "grnn")
    return bool(_newborn_reads(config)) and not apart


def _halving_refused(config: TrialConfig) -> str | None:
    """A layer or a branch beside a convolution would have to halve the picture as its block does."""
    facts = METHODS[config.method]
    if config.model.name in ("cnn", "lcnn") and (
        facts.adds == "layers" or (facts.grows and config.operator in ("parallel", "stack"))
    ):
        does = {"cnn": "each block of a cnn halves", "lcnn": "blocks of an lcnn halve"}[config.model.name]
        return f"{does} the picture, so no layer goes on top or beside it; use operator widen or ring"
    return None


def _head_refused(config: TrialConfig) -> str | None:
    """A block of a head is no layer on which another one could stand."""
    facts = METHODS[config.method]
    own = [name for name in config.growth() if name.startswith("head.")]
    if own and (facts.adds == "layers" or (facts.grows and config.operator == "stack")):
        return f"site '{own[0]}': no layer goes on top of a part of a head; use operator widen or ring"
    return None


def _growth_refused(config: TrialConfig, growth: Mapping[str, int], rows: Mapping[str, SiteRow]) -> str | None:
    """What growth, or the criterion after it, would refuse only once the baseline is trained."""
    facts = METHODS[config.method]
    if not facts.placed:
        return None
    regime = config.regime if "regime" in facts.reads else "frozen"
    for name, neurons in growth.items():
        row = rows[name]
        if config.rings():
            reason = ring_refused(name, [] if row.kernel is None else [row.kernel], neurons)
            if reason:
                return f"kernel: {reason}"
            continue
        if neurons < 0 or neurons % row.step:
            return f"site '{name}' cannot grow by {neurons}: neurons come in multiples of {row.step}, 1 or more of them"
        if config.method == "lora" and config.rank:
            continue
        init = config.init if facts.grows else "random"  # adapters only count what dropin would add
        reason = growth_refused(
            name, row.kind, neurons // row.step, mode=regime, init=init, together=growth,
            operator=facts.operator(config), directions=row.directions,
        )  # fmt: skip
        if facts.prunes:
            reason = reason or criterion_refused(name, row.kind, config.criterion, scaled=row.scaled)
        if reason:
            return reason
    return None


def _lengths(config: TrialConfig, total: int, stages: set[StageName]) -> dict[str, int]:
    """Steps of each stage that trains. `train` and `consolidate` take their shares, `retrain` all that is left."""
    shares = config.train.shares
    if config.train.grow_at is not None:
        shares = shares.model_copy(update={"train": _before_growth(shares, config.train.grow_at)})
    whole = shares.train + shares.retrain + shares.consolidate
    if whole <= 0 or min(shares.train, shares.retrain, shares.consolidate) < 0:
        raise TrialError(f"train.shares: {shares.model_dump()}: shares are not negative and add up to more than 0")
    lengths: dict[str, int] = {}
    if "train" in stages:
        lengths["train"] = max(1, round(total * shares.train / whole))
    if "consolidate" in stages:
        rest = (shares.retrain + shares.consolidate) if "train" not in stages else whole
        lengths["consolidate"] = max(1, round(total * shares.consolidate / rest)) if rest else 1
    lengths["retrain"] = total - sum(lengths.values())
    if lengths["retrain"] < 1:
        raise TrialError(f"{total} optimiser steps leave none for retrain; raise train.steps or train.shares.retrain")
    return lengths


def _before_growth(shares: StageValues, grow_at: float) -> float:
    """The share of `train` with which growth comes after `grow_at` of all steps; the others keep their proportion."""
    after = shares.retrain + shares.consolidate
    if not after:
        raise TrialError("train.grow_at leaves steps for after growth, and train.shares give none of them to a stage")
    return after * grow_at / (1 - grow_at)


def _learns(part: MethodStage, config: TrialConfig) -> Learned:
    frozen = config.regime == "frozen"
    match part.learns:
        case "regime":
            return "new" if frozen else "all"
        case "survivors":
            return "sites" if frozen else "all"
        case other:
            return other
