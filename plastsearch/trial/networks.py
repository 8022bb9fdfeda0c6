"""The network of a trial: how it is built, what each stage changes in it, and what learns in each stage."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor, nn

from plastsearch.growth.dropin import Dropin, Mode, Operator, add_neurons_
from plastsearch.growth.folding import fold_
from plastsearch.growth.freeze import freeze_base_, new_parameters, train_sites_, unfreeze_
from plastsearch.growth.kernels.grow import RING, Rings, grow_kernels_
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build
from plastsearch.models.detector import HEAD_CUT, Detector
from plastsearch.models.seeding import seeded
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.model import ModelConfig
from plastsearch.trial.adapters import BothAdded, neurons_beside
from plastsearch.trial.keys import derive_seed, weights_id
from plastsearch.trial.lora import (
    AdaptersAdded,
    add_adalora_,
    add_lora_,
    by_depth,
    dropin_parameters,
    inject_,
    learn_lora_,
    lora_parameters,
    ranks_within,
    targets_of,
)
from plastsearch.trial.methods import Stage

LAST_K = 2  # blocks that `last_k` trains where the configuration does not say


@dataclass(frozen=True)
class NeuronsAdded:
    """What growth added at each site."""

    sites: Mapping[str, int]  # neurons
    units: Mapping[str, int]
    operator: Operator


@dataclass(frozen=True)
class KernelsGrown:
    """To how many taps growth brought the kernels of each site."""

    kernels: Mapping[str, int]
    operator: str


@dataclass(frozen=True)
class NeuronsPlaced(NeuronsAdded):
    """What one insertion of several added, and why there."""

    at_step: int  # optimiser steps of the trial before it
    gradients: Mapping[str, float]  # norm of the gradient that new neurons would see, at each candidate
    budget: int  # neurons that were due by now and not there yet
    unspent: int  # of these, because no site has units as small


@dataclass(frozen=True)
class BlocksKept:
    """How many blocks are left of a truncated network."""

    blocks: int


Changed = NeuronsAdded | KernelsGrown | AdaptersAdded | BothAdded | BlocksKept  # what a `dropin` stage did to a network


@dataclass
class TrialNetwork:
    """A network on its way through the stages, and what has been done to it."""

    module: Detector
    added: dict[str, int] = field(default_factory=dict)  # site → units that dropin added
    rings: Rings | None = None  # around kernels, instead of neurons
    grown: tuple[str, ...] = ()  # sites, or blocks, that dropin changed
    placed: list[dict[str, int]] = field(default_factory=list)  # neurons by site, for each insertion of several
    adapters: bool = False  # LoRA's, beside the weights of the sites


def new_network(config: TrialConfig) -> TrialNetwork:
    """The network before its first stage: random weights, or those that `model.from` names."""
    seed = derive_seed(config.seed, "weights")
    module = copy.deepcopy(_template(config.model, weights_id(config.model.from_), config.data.rate_hz, seed))
    return TrialNetwork(module)


@lru_cache(maxsize=1)
def _template(model: ModelConfig, _weights: str, rate_hz: int, seed: int) -> Detector:
    """Kept: a trial builds its network some four times, most trials of a sweep share it, and a copy costs less."""
    return build(source=model.from_, rate_hz=rate_hz, seed=seed, **model.model_dump(exclude={"from_"}))


def blank(
    config: TrialConfig,
    stages: Sequence[Stage],
    device: torch.device,
    chosen: Sequence[Mapping[str, int]] = (),
    start: Detector | None = None,
) -> TrialNetwork:
    """A network shaped as it is after these stages; its weights are not theirs.

    `chosen`: the sites that each insertion has found, which no configuration tells. `start`: the network before its
    first stage, where it is known without the weights that `model.from` names.
    """
    left = iter(chosen)
    network = new_network(config) if start is None else TrialNetwork(start)
    network.module.to(device)
    for stage in stages:
        if stage.change == "remove":
            fold_(network.module, verify=False)  # only the shapes are wanted here
            if network.rings:
                network.rings.cut_(network.module, config.keep)
            remove_(network, {name: _newest(network, name, to_remove(network, config, name)) for name in network.added})
        elif stage.change == "seek":
            place_(network, config, stage, next(left))
        else:
            change_(network, config, stage)
    return network


def change_(
    network: TrialNetwork, config: TrialConfig, stage: Stage, loss: Callable[[], Tensor] | None = None
) -> Changed | None:
    """What a `dropin` stage does to the network; None of a stage that changes no shape.

    `loss` serves gradmax, which without it is left at random values: the same shapes.
    """
    seed = derive_seed(config.seed, "dropin")
    match stage.change:
        case "neurons" if config.operator == RING:
            network.rings = grow_kernels_(network.module, config.growth(), mode=config.regime)
            network.grown = tuple(name for name in find_sites(network.module) if name in network.rings.kernels)
            return KernelsGrown({name: network.rings.kernels[name] for name in network.grown}, RING)
        case "neurons":
            assert config.operator != "ring"
            return _grow_(network, config, config.growth(), config.operator, config.regime, loss)
        case "layers":
            return _grow_(network, config, config.growth(), "stack", config.regime, loss)
        case "lora_growth":
            return _grow_with_adapters_(network, config, loss)
        case "lora" | "adalora":
            add_ = add_lora_ if stage.change == "lora" else add_adalora_
            with seeded(seed):
                added = add_(network.module, config)
            network.grown = tuple(added.sites)
            network.adapters = True
            return added
        case "truncate":
            count = config.truncate_to or max(1, len(network.module.layers()) // 2)
            with seeded(seed):
                network.module.truncate_(count)
            return BlocksKept(count)
        case _:
            return None


def _grow_(
    network: TrialNetwork,
    config: TrialConfig,
    neurons: Mapping[str, int],
    operator: Operator,
    mode: Mode,
    loss: Callable[[], Tensor] | None,
) -> NeuronsAdded:
    dropin = _add_(network, config, neurons, operator, mode, loss, derive_seed(config.seed, "dropin"))
    # By depth, however the configuration lists them: keys do not tell the order, so nothing may depend on it.
    network.added = {name: dropin.units[name] for name in dropin.neurons}
    network.grown = tuple(network.added)
    return NeuronsAdded(dropin.neurons, dropin.units, operator)


def _add_(
    network: TrialNetwork,
    config: TrialConfig,
    neurons: Mapping[str, int],
    operator: Operator,
    mode: Mode,
    loss: Callable[[], Tensor] | None,
    seed: int,
) -> Dropin:
    init = "random" if config.init == "gradmax" and loss is None else config.init
    return add_neurons_(
        network.module, neurons, mode=mode, operator=operator, init=init, lateral=config.lateral,
        generator=torch.Generator().manual_seed(seed), loss=loss,
    )  # fmt: skip


def place_(
    network: TrialNetwork,
    config: TrialConfig,
    stage: Stage,
    sites: Mapping[str, int],
    loss: Callable[[], Tensor] | None = None,
) -> dict[str, int]:
    """One insertion of several; returns the units it added."""
    assert stage.part is not None
    units: Mapping[str, int] = {}
    if sites:  # a share of the budget may be less than any site's smallest unit
        seed = derive_seed(config.seed, "dropin", stage.part.number)
        units = _add_(network, config, sites, "widen", config.regime, loss, seed).units
    network.placed.append(dict(sites))
    total = {name: network.added.get(name, 0) + units.get(name, 0) for name in find_sites(network.module)}
    network.added = {name: count for name, count in total.items() if count}
    # All candidates, so that below the lowest of them every part reads the same, and activations kept there serve all.
    candidates = config.growth()
    network.grown = tuple(name for name in total if name in candidates)
    return dict(units)


def _grow_with_adapters_(network: TrialNetwork, config: TrialConfig, loss: Callable[[], Tensor] | None) -> BothAdded:
    """Neurons first, so that they are drawn as in a dropin; adapters get what these leave of the budget."""
    module = network.module
    before = sum(parameter.numel() for parameter in module.parameters())
    sites = find_sites(module)
    names = by_depth(sites, list(config.growth()))
    wanted = dropin_parameters(module, config, "frozen")
    assert config.operator != "ring"  # refused before (trial/methods.py)
    neurons = neurons_beside(config, sites)
    grown = _grow_(network, config, neurons, config.operator, "frozen", loss) if neurons else None
    spent = sum(parameter.numel() for parameter in module.parameters()) - before
    targets = targets_of(module, [sites[name] for name in names])
    ranks = {path: rank for path, rank in ranks_within(targets, wanted - spent).items() if rank}
    if ranks:
        with seeded(derive_seed(config.seed, "dropin")):
            inject_(module, targets, ranks)
    network.adapters = bool(ranks)
    network.grown = tuple(names)
    own = sum(parameter.numel() for parameter in lora_parameters(module))
    return BothAdded(
        grown.sites if grown else {}, grown.units if grown else {}, config.operator, ranks,
        matched_to=wanted, parameters=spent + own, adapter_parameters=own, residual=wanted - spent - own,
    )  # fmt: skip


def to_remove(network: TrialNetwork, config: TrialConfig, name: str) -> int:
    """Units that prune takes from a site: what dropin added, but for the share that is to stay."""
    added = network.added[name]
    stays = round(added * config.keep)
    return added - (stays + stays % 2 if config.init == "pairs" and stays < added else stays)


def remove_(network: TrialNetwork, chosen: dict[str, Tensor], means: dict[str, Tensor] | None = None) -> dict[str, int]:
    """Take units out of an ordinary (folded) network; returns the neurons left at each site."""
    for name in chosen:
        network.added[name] -= len(chosen[name])
    return remove_neurons_(network.module, chosen, means=means)


def _newest(network: TrialNetwork, name: str, count: int) -> Tensor:
    units = find_sites(network.module)[name].units
    return torch.arange(units - count, units)


def head_of(module: Detector) -> list[str]:
    """The head's modules that have anything to learn; they learn in every arm alike."""
    return [name for name in module.head_modules() if any(True for _ in module.get_submodule(name).parameters())]


def learn_(network: TrialNetwork, config: TrialConfig, stage: Stage) -> str | None:
    """Set what learns in a stage; returns the highest cut below it, or None if everything learns."""
    module = network.module
    module.checkpoint_layers = config.train.checkpoint_layers
    if stage.learns == "all":
        return learn_all_(module, config.train.train_stem)
    head = head_of(module) if config.train.train_head else []
    match stage.learns:
        case "new":
            if network.adapters:
                learn_lora_(module, head)
            else:
                freeze_base_(module, head)
            return module.cut_below(network.grown)
        case "sites":
            train_sites_(module, network.grown, head)
            return module.cut_below(network.grown)
        case "top":
            count = config.last_k or LAST_K
            top = module.layers()[-count:]
            freeze_base_(module, [*_paths(module, top), *head])
            return top[0][0]
        case _:
            raise ValueError(f"{stage.name} does not train")


def learn_all_(module: Detector, stem: bool) -> str | None:
    """All that is there learns, or all from the first block on."""
    if stem:
        unfreeze_(module)
        return None
    blocks = module.blocks()
    freeze_base_(module, [*_paths(module, blocks), *module.top_modules(), *head_of(module)])
    return blocks[0][0]


def _paths(module: Detector, blocks: Sequence[tuple[str, nn.Module]]) -> list[str]:
    paths = {id(part): path for path, part in module.named_modules()}
    return [paths[id(block)] for _, block in blocks]


def lr_factors(module: Detector, config: TrialConfig, stage: Stage) -> dict[str, float]:
    """What each parameter's learning rate is a multiple of, where that is not the one of the trial: name → factor."""
    train = config.train
    apart = "newborn_lr_ratio" in stage.newborn and config.newborn_lr_ratio != 1
    # New entries inside larger tensors get theirs around each step (training/upbringing.py).
    newborn = dict.fromkeys(new_parameters(module), config.newborn_lr_ratio) if apart else {}
    if train.encoder_lr_ratio == train.layer_decay == 1:
        return newborn
    blocks = module.blocks()
    # What is in no block lies below all of them, but for the norms behind the last.
    level = {id(p): number for number, (_, block) in enumerate(blocks) for p in block.parameters()}
    above = {id(p): len(blocks) - 1 for name in module.top_modules() for p in module.get_submodule(name).parameters()}
    depth = level | above
    head = {id(p) for name in module.head_modules() for p in module.get_submodule(name).parameters()}
    return {
        name: train.encoder_lr_ratio
        * train.layer_decay ** (len(blocks) - 1 - depth.get(id(p), -1))
        * newborn.get(name, 1.0)
        for name, p in module.named_parameters()
        if id(p) not in head
    }


def train_mode_(module: Detector, cut: str | None) -> None:
    """Train mode above the cut; below it eval mode, in which nothing is random and nothing drifts."""
    if cut is None:
        module.train()
        return
    module.eval()
    above = [] if cut == HEAD_CUT else module.blocks()[module.cuts().index(cut) :]
    parts: Iterator[nn.Module] = (part for _, part in above)
    for part in (*parts, *(module.get_submodule(name) for name in module.head_modules()), module.head_dropout):
        part.train()


def logits_from_wave(module: Detector, cut: str | None) -> Callable[[Tensor], Tensor]:
    """Logits with no graph below the cut."""
    if cut is None:
        return module

    def cut_in_two(wave_BT: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = module.prefix(wave_BT, cut)
        return module.suffix(hidden, cut)

    return cut_in_two


def load_weights(network: TrialNetwork, tensors: dict[str, Tensor]) -> None:
    """Every stored tensor has its place, and every place its tensor."""
    network.module.load_state_dict(tensors, strict=True)
