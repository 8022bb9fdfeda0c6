"""What newborn units get in a stage that incumbents do not: a rate, moments, a gate that opens.

All three act on entries of parameters around the step of the optimiser, so that the network in between is an ordinary
one: it is evaluated, kept, folded and pruned as ever. A gate g stands before the outgoing weights V of its unit; the
network holds their product, V and g are what the optimiser moves, and at the end there is nothing left to fold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from plastsearch.growth.optimizer import COHORT, COHORTS, keep_pace_
from plastsearch.growth.site import Slot
from plastsearch.training.newborns import Born, Moments


@dataclass(frozen=True)
class Care:
    """What newborns get; the values given here are what every parameter has."""

    born: Sequence[Born]
    whole: frozenset[str] = frozenset()  # parameters in which all is new
    lr_ratio: float = 1.0
    moments: Moments = field(default_factory=dict)
    after: int = 0  # steps that `moments` stand for
    gate: Generator | None = None  # draws what the gates open to; None: there are none
    scales: Mapping[tuple[str, Slot], float] = field(default_factory=dict)  # of what it draws


@dataclass
class _Gated:
    """Outgoing weights of one slot behind the gates of its site."""

    born: Born
    parameter: nn.Parameter
    gate: nn.Parameter  # one for each newborn of the site
    weights: Tensor  # V


class Upbringing:
    """A companion of a stage of training that sees to the newborns."""

    def __init__(self, module: nn.Module, care: Care) -> None:
        self._care = care
        self._named = dict(module.named_parameters())
        self._gated: list[_Gated] = []
        self._before: list[tuple[nn.Parameter, tuple[Tensor, ...], Tensor]] = []
        # Of parameters that are new as a whole the group has the rate (trial/networks.py, lr_factors).
        inside = [born for born in care.born if born.parameter not in care.whole]
        self._apart = [] if care.lr_ratio == 1 else self._places(inside)

    def begin(self, optimizer: Optimizer) -> None:
        """Before the first step of a new optimiser, or before its state is put back."""
        self._inherit_(optimizer)
        if self._care.gate is not None:
            self._gate_(optimizer, self._care.gate)
        optimizer.register_step_pre_hook(self._before_step)
        if self._care.moments:
            keep_pace_(optimizer)  # between the two: what it does anew is a part of the step
        optimizer.register_step_post_hook(self._after_step)

    def penalty(self) -> Tensor | None:
        """Nothing is added to the loss."""
        return None

    def after_step(self, step: int) -> None:
        """All was done around the step."""

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must hold of it; gates are the optimiser's parameters, and known to nobody else."""
        return {"gates": [one.gate.detach() for one in self._gated], "weights": [one.weights for one in self._gated]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        with torch.no_grad():
            for one, gate, weights in zip(self._gated, state["gates"], state["weights"], strict=True):
                one.gate.copy_(gate)
                one.weights = weights.to(one.weights)

    def gates(self) -> dict[str, Tensor]:
        """How far each newborn's gate is open, by site."""
        return {one.born.site: one.gate.detach() for one in self._gated}

    def _places(self, inside: Sequence[Born]) -> list[tuple[nn.Parameter, tuple[Tensor, ...]]]:
        """Where newborns' entries are, each once though it may be in two slots."""
        marks: dict[str, Tensor] = {}
        for born in inside:
            parameter = self._named[born.parameter]
            marks.setdefault(born.parameter, torch.zeros_like(parameter, dtype=torch.bool))[born.place] = True
        return [(self._named[name], mark.nonzero(as_tuple=True)) for name, mark in marks.items()]

    def _inherit_(self, optimizer: Optimizer) -> None:
        """Moments as incumbents' would be: entries inside larger tensors get counters of their own with them."""
        care = self._care
        by_parameter: dict[str, list[Born]] = {}
        for born in care.born if care.moments else ():
            if (born.site, born.slot) in care.moments:
                by_parameter.setdefault(born.parameter, []).append(born)
        for name, some in by_parameter.items():
            parameter = self._named[name]
            first, second = _bias(optimizer, parameter, care.after)
            moments = [care.moments[born.site, born.slot] for born in some]
            mean, square = torch.zeros_like(parameter.detach()), torch.zeros_like(parameter.detach())
            if name in care.whole:  # also those of its entries that fold into none, as ends of recurrent layers
                mean.fill_(sum(one for one, _ in moments) / len(moments) * first)
                square.fill_(sum(two for _, two in moments) / len(moments) * second)
            for born, (one, two) in zip(some, moments, strict=True):
                mean[born.place] = one * first
                square[born.place] = two * second
            steps = torch.tensor(float(care.after), device=parameter.device)
            state: dict[str, Any] = {"step": steps, "exp_avg": mean, "exp_avg_sq": square}
            if name not in care.whole:
                labels = torch.zeros_like(parameter.detach())
                for born in some:
                    labels[born.place] = 1
                state |= {"step": torch.zeros_like(steps), COHORT: labels}
                state[COHORTS] = [{"steps": care.after, "counters": {"step": steps}}]
            optimizer.state[parameter] = state

    def _gate_(self, optimizer: Optimizer, generator: Generator) -> None:
        """Draws what is behind the gates, at the scale of the incumbents' outgoing weights, and shuts them."""
        shut: dict[str, nn.Parameter] = {}
        for born in map(self._shut, self._care.born):
            if born.slot.role != "out" or not len(born.unit):
                continue
            parameter = self._named[born.parameter]
            if born.site not in shut:
                shut[born.site] = nn.Parameter(torch.zeros(int(born.unit.max()) + 1, device=parameter.device))
                group = _group_of(optimizer, parameter)
                ratio = 1.0 if born.parameter in self._care.whole else self._care.lr_ratio
                kept = {key: value for key, value in group.items() if key not in ("params", "weight_decay", "factor")}
                factor = group.get("factor", 1.0) * ratio
                optimizer.add_param_group({**kept, "params": [shut[born.site]], "weight_decay": 0.0, "factor": factor})
            scale = self._care.scales[born.site, born.slot]
            drawn = torch.randn(len(born.unit), generator=generator, dtype=torch.float64) * scale
            self._gated.append(_Gated(born, parameter, shut[born.site], drawn.to(parameter)))

    def _shut(self, born: Born) -> Born:
        """Without weights that are not zero: recurrent newborns read each other from the start, which no gate bars."""
        zero = self._named[born.parameter].detach()[born.place] == 0
        return replace(born, place=tuple(index[zero] for index in born.place), unit=born.unit[zero])

    @torch.no_grad()
    def _before_step(self, *_: object) -> None:
        for one in self._gated:
            one.gate.grad = torch.zeros_like(one.gate)
        for one in self._gated:
            slope = one.parameter.grad
            if slope is None:
                continue
            at_product = slope[one.born.place]
            assert one.gate.grad is not None
            one.gate.grad.index_add_(0, one.born.unit, at_product * one.weights)
            slope[one.born.place] = one.gate[one.born.unit] * at_product
            one.parameter[one.born.place] = one.weights
        self._before = [(parameter, place, parameter[place]) for parameter, place in self._apart]

    @torch.no_grad()
    def _after_step(self, *_: object) -> None:
        # AdamW's step is in proportion to its rate, decay included: so is a share of it.
        for parameter, place, before in self._before:
            parameter[place] = before + self._care.lr_ratio * (parameter[place] - before)
        self._before = []
        for one in self._gated:
            one.weights = one.parameter[one.born.place]
            one.parameter[one.born.place] = one.gate[one.born.unit] * one.weights


def _group_of(optimizer: Optimizer, parameter: nn.Parameter) -> dict[str, Any]:
    return next(group for group in optimizer.param_groups if any(one is parameter for one in group["params"]))


def _bias(optimizer: Optimizer, parameter: nn.Parameter, steps: int) -> tuple[float, float]:
    """What Adam's two means come to after so many equal values."""
    first, second = _group_of(optimizer, parameter)["betas"]
    return 1 - first**steps, 1 - second**steps
