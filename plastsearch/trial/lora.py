"""LoRA and AdaLoRA on the layers of sites, beside dropin or together with it: the only door to peft.

The rank is solved for a given number of trainable parameters. Since one rank for all layers leaves a remainder, some
layers get more; what still remains is reported as `residual`. Every adapter's scale is 1 (alpha = rank).
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from plastsearch.errors import GrowthError
from plastsearch.growth.dropin import Mode, add_neurons_
from plastsearch.growth.freeze import freeze_base_
from plastsearch.growth.kernels.grow import grow_kernels_
from plastsearch.growth.paths import at
from plastsearch.growth.recurrent.cells import RECURRENT
from plastsearch.growth.site import Site
from plastsearch.growth.survey import find_sites
from plastsearch.spec.config import TrialConfig

ADAPTER = "default"
FACTORS = (".lora_A.", ".lora_B.", ".lora_E.")  # in the names of parameters; E: singular values, of AdaLoRA alone


@dataclass(frozen=True)
class Target:
    """One weight that gets an adapter; `path` is a module, or a parameter of a recurrent layer."""

    path: str
    cost: int  # parameters per rank
    of_module: bool


@dataclass(frozen=True)
class AdaptersAdded:
    """Where adapters were put, and how near they come to what they are matched to."""

    sites: Sequence[str]
    ranks: Mapping[str, int]  # path of a weight → rank
    parameters: int
    matched_to: int | None  # parameters of the dropin; None where the rank was given
    residual: int | None


def add_lora_(module: nn.Module, config: TrialConfig) -> AdaptersAdded:
    """Adds adapters on the sites a configuration names, or on all sites.

    With `rank` unset they have as many parameters as the same configuration's dropin would add.
    """
    sites = find_sites(module)
    named = list(sites) if config.lora_on == "all" else list(config.growth()) or list(config.layers)
    if not named:
        raise GrowthError("lora on sites needs `layers`, or `lora_on: all`")
    chosen = by_depth(sites, named)
    targets = targets_of(module, [sites[name] for name in chosen])
    wanted = None if config.rank else dropin_parameters(module, config, config.regime)
    ranks = {target.path: config.rank for target in targets} if config.rank else solve_ranks(targets, wanted or 0)
    return _added(module, chosen, targets, ranks, wanted, inject_)


def add_adalora_(module: nn.Module, config: TrialConfig) -> AdaptersAdded:
    """Adds AdaLoRA's adapters on the sites of a growth: at the ranks they begin with they have its parameters."""
    sites = find_sites(module)
    chosen = by_depth(sites, list(config.growth()))
    wanted = dropin_parameters(module, config, config.regime)
    targets = [replace(one, cost=one.cost + 1) for one in targets_of(module, [sites[name] for name in chosen])]
    lacking = [target.path for target in targets if not target.of_module]
    if lacking:
        raise GrowthError(f"AdaLoRA adapts linear and convolution layers, not {lacking[0]}; use lora there")
    return _added(module, chosen, targets, solve_ranks(targets, wanted), wanted, inject_adalora_)


def by_depth(sites: Mapping[str, Site], names: Sequence[str]) -> list[str]:
    """Sites in the order of the network, however a configuration lists them: ties between ranks depend on it."""
    return sorted(names, key=lambda name: _known(sites, name).order)


Inject = Callable[[nn.Module, Sequence[Target], Mapping[str, int]], None]


def _added(
    module: nn.Module, sites: Sequence[str], targets: Sequence[Target], ranks: Mapping[str, int], wanted: int | None,
    inject: Inject,
) -> AdaptersAdded:  # fmt: skip
    used = {path: rank for path, rank in ranks.items() if rank}
    inject(module, targets, used)
    added = sum(parameter.numel() for parameter in lora_parameters(module))
    return AdaptersAdded(sites, used, added, wanted, None if wanted is None else wanted - added)


def dropin_parameters(module: nn.Module, config: TrialConfig, mode: Mode) -> int:
    """How many parameters the growth of a configuration adds, with its operator and lateral, in one regime."""
    growth = config.growth()
    if not growth:
        raise GrowthError("lora without `rank` matches a dropin: give `layers` and `neurons`, or a `rank`")
    copy = deepcopy(module)
    if config.operator == "ring":
        grow_kernels_(copy, growth, mode=mode)
        return count_parameters(copy) - count_parameters(module)
    # `init` is left out: the first values of new neurons do not change how many there are.
    add_neurons_(
        copy, growth, mode=mode, operator=config.operator, lateral=config.lateral,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    return count_parameters(copy) - count_parameters(module)


def count_parameters(module: nn.Module) -> int:
    """All parameters of a network."""
    return sum(parameter.numel() for parameter in module.parameters())


def targets_of(module: nn.Module, sites: Sequence[Site]) -> list[Target]:
    """The weights behind some sites: linear and convolution layers, the weights of recurrent layers."""
    real = {id(part): path for path, part in module.named_modules()}  # through the grown blocks around a layer
    found: dict[str, Target] = {}
    for site in sites:
        for slot in site.slots:
            layer = at(module, slot.module)
            weight = getattr(layer, slot.tensor)
            if isinstance(layer, RECURRENT) and site.parts.get("recurrent") == slot.module and weight.dim() == 2:
                path = f"{slot.module}.{slot.tensor}"
                found[path] = Target(path, weight.shape[0] + weight.shape[1], of_module=False)
            elif (
                site.kind != "hidden"
                and slot.tensor == "weight"
                and isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)
            ):
                found[slot.module] = Target(real[id(layer)], weight.shape[0] + weight[0].numel(), of_module=True)
    return list(found.values())


def solve_ranks(targets: Sequence[Target], wanted: int) -> dict[str, int]:
    """Ranks with less than one more rank of the cheapest layer left over: one rank for all, more for some."""
    total = sum(target.cost for target in targets)
    common, left = divmod(wanted, total)
    ranks = {target.path: common for target in targets}
    dearest_first = sorted(targets, key=lambda target: -target.cost)
    while left >= dearest_first[-1].cost:
        for target in dearest_first:
            if target.cost <= left:
                ranks[target.path] += 1
                left -= target.cost
    if not any(ranks.values()):
        cheapest = min(target.cost for target in targets)
        raise GrowthError(
            f"lora cannot match {wanted} parameters: rank 1 on the cheapest layer already has {cheapest}; "
            "give more neurons to match, or a `rank`"
        )
    return ranks


def ranks_within(targets: Sequence[Target], wanted: int) -> dict[str, int]:
    """The same, and no rank at all where there is no room for one."""
    room = wanted >= min(target.cost for target in targets)
    return solve_ranks(targets, wanted) if room else dict.fromkeys((target.path for target in targets), 0)


def inject_(module: nn.Module, targets: Sequence[Target], ranks: Mapping[str, int]) -> None:
    """Puts adapters in place; their second factor is zero, so that the function does not change."""
    from peft import LoraConfig

    used = [target for target in targets if target.path in ranks]
    config = LoraConfig(
        r=1,
        lora_alpha=1,
        target_modules=[target.path for target in used if target.of_module],
        target_parameters=[target.path for target in used if not target.of_module],
        rank_pattern=dict(ranks),
        alpha_pattern=dict(ranks),
        lora_dropout=0.0,
    )
    _inject_(module, config)
    _check_ranks(module, ranks)


def inject_adalora_(module: nn.Module, targets: Sequence[Target], ranks: Mapping[str, int]) -> None:
    """The same with AdaLoRA's three factors; their singular values are zero, so that the function does not change."""
    from peft import AdaLoraConfig

    paths = [target.path for target in targets if target.path in ranks]
    # When ranks are taken away is told to the allocator (`rank_allocator`), which knows how long training lasts.
    config = AdaLoraConfig(init_r=1, target_r=1, total_step=1, lora_alpha=1, target_modules=paths, lora_dropout=0.0)
    _inject_(module, config)
    for path, adapter in _adapters(module):
        adapter.update_layer(ADAPTER, ranks[path], ranks[path], config=config)  # PEFT begins with one rank for all
    _check_ranks(module, ranks)


def rank_allocator(module: nn.Module, steps: int, first: int, last: int, target: int) -> Any:
    """PEFT's allocator: from step `first` until `last` steps before the end it takes ranks away, all but `target`."""
    from peft import AdaLoraConfig
    from peft.tuners.adalora.layer import RankAllocator

    config = AdaLoraConfig(total_step=steps, tinit=first, tfinal=last, deltaT=1)
    found = RankAllocator(module, config, ADAPTER)
    found.target_bgt = target  # PEFT's own is a whole number for each layer
    return found


def _inject_(module: nn.Module, config: Any) -> None:
    """What learnt before learns on."""
    from peft import inject_adapter_in_model

    if any(True for _ in _adapters(module)):
        raise GrowthError("the network has LoRA adapters already; merge them first")
    flags = {name: parameter.requires_grad for name, parameter in module.named_parameters()}
    with warnings.catch_warnings():
        # It looks for the ranks of parameters among the modules alone; whether each was heeded is checked below.
        warnings.filterwarnings("ignore", "The following rank_pattern|The following alpha_pattern", RuntimeWarning)
        inject_adapter_in_model(config, module, ADAPTER)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(flags.get(name.replace(".base_layer", ""), True))


def _check_ranks(module: nn.Module, ranks: Mapping[str, int]) -> None:
    found = dict(_found_ranks(module))
    if found != dict(ranks):
        raise GrowthError(f"peft placed adapters at {found}, where {dict(ranks)} was asked for")


def lora_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The adapters' own parameters."""
    return [parameter for name, parameter in module.named_parameters() if _is_adapter(name)]


def learn_lora_(module: nn.Module, head: Sequence[str] = ()) -> list[str]:
    """Only adapters and head learn, with all that frozen means for the rest; returns what learns."""
    learning = freeze_base_(module, head)
    for name, parameter in module.named_parameters():
        if _is_adapter(name):
            parameter.requires_grad_(True)
            learning.append(name)
    return learning


def merge_lora_(module: nn.Module) -> None:
    """Adds the adapters to the weights and takes them away: an ordinary network with the same function."""
    for path, adapter in list(_adapters(module)):
        parent, _, name = path.rpartition(".")
        if hasattr(adapter, "unload_and_optionally_merge_module"):
            base = adapter.unload_and_optionally_merge_module(merge=True, safe_merge=True, adapter_names=None)
        else:
            adapter.merge(safe_merge=True)
            base = adapter.get_base_layer()
        if isinstance(base, nn.RNNBase):
            # peft takes a parameter out and puts it back last at each forward pass.
            names = base._flat_weights_names
            base._parameters.update({key: base._parameters.pop(key) for key in names})
        setattr(module.get_submodule(parent), name, base)
    if hasattr(module, "peft_config"):
        del module.peft_config


def _known(sites: Mapping[str, Site], name: str) -> Site:
    if name not in sites:
        raise GrowthError(f"no site '{name}'; the network has {', '.join(sites)}")
    return sites[name]


def _adapters(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Outermost adapters; those of one recurrent layer are nested."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, part in module.named_modules():
        if isinstance(part, BaseTunerLayer) and not path.endswith("base_layer"):
            yield path, part


def _found_ranks(module: nn.Module) -> Iterator[tuple[str, int]]:
    for path, part in _adapters(module):
        layer = part
        while hasattr(layer, "lora_A"):
            name = getattr(layer, "parameter_name", None)
            yield (f"{path}.{name}" if name and name != "weight" else path), layer.r[ADAPTER]
            layer = layer.base_layer


def _is_adapter(name: str) -> bool:
    return any(factor in name for factor in FACTORS)
