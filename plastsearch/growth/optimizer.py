"""Carries optimiser state across a change of widths, so that neither momentum is lost nor dead parameters are kept.

Optimisers count steps per tensor. Entries added to one that has long been trained are younger than its counters say:
inside it, Adam's first steps reach 6.6 times the learning rate, RAdam's and NAdam's more. So the entries of each later
growth are a cohort with counters of its own (in the optimiser's state, saved with it), and a hook repeats their step
with the same optimiser's code in a tensor of their own: exactly what a new optimiser would do with them.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Number
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adagrad, Optimizer

from plastsearch.errors import GrowthError

Remap = Callable[[Tensor, float], Tensor]  # (a tensor of the old shape, fill for new entries) → the new shape
Place = tuple[Tensor, ...]  # indices of some entries of a tensor

COHORT = "cohort"  # state: for each entry, 0 or the number of its cohort, in the parameter's dtype, as loading casts it
COHORTS = "cohorts"  # state: for each cohort {"steps": how many it took, "counters": its own, as the optimiser's}
_MOST = 250  # numbers that even half precision tells apart


def swap_(optimizer: Optimizer, old: nn.Parameter, new: nn.Parameter, remap: Remap) -> None:
    """Puts `new` in the place of `old`, with its state remapped; a parameter unknown to the optimiser is left alone."""
    for group in optimizer.param_groups:
        group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
    state = optimizer.state.pop(old, None)
    if not state:
        return
    cohorts = list(state.get(COHORTS, []))
    if not cohorts or cohorts[-1]["steps"]:  # else rows and columns of one growth, or two before a step, are of one age
        cohorts.append({"steps": 0, "counters": {}})
    labels = remap(state.get(COHORT, torch.zeros_like(old)).detach(), float(len(cohorts)))
    moved = {key: _moved(value, old, remap) for key, value in state.items() if key not in (COHORT, COHORTS)}
    alive = [number for number in range(1, len(cohorts) + 1) if bool((labels == number).any())]
    if alive:
        ranks = torch.zeros_like(labels)
        for rank, number in enumerate(alive, 1):
            ranks[labels == number] = rank
        moved[COHORT] = ranks
        moved[COHORTS] = [cohorts[number - 1] for number in alive]
        keep_pace_(optimizer)
    optimizer.state[new] = moved


def refuse_state(optimizer: Optimizer, changing: Iterable[nn.Parameter]) -> None:
    """An error if the optimiser's state could not follow when these parameters change their width."""
    for parameter, state in optimizer.state.items():
        for key, value in state.items() if isinstance(parameter, Tensor) else ():
            if key not in (COHORT, COHORTS):
                _refuse_value(key, value, parameter)
    aged = [parameter for parameter in changing if optimizer.state.get(parameter)]
    if any(len(optimizer.state[parameter].get(COHORTS, [])) >= _MOST for parameter in aged):
        raise GrowthError(f"a tensor has grown {_MOST} times under one optimiser; build a new optimiser")
    if aged:
        _refuse_unlike(optimizer, aged[0])


def keep_pace_(optimizer: Optimizer) -> None:
    """Makes entries younger than their tensor step as in a tensor of their own; to be called again after a load."""
    if getattr(optimizer, "_keeps_pace", False):
        return
    optimizer._keeps_pace = True  # type: ignore[attr-defined]
    places: dict[nn.Parameter, tuple[Tensor, list[Place]]] = {}
    before: dict[nn.Parameter, list[dict[str, Tensor]]] = {}

    def remember(optimizer: Optimizer, *_: object) -> None:
        known = dict(places)
        places.clear()
        before.clear()
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            state = optimizer.state.get(parameter, {})
            if COHORT not in state:
                continue
            labels, found = known.get(parameter, (None, []))
            if labels is not state[COHORT]:  # finding them makes a GPU wait, so once is enough
                found = [_place(state[COHORT], number) for number in range(1, len(state[COHORTS]) + 1)]
            places[parameter] = (state[COHORT], found)
            tensors = {"": parameter.detach(), **_entries(parameter, state)}
            before[parameter] = [{key: value[place] for key, value in tensors.items()} for place in found]

    def step_apart(optimizer: Optimizer, *_: object) -> None:
        found_inf = getattr(optimizer, "found_inf", None)
        if found_inf is not None and bool(found_inf):
            return  # a gradient scaler made the optimiser skip this step
        for group in optimizer.param_groups:
            stepped = [parameter for parameter in group["params"] if parameter in places and parameter.grad is not None]
            if stepped:
                _step_apart(optimizer, group, {parameter: places[parameter][1] for parameter in stepped}, before)

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(step_apart)


def load_state_(optimizer: Optimizer, state: dict[str, object]) -> None:
    """Optimizer.load_state_dict for an optimiser whose parameters may hold entries of unlike ages."""
    optimizer.load_state_dict(state)
    if any(COHORT in entry for entry in optimizer.state.values()):
        keep_pace_(optimizer)


def add_group_(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> None:
    """Gives new parameters, by name, a group of their own, with the settings of the first group."""
    if not parameters:
        return
    settings = {key: value for key, value in optimizer.param_groups[0].items() if key not in ("params", "param_names")}
    named = "param_names" in optimizer.param_groups[0]
    optimizer.add_param_group({"params": list(parameters.items() if named else parameters.values()), **settings})
    if isinstance(optimizer, Adagrad):  # whose state is made with it, not at the first step
        optimizer.state.update(_same_optimizer(optimizer, settings, list(parameters.values())).state)


def _moved(value: object, old: nn.Parameter, remap: Remap) -> object:
    if not isinstance(value, Tensor) or value.dim() == 0:
        return value
    if value.shape != old.shape:
        raise AssertionError("the state was not checked before it moved")
    return remap(value, 0.0)


def _refuse_value(key: str, value: object, parameter: Tensor) -> None:
    if isinstance(value, Tensor) and (value.dim() == 0 or value.shape == parameter.shape):
        return
    if value is None or isinstance(value, Number | str):
        return
    what = f"has shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"is a {type(value).__name__}"
    raise GrowthError(
        f"optimiser state '{key}' {what} beside a parameter of {tuple(parameter.shape)}; only state with one entry per "
        "weight (SGD, Adam, AdamW, Lion and their like) can follow a change of widths: leave the optimiser out, and "
        "build a new one afterwards"
    )


@torch.no_grad()
def _refuse_unlike(optimizer: Optimizer, like: Tensor) -> None:
    """An error unless entries step alike alone and beside others, as tried out on two numbers."""
    name = type(optimizer).__name__
    dtype = like.dtype if like.dtype == torch.float64 else torch.float32
    settings = {key: value for key, value in optimizer.param_groups[0].items() if key not in ("params", "param_names")}

    def stepped(values: Sequence[float]) -> Tensor:
        trial = nn.Parameter(torch.tensor(values, dtype=dtype, device=like.device))
        twin = _same_optimizer(optimizer, settings, [trial])
        for slope in (1.0, -0.3):
            trial.grad = slope * trial.detach().square()
            twin.step()
        return trial.detach()

    try:
        together, apart = stepped((0.5, -2.0)), torch.cat([stepped((0.5,)), stepped((-2.0,))])
    except Exception as error:  # whatever an optimiser of another make raises
        raise GrowthError(
            f"{name} cannot step the entries of a tensor apart ({type(error).__name__}: {error}), which younger ones "
            "need; leave the optimiser out, and build a new one after the change of widths"
        ) from error
    if not torch.allclose(together, apart, rtol=1e-4, atol=1e-7):
        raise GrowthError(
            f"{name} steps each entry by what the whole tensor holds, so its state cannot follow a change of widths; "
            "leave the optimiser out, and build a new one afterwards"
        )


def _same_optimizer(optimizer: Optimizer, settings: Mapping[str, Any], parameters: list[nn.Parameter]) -> Optimizer:
    """A new optimiser of the same kind and settings for other parameters."""
    kind: Any = type(optimizer)
    accepted = inspect.signature(kind).parameters
    given = {key: value for key, value in optimizer.defaults.items() if key in accepted}
    twin: Optimizer = kind([{**settings, "params": parameters}], **given)
    return twin


def _place(labels: Tensor, number: int) -> Place:
    place: Place = (labels == number).nonzero(as_tuple=True)
    return place


def _entries(parameter: nn.Parameter, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state that has one entry for each of the parameter's."""
    return {
        key: value
        for key, value in state.items()
        if isinstance(value, Tensor) and value.dim() and value.shape == parameter.shape and key != COHORT
    }


@torch.no_grad()
def _step_apart(
    optimizer: Optimizer,
    group: Mapping[str, Any],
    places: Mapping[nn.Parameter, list[Place]],
    before: Mapping[nn.Parameter, list[dict[str, Tensor]]],
) -> None:
    """Undoes the step of young entries and does it anew, each cohort in a tensor of its own."""
    apart: list[tuple[nn.Parameter, int, nn.Parameter]] = []
    for parameter, cohorts in places.items():
        for number, place in enumerate(cohorts):
            own = nn.Parameter(before[parameter][number][""])
            own.grad = parameter.grad[place]  # type: ignore[index]
            apart.append((parameter, number, own))
    settings = {key: value for key, value in group.items() if key not in ("params", "param_names")}
    twin = _same_optimizer(optimizer, settings, [own for *_, own in apart])
    for parameter, number, own in apart:
        cohort = optimizer.state[parameter][COHORTS][number]
        if cohort["steps"]:
            entries = {key: value for key, value in before[parameter][number].items() if key}
            twin.state[own] = {**cohort["counters"], **entries}
    twin.step()
    for parameter, number, own in apart:
        state, place = optimizer.state[parameter], places[parameter][number]
        entries = _entries(own, twin.state[own])
        parameter.detach().index_put_(place, own.detach())
        for key, value in entries.items():
            state[key].index_put_(place, value)
        counters = {key: value for key, value in twin.state[own].items() if key not in entries}
        steps = state[COHORTS][number]["steps"] + 1
        state[COHORTS][number] = {"steps": steps, "counters": counters}
