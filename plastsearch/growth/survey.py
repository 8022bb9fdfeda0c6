"""Finds the sites of a network: those it declares, else those of a known family; and why others cannot change width.

Only a layer that is what its class says, with weights and a forward of its own, can change its width. A weight that is
computed from others (weight norm, spectral norm, pruning masks, packed or quantised weights) has entries that belong to
no neuron alone, and a forward of a subclass's own may read them in another way.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from plastsearch.errors import GrowthError
from plastsearch.growth.families.found import recognise
from plastsearch.growth.paths import at
from plastsearch.growth.recurrent.cells import RECURRENT, cell_of
from plastsearch.growth.site import WAVLM_REFUSED, Refusal, Site, layers_of

# Names that people try for the width that all layers share.
_RESIDUAL_STREAM = re.compile(r"(stream|residual|hidden_size|hidden|embed_dim|d_model)$|^encoder(\.\d+)?$")


def find_sites(module: nn.Module) -> dict[str, Site]:
    """All sites of a network that can change their width by name, the earliest computed first."""
    sites, refused = survey(module)
    if refused and not sites:
        raise GrowthError("\n".join(dict.fromkeys(refused.values())))
    return sites


def survey(module: nn.Module) -> tuple[dict[str, Site], dict[str, str]]:
    """The sites of a network, and the names that cannot be sites with the reasons: one part does not block the rest."""
    factory: Any = module.__dict__.get("_site_factory")
    if factory is not None:
        sites = factory(module)
    elif hasattr(module, "declare_sites"):
        declare: Any = module.declare_sites
        sites = declare()
    else:
        sites = recognise(module)
    found: dict[str, Site] = {}
    refused = {one.name: one.reason for one in sites if isinstance(one, Refusal)}
    for site in sorted((one for one in sites if isinstance(one, Site)), key=lambda site: site.order):
        if site.name in found or site.name in refused:
            raise GrowthError(f"site '{site.name}' is declared twice in {type(module).__name__}")
        reason = next(filter(None, (layer_refused(at(module, path), path) for path in layers_of(site))), None)
        if reason is None:
            found[site.name] = site
        else:
            refused[site.name] = f"site '{site.name}' cannot change its width: {reason}"
    return found, refused


def pick(root: nn.Module, sites: Mapping[str, Site], name: str) -> Site:
    """The site of a name, or an error that lists the sites there are."""
    if name in sites:
        return sites[name]
    refused = survey(root)[1]
    if name in refused:
        raise GrowthError(refused[name])
    reason = ""
    if _RESIDUAL_STREAM.search(name):
        reason = (
            ": the residual stream cannot grow without changing the function, since LayerNorm averages over the stream "
            "and new channels would move its mean and variance; grow an inner width"
        )
    if name.endswith((".attention", ".head_width")) and any(hasattr(m, "gru_rel_pos_const") for m in root.modules()):
        reason = f": {WAVLM_REFUSED}"
    raise GrowthError(f"no site '{name}' in {type(root).__name__}{reason}; its sites: {', '.join(sites)}")


_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_TENSORS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("weight", "bias"),
    nn.Conv1d: ("weight", "bias"),
    nn.Conv2d: ("weight", "bias"),
    nn.BatchNorm1d: _NORM,
    nn.BatchNorm2d: _NORM,
    nn.GRU: (),  # as many as it has layers and directions; it keeps their names
    nn.LSTM: (),
}


def layer_refused(layer: nn.Module, path: str) -> str | None:
    """Why the layer at a path cannot change its width, with a way out, or None."""
    kind = next((kind for kind in _TENSORS if isinstance(layer, kind)), None)
    if kind is None:
        return None
    names = tuple(layer._flat_weights_names) if isinstance(layer, RECURRENT) else _TENSORS[kind]
    held = {**layer._parameters, **layer._buffers}
    computed = [name for name in names if name not in held]
    if is_parametrized(layer):
        parametrized: Any = layer.parametrizations
        computed += [name for name in parametrized if name not in computed]
    if computed:
        return (
            f"the {computed[0]} of {path} is computed from other tensors (weight norm, spectral norm, a pruning mask), "
            "so its entries belong to no neuron alone; make it plain first, as with "
            f"torch.nn.utils.parametrize.remove_parametrizations(layer, '{computed[0]}')"
        )
    extra = [name for name, tensor in held.items() if tensor is not None and name not in names]
    if extra:
        return f"{path} holds a tensor '{extra[0]}' that a {kind.__name__} does not have, and which would not grow too"
    if any(getattr(type(layer), name, None) is not getattr(kind, name, None) for name in ("forward", "_conv_forward")):
        return (
            f"{path} is a {type(layer).__name__} with a forward of its own, so what grows beside it would not be what "
            f"it computes; put an ordinary {kind.__name__} there"
        )
    if not _as_wide_as_said(layer):
        return f"the weights of {path} do not have the shape that it says, or are no floats; growth needs plain weights"
    return None


def _as_wide_as_said(layer: nn.Module) -> bool:
    """Whether the tensors have the plain class's shapes; packed and lazy weights do not."""
    wanted: dict[str, tuple[int, ...]]
    match layer:
        case nn.Linear():
            wanted = {"weight": (layer.out_features, layer.in_features), "bias": (layer.out_features,)}
        case nn.Conv1d() | nn.Conv2d():
            kernel = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
            wanted = {"weight": kernel, "bias": (layer.out_channels,)}
        case nn.GRU() | nn.LSTM():
            below = layer.hidden_size * (2 if layer.bidirectional else 1)
            wanted = dict.fromkeys(layer._flat_weights_names, (cell_of(layer).gates * layer.hidden_size,))
            for name in wanted:
                if name.startswith("weight_hh"):
                    wanted[name] += (layer.hidden_size,)
                elif name.startswith("weight_ih"):
                    wanted[name] += (layer.input_size if name.startswith("weight_ih_l0") else below,)
        case _:
            return True
    tensors = [(getattr(layer, name), shape) for name, shape in wanted.items() if getattr(layer, name) is not None]
    return all(_plain(tensor) and tuple(tensor.shape) == shape for tensor, shape in tensors)


def _plain(tensor: Tensor) -> bool:
    return not torch.nn.parameter.is_lazy(tensor) and tensor.is_floating_point()


def refuse_shared(root: nn.Module, site: Site) -> None:
    """An error if a layer of the site, or a weight of one, also stands elsewhere; whole blocks may be used again."""
    paths = dict.fromkeys([*(slot.module for slot in site.slots), *site.parts.get("attention", "").split()])
    layers = {id(at(root, path)): path for path in paths}
    weights = {id(p): path for path in paths for p in at(root, path).parameters(recurse=False)}
    for where, module in root.named_modules():
        for tensor in module._parameters.values():
            if id(tensor) in weights and id(module) not in layers:
                _refuse(site, f"a weight of {weights[id(tensor)]} is also one of {where}")
    homes: dict[int, str] = {}
    for where, parent in root.named_modules():
        for name, child in parent._modules.items():
            here = f"{where}.{name}".lstrip(".")
            if id(child) in layers and homes.setdefault(id(child), here) != here:
                _refuse(site, f"{homes[id(child)]} is also {here}")
    if len(weights) < sum(1 for path in paths for _ in at(root, path).parameters(recurse=False)):
        _refuse(site, "two of its own layers share a weight")


def _refuse(site: Site, what: str) -> None:
    raise GrowthError(
        f"site '{site.name}' cannot change its width: {what}, which would have to change too; "
        "give each place weights of its own, or share whole blocks"
    )
