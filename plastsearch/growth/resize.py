"""Widens and narrows ordinary modules in place, entry by entry along the unit map: as a whole or not at all.

Attributes and optimiser follow. Requests are refused before anything is touched; `all_or_nothing` is for what nobody
foresees, such as memory that runs out half way.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from plastsearch.growth.optimizer import Remap, swap_
from plastsearch.growth.paths import at
from plastsearch.growth.site import Site, Slot

Network = TypeVar("Network", bound=nn.Module)
Values = dict[Slot, Tensor]  # for each slot the entries of new units, gate-major like the slot itself


def widen_(root: nn.Module, site: Site, values: Values, optimizer: Optimizer | None = None) -> None:
    """Appends new units to a site; `values` holds their entries for each slot."""
    for slot in site.slots:
        new = values[slot]

        def grow(tensor: Tensor, fill: float | None, slot: Slot = slot, new: Tensor = new) -> Tensor:
            return insert(tensor, new.to(tensor) if fill is None else torch.full_like(new, fill).to(tensor), slot)

        replace_(at(root, slot.module), slot.tensor, grow, optimizer)
    sync_(root, site)


def narrow_(root: nn.Module, site: Site, keep: Tensor, optimizer: Optimizer | None = None) -> None:
    """Leaves the units `keep` of a site, in that order; a permutation of all units reorders them."""
    for slot in site.slots:
        module = at(root, slot.module)

        def select(tensor: Tensor, _: float | None, slot: Slot = slot) -> Tensor:
            index = entries(slot, site.units, keep, tensor.shape[slot.dim])
            return tensor.index_select(slot.dim, index.to(tensor.device))

        replace_(module, slot.tensor, select, optimizer)
    sync_(root, site)


def parameters_of(root: nn.Module, site: Site) -> list[nn.Parameter]:
    """The parameters that a change of a site's width replaces."""
    tensors = [getattr(at(root, slot.module), slot.tensor) for slot in site.slots]
    return [tensor for tensor in tensors if isinstance(tensor, nn.Parameter)]


def insert(old: Tensor, new: Tensor, slot: Slot) -> Tensor:
    """The old entries with the new units' appended inside each gate, and what lies outside the slot left in place."""
    dim = slot.dim
    first = slot.offset
    head, body = old.narrow(dim, 0, first), old.narrow(dim, first, old.shape[dim] - first)
    parts = [unflatten(part, dim, (slot.gates, -1)) for part in (body, new)]
    return torch.cat([head, torch.cat(parts, dim + 1).flatten(dim, dim + 1)], dim)


def unflatten(tensor: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Tensor.unflatten, which torch leaves without types."""
    split: Tensor = tensor.unflatten(dim, sizes)  # type: ignore[no-untyped-call]
    return split


def entries(slot: Slot, units: int, chosen: Tensor, size: int) -> Tensor:
    """Indices along the slot's dimension: what lies before it, then the chosen units' entries."""
    gate = torch.arange(slot.gates).view(-1, 1, 1) * units
    each = (gate + chosen.cpu().view(1, -1, 1)) * slot.width + torch.arange(slot.width)
    after = torch.arange(slot.offset + slot.gates * units * slot.width, size)
    return torch.cat([torch.arange(slot.offset), each.flatten() + slot.offset, after])


def sync_(root: nn.Module, site: Site) -> None:
    """Sets the attributes that repeat the widths, as a module built at this size would have them."""
    for path in {slot.module: None for slot in site.slots}:
        sync_module_(at(root, path))
    if "chunk_width" in site.parts:
        owner, _, attribute = site.parts["chunk_width"].rpartition(".")
        setattr(at(root, owner), attribute, at(root, site.parts["chunk.0"]).weight.shape[0])
    if "attention" in site.parts:
        attention = at(root, site.parts["attention"])
        rows = at(root, f"{site.parts['attention']}.q_proj").weight.shape[0]
        if site.kind == "head_width":
            attention.head_dim = rows // site.step  # `scaling` stays: another scale would change the function
        elif hasattr(attention, "num_heads"):
            attention.num_heads = rows // attention.head_dim


def pack_recurrent_(module: Network) -> Network:
    """Lays each recurrent layer's weights side by side again, as cuDNN wants them: in a copy every tensor is apart."""
    for part in module.modules():
        if isinstance(part, nn.RNNBase):
            part.flatten_parameters()
    return module


def sync_module_(module: nn.Module) -> None:
    """Sets one module's widths from its tensors."""
    for kind, update in _SYNC.items():
        if isinstance(module, kind):
            update(module)


def replace_(
    module: nn.Module, name: str, change: Callable[[Tensor, float | None], Tensor], optimizer: Optimizer | None
) -> None:
    """Puts a changed tensor in the place of one, and its state in an optimiser likewise."""
    old = getattr(module, name)
    tensor = change(old.detach(), None).contiguous()
    if not isinstance(old, nn.Parameter):
        setattr(module, name, tensor)
        return
    # Another parameter rather than another size of this one: optimisers keep their state by its identity.
    new = nn.Parameter(tensor, requires_grad=old.requires_grad)
    setattr(module, name, new)
    if optimizer is not None:
        remap: Remap = change
        swap_(optimizer, old, new, remap)


def _linear(module: nn.Linear) -> None:
    module.out_features, module.in_features = module.weight.shape


def _conv(module: nn.Conv1d | nn.Conv2d) -> None:
    module.out_channels, module.in_channels = module.weight.shape[:2]


def _norm(module: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    module.num_features = next(t for t in (module.weight, module.running_mean) if t is not None).shape[0]


def _recurrent(module: nn.GRU | nn.LSTM) -> None:
    weight_ih, weight_hh = module.all_weights[0][:2]
    module.hidden_size = weight_hh.shape[1]
    module.input_size = weight_ih.shape[1]
    module.flatten_parameters()


_SYNC: dict[type, Callable[[Any], None]] = {
    nn.Linear: _linear,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.GRU: _recurrent,
    nn.LSTM: _recurrent,
}


@contextmanager
def all_or_nothing(
    module: nn.Module, optimizer: Optimizer | None = None, generator: torch.Generator | None = None
) -> Iterator[None]:
    """Undoes what happens within if it raises; tensors within may be replaced, but not written into."""
    back: list[Callable[[], Any]] = [
        step for part in module.modules() for step in (_class_of(part), _contents(part.__dict__))
    ]
    back += [_parameter(parameter) for parameter in module.parameters()]
    if optimizer is not None:
        back.append(_contents(optimizer.__dict__))
        back += [_contents(group) for group in optimizer.param_groups]
        back += [_contents(state) for state in optimizer.state.values() if isinstance(state, dict)]
    # A request that failed has drawn nothing, so that the next one gets the values this one would have had.
    source = generator or torch.default_generator
    back.append(partial(source.set_state, source.get_state()))
    try:
        yield
    except BaseException:  # a KeyboardInterrupt leaves half a change, too
        for undo in back:
            undo()
        raise


def _class_of(part: nn.Module) -> Callable[[], None]:
    kind = type(part)

    def undo() -> None:
        if type(part) is not kind:
            part.__class__ = kind

    return undo


def _contents(table: dict[Any, Any]) -> Callable[[], None]:
    """Puts back a table and the containers in it; the same objects, since handles of hooks point at them."""
    kept = dict(table)
    inside = [(held, list(held.items())) for held in table.values() if isinstance(held, dict)]
    listed = [(held, list(held)) for held in table.values() if isinstance(held, list)]

    def undo() -> None:
        table.clear()
        table.update(kept)
        for held, items in inside:
            held.clear()
            held.update(items)
        for row, entries in listed:
            row[:] = entries

    return undo


def _parameter(parameter: nn.Parameter) -> Callable[[], None]:
    data = parameter.data
    learns = parameter.requires_grad
    gradient = parameter.grad

    def undo() -> None:
        parameter.data = data
        parameter.requires_grad_(learns)
        parameter.grad = gradient

    return undo
