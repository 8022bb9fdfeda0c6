"""Grows the kernels of sites, and cuts them back, without changing what a network computes when they grow.

    rings = grow_kernels_(net, {"layer1.0": 5}, mode="frozen", also=["head"])  # 3 → 5, zeros around what is trained
    optimizer = AdamW(trainable(net))                                         # the rings and the head alone; train
    net = fold_(net, x)                                                       # ordinary convolutions of 5 taps
    rings.undo_(net)                                                          # 3 again; the trained taps as before

Unfrozen rings are zeros in the network's own weights, which all learn. A request that cannot be met changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn
from torch.optim import Optimizer

from plastsearch.errors import GrowthError
from plastsearch.growth.dropin import AddedUnits
from plastsearch.growth.folding import fold_
from plastsearch.growth.freeze import freeze_base_, learning_under, new_parameters, wake_
from plastsearch.growth.kernels.rings import GrownKernel, Kernel, kernel_of, kernels_of, resize_kernel_, wider
from plastsearch.growth.optimizer import add_group_, refuse_state
from plastsearch.growth.paths import at, holder, is_grown, outer
from plastsearch.growth.resize import all_or_nothing
from plastsearch.growth.rules import ring_refused
from plastsearch.growth.site import Site, Slot, blocks_at
from plastsearch.growth.survey import find_sites, pick, refuse_shared

RING: Literal["ring"] = "ring"
Mode = Literal["frozen", "unfrozen"]


@dataclass(frozen=True)
class Rings:
    """What one call grew: kernels by the paths of their convolutions, before and after."""

    mode: Mode
    kernels: Mapping[str, int]  # site → taps asked for
    before: Mapping[str, Kernel]
    after: Mapping[str, Kernel]
    parameters: tuple[str, ...]  # that did not exist before (frozen)

    def left(self, keep: float) -> dict[str, Kernel]:
        """The kernels when this share of the rings stays; the outer ones go first."""
        return {
            path: tuple(
                small + 2 * round(keep * (large - small) / 2)
                for small, large in zip(self.before[path], kernel, strict=True)
            )
            for path, kernel in self.after.items()
        }

    def cut_(self, module: nn.Module, keep: float, optimizer: Optimizer | None = None) -> None:
        """Takes the outer part of the rings out of a network that holds no blocks any more."""
        set_kernels_(module, self.left(keep), optimizer)

    def undo_(self, module: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Takes out what this call added: a frozen base is bit for bit what it was, others keep what they learnt."""
        if self.mode == "frozen":
            fold_(module, verify=False)  # what folding adds goes at once
        self.cut_(module, 0.0, optimizer)


def grow_kernels_(
    module: nn.Module,
    kernels: Mapping[str, int],
    *,
    mode: Mode = "frozen",
    optimizer: Optimizer | None = None,
    also: Sequence[str] = (),
) -> Rings:
    """Grows the kernels of each site to so many taps; `also` names what learns beside the rings if frozen."""
    if mode not in ("frozen", "unfrozen"):
        raise GrowthError(f"unknown mode '{mode}'; known: frozen, unfrozen")
    if not kernels:
        raise GrowthError("no site was named whose kernel is to grow")
    sites = find_sites(module)
    before, after = _wanted(module, sites, kernels)
    also = (also,) if isinstance(also, str) else also
    learning_under(module, also)
    if optimizer is not None and mode == "unfrozen":
        refuse_state(optimizer, [at(module, path).weight for path in after])
    old = new_parameters(module)
    known = {id(parameter) for parameter in module.parameters()}
    with all_or_nothing(module, optimizer):
        if mode == "frozen":
            attach_rings_(module, after)
            new = {name for name in new_parameters(module) if name not in old}
            module.__dict__.setdefault("_dropins", []).append(AddedUnits(mode, RING, "into_new", dict(kernels)))
            freeze_base_(module, also)
        else:
            new = set()
            set_kernels_(module, after, optimizer)
            for name in kernels:
                wake_(module, _of_kernels(sites[name], after))
        if optimizer is not None:
            held = known if mode == "frozen" else {id(p) for group in optimizer.param_groups for p in group["params"]}
            awake = {name: one for name, one in module.named_parameters() if one.requires_grad and id(one) not in held}
            add_group_(optimizer, awake)
    return Rings(mode, dict(kernels), before, after, tuple(sorted(new)))


def attach_rings_(module: nn.Module, kernels: Mapping[str, Kernel]) -> None:
    """Puts a block with an empty ring around each of these convolutions."""
    for path, kernel in kernels.items():
        owner, name = holder(module, path)
        base = outer(module, path)
        block = GrownKernel(base, kernel)
        block.training = base.training
        setattr(owner, name, block)


def set_kernels_(module: nn.Module, kernels: Mapping[str, Kernel], optimizer: Optimizer | None = None) -> None:
    """Gives convolutions, by path, these kernels: zeros around what is there, or without its outer taps."""
    grown = [path for path in kernels if is_grown(outer(module, path))]
    if grown:
        raise GrowthError(f"{grown[0]} carries a grown block; fold the network first (growth.folding.fold_)")
    changed = {path: kernel for path, kernel in kernels.items() if kernel_of(at(module, path)) != kernel}
    for path, kernel in changed.items():
        resize_kernel_(at(module, path), kernel, optimizer)


def rings_wanted(module: nn.Module, kernels: Mapping[str, int]) -> tuple[dict[str, Kernel], dict[str, Kernel]]:
    """The kernels that a request would change, by path, before and after; one that cannot be met is refused."""
    return _wanted(module, find_sites(module), kernels)


def _wanted(
    module: nn.Module, sites: Mapping[str, Site], kernels: Mapping[str, int]
) -> tuple[dict[str, Kernel], dict[str, Kernel]]:
    before: dict[str, Kernel] = {}
    after: dict[str, Kernel] = {}
    wrong: list[str] = []
    for name, taps in kernels.items():
        try:
            site = pick(module, sites, name)
            own = kernels_of(module, site)
            reason = ring_refused(name, [size for kernel in own.values() for size in kernel], taps)
            if reason:
                raise GrowthError(reason)
            if blocks_at(module, site):
                raise GrowthError(f"site '{name}' carries grown blocks; fold the network before its kernel grows")
            refuse_shared(module, site)
            for path, kernel in own.items():
                wide = wider(kernel, taps)
                if after.setdefault(path, wide) != wide:
                    raise GrowthError(f"site '{name}': {path} belongs to two sites that ask for kernels of unlike size")
                before[path] = kernel
        except GrowthError as error:
            wrong.append(str(error))
    if wrong:
        raise GrowthError("\n".join(dict.fromkeys(wrong)))
    return before, {path: kernel for path, kernel in after.items() if kernel != before[path]}


def _of_kernels(site: Site, paths: Mapping[str, Kernel]) -> Site:
    """A site of the weights of its convolutions alone, to be woken."""
    own = [path for path in site.parts.values() if path in paths]
    return replace(site, slots=tuple(Slot(path, "weight", 0, "in") for path in dict.fromkeys(own)))
