"""Puts grown blocks into a network: beside a row of neurons, parallel to a layer, or stacked on one."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from torch import Generator, Tensor, nn

from plastsearch.growth.blocks import (
    AttentionBranch,
    Branch,
    ConvBranch,
    FeedForwardBranch,
    Fork,
    GrownHeads,
    GrownProjection,
    GrownReader,
    Join,
    ParallelRecurrent,
    RecurrentBranch,
    Stacked,
    Wire,
    same_attention,
)
from plastsearch.growth.chunked import ChunkBranch, chunk_paths
from plastsearch.growth.initialise import he_normal
from plastsearch.growth.paths import at, holder, outer
from plastsearch.growth.recurrent.cells import cell_of, kind_of
from plastsearch.growth.recurrent.layers import GrownRecurrent, WideInput
from plastsearch.growth.resize import Values, unflatten
from plastsearch.growth.site import LATE_NORM, Site

Layer = TypeVar("Layer", bound=nn.Module)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


def attach_(
    root: nn.Module,
    site: Site,
    count: int,
    values: Values,
    operator: str,
    *,
    both: bool = False,
    generator: Generator | None = None,
) -> None:
    """Adds `count` units at a site as separate blocks with the given first values."""
    # Nothing of the base is written here: to undo a failed request is to put the old modules back.
    if operator == "stack":
        _stack_(root, site, count, values, generator)
    elif site.kind == "hidden" and operator == "parallel":
        beside = _new_recurrent(at(root, site.parts["recurrent"]), count, None, generator)
        _wrap_(root, site.parts["recurrent"], lambda base: ParallelRecurrent(base, beside, _leave(root, site, count)))
    else:
        _WIDEN[site.kind](root, site, count, values, both)


def _beside(root: nn.Module, site: Site, count: int, values: Values, _: bool) -> None:
    """Channels and feed-forward units: a fork and a join around the row."""
    # Around the two layers, not around what lies between them: a forward may do anything there, also call functions.
    wire = Wire()
    branch = (_chunks if "chunk.0" in site.parts else _row)(root, site, count, values)
    _wrap_(root, site.parts["in"], lambda base: Fork(base, branch, wire, count))
    _wrap_(root, site.parts["out"], lambda base: Join(base, wire))


def _heads(root: nn.Module, site: Site, count: int, values: Values, _: bool) -> None:
    # Heads do not read each other, and the output projection adds them up: beside the old ones they are as good as
    # within, and the attention code of the network serves both.
    extra = _new_heads(root, site, count, values)
    _wrap_(root, site.parts["attention"], lambda base: GrownHeads(base, extra, count))


def _dims(root: nn.Module, site: Site, count: int, values: Values, _: bool) -> None:
    # New dimensions add to the scores of the old heads, before the softmax, so no branch beside them would do.
    path = site.parts["attention"]
    for name in PROJECTIONS:
        layer = _projection(root, f"{path}.{name}", values)
        make = GrownReader if name == "out_proj" else GrownProjection
        _wrap_(root, f"{path}.{name}", partial(make, new=layer, gates=site.step))
    at(root, path).head_dim += count  # its forward splits heads by it; `scaling` stays, or old scores would change


def _units(root: nn.Module, site: Site, count: int, values: Values, both: bool) -> None:
    """Hidden units beside a recurrent layer, and new columns in all that reads it."""
    path = site.parts["recurrent"]
    cell = cell_of(at(root, path))
    own: dict[str, Tensor] = {}
    readers: dict[str, dict[str, Tensor]] = {}
    gates: dict[str, int] = {}
    for slot, tensor in values.items():
        if slot.role == "out":
            readers.setdefault(slot.module, {})[slot.tensor] = tensor
            gates[slot.module] = slot.gates
        elif slot.role == "recurrent":
            # Columns of the new units, rows of old and new ones in each gate: the new rows connect new units with
            # themselves, the old ones would let old units read new ones.
            each = unflatten(tensor, 0, (cell.gates, -1))
            own[slot.tensor] = each[:, -count:].flatten(0, 1)
            if both:
                own[slot.tensor.replace("_hh_l0", "_back")] = each[:, :-count].flatten(0, 1)
        elif slot.tensor.startswith("weight_hh"):
            # Of a GRU the reset and update gates alone, unless all run as one layer (see recurrent/cells.py).
            own[slot.tensor.replace("_hh_l0", "_old")] = tensor if both else tensor[: cell.hearing * count]
        else:
            own[slot.tensor] = tensor
    _wrap_(root, path, lambda base: GrownRecurrent(base, own, both=both))
    for reader, columns in readers.items():
        # Of a linear layer the slot is its `weight`; of the next GRU weight_ih_l0, and that of its other direction.
        wider: Callable[[Any], nn.Module] = partial(WideInput, columns=columns, gates=gates[reader])
        if "weight" in columns:
            wider = partial(GrownReader, new=_linear(columns), gates=gates[reader])
        _wrap_(root, reader, wider)


_WIDEN: dict[str, Callable[[nn.Module, Site, int, Values, bool], None]] = {
    "channels": _beside,
    "ffn": _beside,
    "attention": _heads,
    "head_width": _dims,
    "hidden": _units,
}


def _wrap_(root: nn.Module, path: str, make: Callable[[Any], nn.Module]) -> None:
    owner, name = holder(root, path)
    base = outer(root, path)
    block = make(base)
    block.training = base.training  # the flag alone: train() would reach parts of the base that are in another mode
    setattr(owner, name, block)


def _row(root: nn.Module, site: Site, count: int, values: Values) -> Branch:
    """The new neurons of a fork: like the base's layers, `count` wide."""
    first, second = site.parts["in"], site.parts["out"]
    enter = _like(at(root, first), count, "in", _at(first, values))
    leave = _like(at(root, second), count, "out", _at(second, values))
    path = site.parts.get("norm") or site.parts.get(LATE_NORM)
    norm = None if path is None else _norm_like(at(root, path), count, _at(path, values))
    # The base's own activation and dropout: without weights, so they can be shared.
    act = at(root, site.parts["act"]) if "act" in site.parts else nn.ReLU()
    dropout = at(root, site.parts["dropout"]) if "dropout" in site.parts else None
    branch = Branch(enter, norm, act, dropout, leave, act_first=LATE_NORM in site.parts)
    return branch.train(at(root, site.parts["in"]).training)


def _chunks(root: nn.Module, site: Site, count: int, values: Values) -> ChunkBranch:
    """The new channels of a Res2Net block: narrower chunks, whose convolutions read each other's new channels alone."""
    first, second, norm = site.parts["in"], site.parts["out"], site.parts.get("norm") or site.parts[LATE_NORM]
    convs, norms = [], []
    for path, norm_path in chunk_paths(site):
        layer = at(root, path)
        own = {slot.tensor: new for slot, new in values.items() if slot.module == path and slot.role == "in"}
        (among,) = (new for slot, new in values.items() if slot.module == path and slot.role == "recurrent")
        convs.append(_like(layer, count, "in", {**own, "weight": among[-count:]}, inputs=count))
        norms.append(_norm_like(at(root, norm_path), count, _at(norm_path, values)))
    branch = ChunkBranch(
        _like(at(root, first), count, "in", _at(first, values)),
        _norm_like(at(root, norm), site.step * count, _at(norm, values)),
        convs,
        norms,
        _like(at(root, second), site.step * count, "out", _at(second, values)),
        at(root, site.parts["act"]) if "act" in site.parts else nn.ReLU(),
        act_first=LATE_NORM in site.parts,
    )
    return branch.train(at(root, first).training)


def _at(path: str, values: Values) -> dict[str, Tensor]:
    """The new entries of one layer's tensors."""
    return {slot.tensor: tensor for slot, tensor in values.items() if slot.module == path}


def _like(
    layer: nn.Linear | nn.Conv1d | nn.Conv2d, count: int, end: str, tensors: dict[str, Tensor], inputs: int = 0
) -> nn.Module:
    """A layer of the same kind with `count` outputs (end: in) or inputs (end: out, which has no bias of its own)."""
    bias = end == "in" and layer.bias is not None
    if isinstance(layer, nn.Linear):
        sizes = (layer.in_features, count) if end == "in" else (count, layer.out_features)
        return _made(nn.Linear, *sizes, bias=bias, tensors=tensors)
    rows = tensors["weight"].shape[0]  # several for each unit, where the activation chooses among them
    sizes = (inputs or layer.in_channels, rows) if end == "in" else (count, layer.out_channels)
    kind: type[nn.Conv1d | nn.Conv2d] = nn.Conv1d if isinstance(layer, nn.Conv1d) else nn.Conv2d
    return _made(
        kind,
        *sizes,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        bias=bias,
        padding_mode=layer.padding_mode,
        tensors=tensors,
    )


def _made(kind: Callable[..., Layer], *sizes: object, tensors: dict[str, Tensor], **settings: object) -> Layer:
    """A layer of given values, every one of them: drawing first values would use up the global random state."""
    layer = kind(*sizes, device="meta", **settings)
    layer.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, strict=True, assign=True)
    return layer


def _norm_like(
    norm: nn.BatchNorm1d | nn.BatchNorm2d, count: int, tensors: dict[str, Tensor]
) -> nn.BatchNorm1d | nn.BatchNorm2d:
    kind = nn.BatchNorm1d if isinstance(norm, nn.BatchNorm1d) else nn.BatchNorm2d
    made = kind(
        count, eps=norm.eps, momentum=norm.momentum, affine=norm.affine, track_running_stats=norm.track_running_stats
    )
    # One number for the whole layer, no entry of a neuron, so no slot brings it: the new ones begin to count at 0.
    if made.num_batches_tracked is not None:
        tensors = {**tensors, "num_batches_tracked": made.num_batches_tracked}
    made.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, strict=True, assign=True)
    return made.to(next(iter(tensors.values())).device) if tensors else made


def _projection(root: nn.Module, path: str, values: Values) -> nn.Linear:
    """A projection's new entries as a layer of their own."""
    return _linear(_at(path, values)).train(at(root, path).training)


def _linear(tensors: dict[str, Tensor]) -> nn.Linear:
    rows, columns = tensors["weight"].shape
    return _made(nn.Linear, columns, rows, bias="bias" in tensors, tensors=tensors)


def _new_heads(root: nn.Module, site: Site, count: int, values: Values) -> Any:
    path = site.parts["attention"]
    extra = same_attention(at(root, path), {name: _projection(root, f"{path}.{name}", values) for name in PROJECTIONS})
    extra.num_heads = count  # on the copy; `head_dim` and `scaling` are those of the old heads
    return extra


def _new_recurrent(
    like: nn.GRU | nn.LSTM, count: int, size: int | None, generator: Generator | None
) -> nn.GRU | nn.LSTM:
    kind = kind_of(like)
    settings = {"bias": like.bias, "batch_first": like.batch_first, "bidirectional": like.bidirectional}
    shapes = kind(size or like.input_size, count, device="meta", **settings).state_dict()
    weight = like.all_weights[0][0]
    # Biases at zero, weights as for a layer that stands alone: there are no neighbours whose scale they could take.
    zeros = {name: weight.new_zeros(tensor.shape) for name, tensor in shapes.items()}
    values = {name: he_normal(zero, generator) if zero.dim() > 1 else zero for name, zero in zeros.items()}
    made: Any = _made(kind, size or like.input_size, count, tensors=values, **settings)
    made.flatten_parameters()  # else cuDNN packs them anew, with a warning, at each call
    made.train(like.training)
    return made  # type: ignore[no-any-return]


def _leave(root: nn.Module, site: Site, count: int) -> nn.Linear:
    gru = at(root, site.parts["recurrent"])
    directions = 2 if gru.bidirectional else 1
    # Zeros: the branch says nothing at first, and learns since what it reads has other values than zero.
    return _linear({"weight": gru.weight_ih_l0.new_zeros(site.units * directions, count * directions)})


def _stack_(root: nn.Module, site: Site, count: int, values: Values, generator: Generator | None) -> None:
    """One more layer after the site's own, `count` units wide inside."""
    if site.kind == "hidden":
        path = site.parts["recurrent"]
        gru = at(root, path)
        width = site.units * (2 if gru.bidirectional else 1)
        branch: nn.Module = RecurrentBranch(_new_recurrent(gru, count, width, generator), _leave(root, site, count))
    else:
        path = site.parts["layer"]
        branch = _STACK[site.kind](root, site, count, values, generator)
    _wrap_(root, path, lambda base: Stacked(base, branch))


def _ffn_layer(root: nn.Module, site: Site, count: int, values: Values, _: Generator | None) -> nn.Module:
    up = at(root, site.parts["in"])
    return FeedForwardBranch(nn.LayerNorm(up.in_features).to(up.weight), _row(root, site, count, values))


def _attention_layer(root: nn.Module, site: Site, count: int, values: Values, _: Generator | None) -> nn.Module:
    query = at(root, f"{site.parts['attention']}.q_proj")
    return AttentionBranch(nn.LayerNorm(query.in_features).to(query.weight), _new_heads(root, site, count, values))


def _conv_layer(root: nn.Module, site: Site, count: int, _: Values, generator: Generator | None) -> nn.Module:
    second = at(root, site.parts["out"])
    channels = second.out_channels
    flat = isinstance(second, nn.Conv1d)
    kind: type[nn.Conv1d | nn.Conv2d] = nn.Conv1d if flat else nn.Conv2d
    enter, leave = (
        _made(
            kind, size, width, 3, padding=1, bias=False,
            tensors={"weight": he_normal(second.weight.new_zeros(width, size, *[3] * (1 if flat else 2)), generator)},
        )
        for size, width in ((channels, count), (count, channels))
    )  # fmt: skip
    # A norm's zero weight keeps the function, and the convolutions before it still get gradients once it has moved.
    normed = nn.BatchNorm1d if flat else nn.BatchNorm2d
    after = normed(channels)
    nn.init.zeros_(after.weight)
    row = Branch(enter, normed(count), nn.ReLU(), None, leave)
    return ConvBranch(row, after).to(second.weight).train(second.training)


_STACK: dict[str, Callable[[nn.Module, Site, int, Values, Generator | None], nn.Module]] = {
    "ffn": _ffn_layer,
    "attention": _attention_layer,
    "channels": _conv_layer,
}
