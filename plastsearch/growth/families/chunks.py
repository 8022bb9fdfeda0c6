"""Res2Net blocks, as ECAPA-TDNN has them: recognised by what their forward does with chunks of channels."""

import operator
from typing import Any

import torch
from torch import fx, nn

from plastsearch.errors import GrowthError
from plastsearch.growth.families.between import activation, only_call, part_of, traced
from plastsearch.growth.families.walk import walk
from plastsearch.growth.paths import at, grown, ordinary
from plastsearch.growth.site import LATE_NORM, Refusal, Site, Slot, Tap, attempt

_PARTS = ("conv1", "bn1", "convs", "bns", "conv3")
_ADD = (operator.add, operator.iadd, torch.add, "add", "add_")
_SPLIT = (torch.split, torch.chunk, "split", "chunk")


def chunk_sites(module: nn.Module, order: int = 0) -> list[Site | Refusal]:
    """The channels of the chunks of each block that has ECAPA's parts, all chunks alike, by the block's path."""
    sites: list[Site | Refusal] = []
    for path, part in walk(module):
        block: Any = ordinary(part)
        if all(hasattr(block, name) for name in _PARTS) and isinstance(block.convs, nn.ModuleList):
            sites.append(attempt(chunks, module, f"{path}.chunks", path, order + len(sites)))
    return sites


def chunks(root: nn.Module, name: str, where: str, order: int) -> Site:
    """One channel in every chunk of a Res2Net block with the parts conv1, bn1, convs, bns and conv3."""
    block: Any = at(root, where)
    inner = [(f"{where}.convs.{k}", f"{where}.bns.{k}") for k in range(len(block.convs))]
    scale = len(inner) + 1
    first: Any = at(root, f"{where}.conv1")
    kind = type(first)
    layers = [at(root, path) for path in (f"{where}.conv1", *(conv for conv, _ in inner), f"{where}.conv3")]
    if kind not in (nn.Conv1d, nn.Conv2d) or any(type(one) is not kind or one.groups != 1 for one in layers):
        raise GrowthError(f"site '{name}': {where}.conv1, convs and conv3 are no plain convolutions of one kind")
    width = first.out_channels // scale
    sizes = {(one.in_channels, one.out_channels) for one in layers[1:-1]}
    if first.out_channels != scale * width or sizes != {(width, width)} or layers[-1].in_channels != scale * width:
        raise GrowthError(
            f"site '{name}': {where} has {first.out_channels} channels in {scale} chunks and convolutions of "
            f"{sorted(sizes)}; all chunks must be of one width"
        )
    act, act_first = _read(block, scale, width, name, where)
    slots = _rows(root, f"{where}.conv1", "in", scale) + _rows(root, f"{where}.bn1", "norm", scale)
    for conv, norm in inner:
        # Behind the rows, for new columns to reach the new rows as well.
        slots += [*_rows(root, conv, "in"), Slot(conv, "weight", 1, "recurrent"), *_rows(root, norm, "norm")]
    slots.append(Slot(f"{where}.conv3", "weight", 1, "out", gates=scale))
    parts = {
        "in": f"{where}.conv1", "out": f"{where}.conv3", LATE_NORM if act_first else "norm": f"{where}.bn1",
        "layer": where,
    }  # fmt: skip
    parts |= {f"chunk.{k}": conv for k, (conv, _) in enumerate(inner)}
    parts |= {f"chunk_norm.{k}": norm for k, (_, norm) in enumerate(inner)}
    parts |= {"act": f"{where}.{act}"} if act else {}
    if isinstance(getattr(block, "width", None), int):
        parts["chunk_width"] = f"{where}.width"
    units = width + grown(root, f"{where}.conv1")
    return Site(
        name, "channels", units, scale, tuple(slots), Tap(f"{where}.conv3", "input", 1, gates=scale), order, parts
    )


def _rows(root: nn.Module, path: str, role: Any, gates: int = 1) -> list[Slot]:
    module = at(root, path)
    tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return [Slot(path, key, 0, role, gates=gates) for key, value in tensors if value is not None and value.dim() > 0]


def _read(block: nn.Module, scale: int, width: int, name: str, where: str) -> tuple[str | None, bool]:
    """The activation of the block, and whether norms stand behind it; another way through the chunks is an error."""
    try:
        graph = traced(block)
        end = only_call(graph, "conv3")
        reader = _Reader(block, scale, width)
        found = reader.expression(end.args[0])
    except GrowthError as error:
        raise GrowthError(f"site '{name}': {where}, a {type(block).__name__}, is no Res2Net block: {error}") from error
    for act_first in (True, False):
        if found == _expected(scale, act_first=act_first) and len(reader.acts) == 1:
            outside = [
                node for node in reader.seen for user in node.users if user not in reader.seen and user is not end
            ]
            if outside:
                raise GrowthError(f"site '{name}': channels of {where} are read outside its chunks, too")
            return next(iter(reader.acts)), act_first
    raise GrowthError(
        f"site '{name}': {where}, a {type(block).__name__}, does not send its chunks the way of a Res2Net block: each "
        "but the last through a convolution that also hears the one before, norm and activation in one order"
    )


def _expected(scale: int, *, act_first: bool) -> Any:
    def after(made: Any, norm: str) -> Any:
        return ("call", norm, ("act", made)) if act_first else ("act", ("call", norm, made))

    row = after(("call", "conv1", "x"), "bn1")
    given: list[Any] = []
    for k in range(scale - 1):
        part = ("part", row, k)
        heard = frozenset({part, given[-1]}) if given else part
        given.append(after(("call", f"convs.{k}", heard), f"bns.{k}"))
    return ("cat", *given, ("part", row, scale - 1))


class _Reader:
    """What a node of a block's forward is, as a nested expression of its parts."""

    def __init__(self, block: nn.Module, scale: int, width: int) -> None:
        self.block, self.scale, self.width = block, scale, width
        self.acts: set[str | None] = set()
        self.seen: set[fx.Node] = set()
        self.known: dict[fx.Node, Any] = {}

    def expression(self, node: Any) -> Any:
        if not isinstance(node, fx.Node):
            raise GrowthError(f"its forward reads {node!r} where a tensor should be")
        if node not in self.known:
            self.known[node] = self._made(node)
        return self.known[node]

    def _made(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return "x"
        self.seen.add(node)
        if node.op == "call_module":
            name = str(node.target)
            if activation(part_of(self.block, node)):
                self.acts.add(name)
                return ("act", self.expression(node.args[0]))
            return ("call", name, self.expression(node.args[0]))
        target = node.target
        if target in _ADD and not node.kwargs:
            return frozenset(self.expression(one) for one in node.args)
        if target is operator.getitem:
            whole, place = node.args
            assert isinstance(whole, fx.Node)
            self.seen.add(whole)
            if not (isinstance(place, int) and whole.target in _SPLIT):
                raise GrowthError("its forward takes something else than chunks out of its channels")
            size = whole.args[1] if len(whole.args) > 1 else None
            dim = whole.args[2] if len(whole.args) > 2 else whole.kwargs.get("dim", 0)
            wanted = self.scale if whole.target in (torch.chunk, "chunk") else self.width
            if (size, dim) != (wanted, 1):
                raise GrowthError(f"its forward cuts by {size!r} along {dim!r}, not by {wanted} along 1")
            return ("part", self.expression(whole.args[0]), place % self.scale)
        if target in (torch.cat, torch.concat):
            return self._joined(node)
        if target in (nn.functional.relu, torch.relu, "relu", "relu_"):
            self.acts.add(None)
            return ("act", self.expression(node.args[0]))
        raise GrowthError(f"its forward calls {getattr(target, '__name__', target)} on its channels")

    def _joined(self, node: fx.Node) -> Any:
        pieces: Any = node.args[0]
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        if dim != 1 or not isinstance(pieces, list | tuple):
            raise GrowthError("its forward puts its chunks together along another axis than the channels")
        flat: list[Any] = []
        for piece in pieces:
            found = self.expression(piece)
            flat += found[1:] if isinstance(found, tuple) and found[0] == "cat" else [found]
        return ("cat", *flat)
