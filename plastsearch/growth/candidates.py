"""Which sites would learn most from more neurons: the gradients that candidates there would see, and what they buy.

Candidates join a copy of the network in which they change nothing; a backward pass gives the gradients that they would
see. The squared norm over all candidates of a site, which is how fast they would lower the loss, is its score: for
`init="gradmax"` the sum of the largest squared singular values, since these candidates are the singular vectors.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from plastsearch.errors import GrowthError
from plastsearch.growth.dropin import Lateral, add_neurons_
from plastsearch.growth.folding import fold_
from plastsearch.growth.freeze import unfreeze_
from plastsearch.growth.gauge import by_unit
from plastsearch.growth.halving import Halving
from plastsearch.growth.initialise import Init, Shares
from plastsearch.growth.paths import at
from plastsearch.growth.site import Site, Slot
from plastsearch.growth.survey import find_sites, pick

Score = Literal["gradient", "natural"]


@dataclass(frozen=True)
class Promise:
    """What candidates at a site would see."""

    gradient: float  # norm over all of them
    score: float  # its square for one neuron, or that as a share of what the clips' gradients come to one by one
    portion: int  # neurons that can only come together
    most: int  # neurons that can come at once


def promises(
    module: nn.Module,
    names: Iterable[str],
    neurons: int,
    *,
    init: Init,
    score: Score,
    lateral: Lateral,
    losses: Callable[[nn.Module], Iterable[Shares]],
    steer: Callable[[nn.Module], Shares],
    generator: torch.Generator,
) -> dict[str, Promise]:
    """What up to `neurons` more would see at each of the sites; sites where no portion fits are left out.

    `losses` gives shares of a loss, some clips each, of the network it is handed: a copy, so `module` stays untouched.
    `steer` gives the loss that gradmax asks. `natural` divides by how unlike the gradients of these shares are.
    """
    twin = copy.deepcopy(module)
    unfreeze_(twin)
    fold_(twin, verify=False)
    known = find_sites(twin)
    portions = {name: _portion(pick(twin, known, name), init) for name in names}
    counts = {name: neurons // portion * portion for name, portion in portions.items()}
    counts = {name: _offered(twin, known[name], count, init) for name, count in counts.items()}
    counts = {name: count for name, count in counts.items() if count}
    if not counts:
        return {}
    loss = steer(twin) if init == "gradmax" else None
    added = add_neurons_(twin, counts, mode="unfrozen", init=init, lateral=lateral, generator=generator, loss=loss)
    sites = {name: site for name, site in find_sites(twin).items() if name in counts}
    found, spread = _gradients(twin, sites, added.units, lateral, losses(twin))
    made: dict[str, Promise] = {}
    for name, rows in found.items():
        square = float(rows.square().sum())
        natural = square / spread[name] if spread[name] else 0.0
        value = square / counts[name] if score == "gradient" else natural
        made[name] = Promise(square**0.5, value, portions[name], counts[name])
    return made


def spend(promised: Mapping[str, Promise], budget: int) -> dict[str, int]:
    """Neurons for each site, in the order of `promised`: in proportion to the scores, portion by portion.

    The next portion goes where the score over the neurons that would then be there is highest (D'Hondt's rule): a site
    whose gradients are as nothing beside another's gets none. Sites alike take turns, from the lowest up.
    """
    bought = dict.fromkeys(promised, 0)
    while True:
        open_to = {
            name: one.score / (bought[name] + one.portion)
            for name, one in promised.items()
            if one.portion <= budget and bought[name] + one.portion <= one.most
        }
        if not open_to:
            return {name: count for name, count in bought.items() if count}
        best = max(open_to, key=lambda name: (open_to[name], -bought[name]))
        bought[best] += promised[best].portion
        budget -= promised[best].portion


def _portion(site: Site, init: Init) -> int:
    return site.step * (2 if init == "pairs" else 1)


def _offered(module: nn.Module, site: Site, count: int, init: Init) -> int:
    """As many neurons as an init can make at once: gradmax has one direction for each output."""
    return (
        min(count, at(module, site.parts["out"]).out_features) if init == "gradmax" and "out" in site.parts else count
    )


def _gradients(
    module: nn.Module, sites: Mapping[str, Site], units: Mapping[str, int], lateral: Lateral, losses: Iterable[Shares]
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """For each site the new units' gradients, a row each, and the sum of their squares over the shares of the loss."""
    slots = {name: _learning(module, site, lateral) for name, site in sites.items()}
    tensors = {id(tensor): tensor for pairs in slots.values() for _, tensor in pairs}
    _only_these_learn_(module, tensors.values())
    halving = Halving()
    rows: dict[str, Tensor] = {}
    spread = dict.fromkeys(sites, 0.0)
    for share in losses:
        grads = halving(partial(_differentiate, share, tensors), share.most)
        for name, pairs in slots.items():
            units_now = sites[name].units
            parts = [by_unit(grads[id(t)].double(), slot, units_now)[-units[name] :].cpu() for slot, t in pairs]
            one = torch.cat(parts, 1)
            rows[name] = rows[name] + one if name in rows else one
            spread[name] += float(one.square().sum())
    wrong = [name for name, one in rows.items() if not bool(torch.isfinite(one).all())]
    if wrong or not rows:
        what = f"at {', '.join(wrong)} the gradients are not finite" if wrong else "no clips came"
        raise GrowthError(f"new neurons cannot be placed: {what}")
    return rows, spread


def _learning(module: nn.Module, site: Site, lateral: Lateral) -> list[tuple[Slot, nn.Parameter]]:
    """The entries of a site that learn with a new unit; its norm is left out, which scales what is counted already."""
    roles = {"in", "out"} | ({"recurrent"} if lateral == "both" else set())
    pairs = [(slot, getattr(at(module, slot.module), slot.tensor)) for slot in site.slots if slot.role in roles]
    return [(slot, tensor) for slot, tensor in pairs if isinstance(tensor, nn.Parameter)]


def _only_these_learn_(module: nn.Module, tensors: Iterable[nn.Parameter]) -> None:
    module.eval()
    for part in module.modules():
        if isinstance(part, nn.RNNBase) and part.dropout == 0:
            part.train()  # cuDNN differentiates recurrent layers in train mode only
    module.requires_grad_(False)
    for tensor in tensors:
        tensor.requires_grad_(True)


def _differentiate(share: Shares, tensors: Mapping[int, nn.Parameter], parts: int) -> dict[int, Tensor]:
    """Gradients of a share of the loss, taken in so many parts."""
    total = {key: torch.zeros_like(tensor) for key, tensor in tensors.items()}
    for loss in share.of(parts):
        found = torch.autograd.grad(loss, list(tensors.values()), allow_unused=True)
        for key, grad in zip(tensors, found, strict=True):
            if grad is not None:
                total[key] += grad
    return total
