"""A site: a named row of neurons, and which entries of which tensors belong to neuron j.

One unit map serves growth, pruning, reordering, optimiser carry-over, scores and folding. A model declares its sites
with the constructors below; networks that declare none are recognised in `growth/families/`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Literal, ParamSpec

from torch import nn

from plastsearch.errors import GrowthError
from plastsearch.growth.paths import at, chain, grown, outer

Settings = ParamSpec("Settings")
Role = Literal["in", "out", "recurrent", "norm"]
Kind = Literal["channels", "hidden", "attention", "head_width", "ffn"]


WAVLM_REFUSED = (
    "WavLM's attention hands its weights to one fused call with a fixed number of heads and gates them by position, "
    "so heads cannot be added; its feed-forward sites can grow"
)
CONFORMER_REFUSED = (
    "W2V-BERT's attention scores positions by a table that all heads share, for which there is no rule; ffn1 and ffn2 "
    "of each layer can grow"
)
LATE_NORM = "late_norm"  # the part that is a norm behind the activation, where others have one before it
_UNSTACK = "convert it with growth.stack.unstack_(module) and grow one layer of the stack"


@dataclass(frozen=True)
class Slot:
    """Entries of one tensor: along `dim`, unit j of gate g owns `offset + (g * n + j) * width + 0..width-1`."""

    module: str  # dotted path from the root
    tensor: str  # parameter or buffer name, e.g. weight, weight_hh_l0, running_var
    dim: int
    role: Role  # in: makes the unit; out: reads it; recurrent: read inside its own layer; norm: BatchNorm entry
    gates: int = 1
    width: int = 1
    offset: int = 0


@dataclass(frozen=True)
class Tap:
    """Where the activation a_j of each unit can be read: an input or output of a module."""

    module: str
    end: Literal["input", "output"]
    dim: int  # axis of the units
    width: int = 1  # entries per unit along that axis; a unit's activation is their norm, its gate multiplies all
    offset: int = 0
    gates: int = 1  # indexed as in Slot: both directions of a GRU, every head of a head width
    steps: int = 1  # rows of a clip, one after the other along the first axis: time steps of a spiking network


@dataclass(frozen=True)
class Site:
    """A named place whose width may change; `neurons` are counted in the site's own unit times `step`."""

    name: str  # encoder.3.ffn, layer2.0, gru.1
    kind: Kind
    units: int  # units now: channels, hidden units, heads, dims per head, intermediate units
    step: int  # neurons per unit: 1, the head width (attention) or the number of heads (head_width)
    slots: tuple[Slot, ...]
    tap: Tap
    order: int  # depth: sites with a lower order are computed earlier
    parts: Mapping[str, str] = field(default_factory=dict, hash=False)  # role → dotted path of the modules involved

    @property
    def width(self) -> int:
        """How many neurons the site has now."""
        return self.units * self.step


@dataclass(frozen=True)
class Refusal:
    """A place that looks like a site but whose width cannot change, and why."""

    name: str
    reason: str


def layers_of(site: Site) -> list[str]:
    """Paths of the layers whose width a site changes; by its parts too, since a computed weight has no slot."""
    paths = [slot.module for slot in site.slots]
    paths += [
        path
        for key, path in site.parts.items()
        if key in ("in", "norm", LATE_NORM, "out", "recurrent") or key.startswith("reads.")
    ]
    if "attention" in site.parts:
        paths += [f"{site.parts['attention']}.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")]
    return list(dict.fromkeys(paths))


def attempt(
    make: Callable[Concatenate[nn.Module, str, Settings], Site],
    root: nn.Module,
    name: str,
    *args: Settings.args,
    **settings: Settings.kwargs,
) -> Site | Refusal:
    """A site by one of the constructors below, or why there is none."""
    try:
        return make(root, name, *args, **settings)
    except GrowthError as error:
        return Refusal(name, str(error))


def declare_(module: nn.Module, factory: Callable[[nn.Module], Sequence[Site | Refusal]]) -> None:
    """Gives a network built elsewhere its sites: `factory(module)` is asked again after each change of widths."""
    module.__dict__["_site_factory"] = factory


def conv_pair(
    root: nn.Module,
    name: str,
    conv1: str,
    norm: str | None,
    conv2: str,
    order: int,
    *,
    act: str | None = None,
    dropout: str | None = None,
    out_norm: str | None = None,
    layer: str | None = None,
    maps: int = 1,
    act_first: bool = False,
) -> Site:
    """The channels between two convolutions, both of one or both of two dimensions, and the BatchNorm between them.

    `act` and `dropout` are the paths of what lies between (default ReLU, none), `out_norm` of the BatchNorm after the
    second convolution, `layer` of the whole block (default: what holds the first one, but no nn.Sequential). With
    `act_first` the norm stands behind the activation. `maps`: rows of the first convolution for each channel, where the
    activation chooses among them; map k of all channels lies before map k + 1 of any, as max-feature-map has it.
    """
    first, second = at(root, conv1), at(root, conv2)
    kind = nn.Conv1d if isinstance(first, nn.Conv1d) else nn.Conv2d
    for path, conv in ((conv1, first), (conv2, second)):
        _expect(conv, kind, path, name)
        if conv.groups != 1:
            raise GrowthError(f"site '{name}': {path} is a grouped convolution; its channels cannot change one by one")
    _meet(name, conv1, first.out_channels / maps, conv2, second.in_channels)
    slots = [*_rows(conv1, first, maps), Slot(conv2, "weight", 1, "out")]
    if norm is not None:
        _expect(at(root, norm), nn.BatchNorm1d if kind is nn.Conv1d else nn.BatchNorm2d, norm, name)
        names = [key for key, value in _tensors(at(root, norm)) if value.dim() == 1]
        slots += [Slot(norm, key, 0, "norm") for key in names]
    block = conv1.rpartition(".")[0]
    units = first.out_channels // maps + grown(root, conv1)
    named = {
        LATE_NORM if act_first else "norm": norm,
        "act": act,
        "dropout": dropout,
        "out_norm": out_norm,
        "layer": layer or ("" if isinstance(at(root, block), nn.Sequential) else block),
    }
    parts = {"in": conv1, "out": conv2} | {key: path for key, path in named.items() if path}
    return Site(name, "channels", units, 1, tuple(slots), Tap(conv2, "input", 1), order, parts)


def ffn(
    root: nn.Module,
    name: str,
    up: str,
    down: str,
    order: int,
    *,
    act: str,
    dropout: str | None = None,
    layer: str | None = None,
) -> Site:
    """The intermediate units between two linear layers; `act` and `dropout` lie between, `layer` holds them all."""
    first, second = at(root, up), at(root, down)
    for path, linear in ((up, first), (down, second)):
        _expect(linear, nn.Linear, path, name)
    _meet(name, up, first.out_features, down, second.in_features)
    slots = (*_rows(up, first), Slot(down, "weight", 1, "out"))
    named = {"dropout": dropout, "layer": layer}
    parts = {"in": up, "out": down, "act": act} | {key: path for key, path in named.items() if path}
    return Site(name, "ffn", first.out_features + grown(root, up), 1, slots, Tap(down, "input", -1), order, parts)


def heads(root: nn.Module, name: str, attention: str, order: int, *, layer: str | None = None) -> Site:
    """Whole attention heads: a unit is one head, so neurons come in multiples of the head width."""
    width, count = _attention(root, name, attention)
    slots = [
        Slot(f"{attention}.{proj}", key, 0, "in", width=width)
        for proj in ("q_proj", "k_proj", "v_proj")
        for key, _ in _tensors(at(root, f"{attention}.{proj}"))
    ]
    slots.append(Slot(f"{attention}.out_proj", "weight", 1, "out", width=width))
    tap = Tap(f"{attention}.out_proj", "input", -1, width=width)
    parts = {"attention": attention} | ({"layer": layer} if layer else {})
    return Site(name, "attention", count, width, tuple(slots), tap, order, parts)


def head_width(root: nn.Module, name: str, attention: str, order: int) -> Site:
    """Dimensions inside the heads: a unit is one dimension of query, key and value in every head of the layer."""
    width, count = _attention(root, name, attention)
    slots = [
        Slot(f"{attention}.{proj}", key, 0, "in", gates=count)
        for proj in ("q_proj", "k_proj", "v_proj")
        for key, _ in _tensors(at(root, f"{attention}.{proj}"))
    ]
    slots.append(Slot(f"{attention}.out_proj", "weight", 1, "out", gates=count))
    tap = Tap(f"{attention}.out_proj", "input", -1, gates=count)
    return Site(name, "head_width", width, count, tuple(slots), tap, order, {"attention": attention})


def hidden(root: nn.Module, name: str, layer: str, consumers: Sequence[str], order: int) -> Site:
    """The hidden units of a one-layer GRU or LSTM (unit j of both directions together) and the layers that read them.

    A consumer is a path of an nn.GRU, nn.LSTM or nn.Linear; one that reads the output several times over, such as both
    directions or mean and deviation side by side, must keep [forward | backward] in each copy.
    """
    module = at(root, layer)
    kind = nn.LSTM if isinstance(module, nn.LSTM) else nn.GRU
    _expect(module, kind, layer, name)
    if module.num_layers != 1:
        raise GrowthError(
            f"site '{name}': {layer} has {module.num_layers} layers, which nn.{kind.__name__} keeps at one width; "
            f"{_UNSTACK}"
        )
    if module.proj_size:
        raise GrowthError(
            f"site '{name}': {layer} projects its outputs (proj_size), so its units are not what others read"
        )
    directions = 2 if module.bidirectional else 1
    units = module.hidden_size + grown(root, layer)
    slots: list[Slot] = []
    for key, _ in _tensors(module):
        slots.append(Slot(layer, key, 0, "in", gates=4 if kind is nn.LSTM else 3))
        if key.startswith("weight_hh"):
            slots.append(Slot(layer, key, 1, "recurrent"))
    for path in consumers:
        slots += _reads(root, name, path, units * directions, directions)
    tap = Tap(layer, "output", -1, gates=directions)
    parts = {"recurrent": layer} | {f"reads.{k}": path for k, path in enumerate(consumers)}
    return Site(name, "hidden", units, 1, tuple(slots), tap, order, parts)


def plain_units(root: nn.Module, site: Site) -> int:
    """Units of the ordinary modules alone, without those of grown blocks."""
    keys = [key for key in ("in", "recurrent", "attention") if key in site.parts]
    path = site.parts[keys[0]] + (".out_proj" if site.kind == "head_width" else "")
    return site.units - grown(root, path)


def blocks_at(root: nn.Module, site: Site) -> list[Any]:
    """The grown blocks around any module of a site."""
    paths = dict.fromkeys([slot.module for slot in site.slots])
    if "attention" in site.parts:
        paths[site.parts["attention"]] = None
    return [block for path in paths for block in chain(outer(root, path))]


def _rows(path: str, module: nn.Module, gates: int = 1) -> list[Slot]:
    return [Slot(path, key, 0, "in", gates=gates) for key, _ in _tensors(module)]


def _tensors(module: nn.Module) -> list[tuple[str, Any]]:
    both = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return [(name, tensor) for name, tensor in both if tensor is not None]


def _expect(module: object, kind: type, path: str, name: str) -> None:
    if not isinstance(module, kind):
        what = f"{path} is a {type(module).__name__}, not a {kind.__name__}"
        raise GrowthError(f"site '{name}': {what}; a site of this kind is made of {kind.__name__} layers")


def _meet(name: str, first: str, made: float, second: str, read: int) -> None:
    """Refuses two layers between which something, such as a gate, changes the number of neurons."""
    if made != read:
        raise GrowthError(
            f"site '{name}': {first} gives {made:g} neurons and {second} reads {read}; both must be one row"
        )


def _attention(root: nn.Module, name: str, path: str) -> tuple[int, int]:
    """Width and number of the heads, for attention that keeps its projections apart."""
    module = at(root, path)
    lacking = [part for part in ("q_proj", "k_proj", "v_proj", "out_proj", "head_dim") if not hasattr(module, part)]
    if lacking:
        raise GrowthError(f"site '{name}': {type(module).__name__} at {path} has no {', '.join(lacking)}")
    if hasattr(module, "gru_rel_pos_const"):
        raise GrowthError(f"site '{name}': {WAVLM_REFUSED}")
    for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
        _expect(at(root, f"{path}.{part}"), nn.Linear, f"{path}.{part}", name)
    rows = {part: at(root, f"{path}.{part}").out_features for part in ("q_proj", "k_proj", "v_proj")}
    if len({*rows.values(), at(root, f"{path}.out_proj").in_features}) > 1:
        raise GrowthError(
            f"site '{name}': {path} has query, key and value of {', '.join(map(str, rows.values()))} rows; where heads "
            "share keys or values, they cannot be added one by one"
        )
    new = sum(block.new_units for block in chain(outer(root, path)))
    dims = sum(block.new_units for block in chain(outer(root, f"{path}.out_proj")))
    width = int(module.head_dim)
    base = at(root, f"{path}.q_proj").out_features // (width - dims)
    return width, base + new


def _reads(root: nn.Module, name: str, path: str, features: int, directions: int) -> list[Slot]:
    """The columns of a consumer that read a layer of `features` outputs."""
    module = at(root, path)
    if isinstance(module, nn.GRU | nn.LSTM):
        if module.num_layers != 1:
            raise GrowthError(f"site '{name}': its consumer {path} has {module.num_layers} layers; {_UNSTACK}")
        keys = ["weight_ih_l0", "weight_ih_l0_reverse"][: 1 + module.bidirectional]
        size = module.input_size
    elif isinstance(module, nn.Linear):
        keys = ["weight"]
        size = module.in_features
    else:
        kinds = "nn.GRU, nn.LSTM and nn.Linear can read a recurrent layer whose width changes"
        raise GrowthError(f"site '{name}': its consumer {path} is a {type(module).__name__}; only {kinds}")
    size += sum(getattr(block, "new_inputs", 0) for block in chain(outer(root, path)))
    if size % features:
        raise GrowthError(f"site '{name}': {path} reads {size} features, no multiple of the layer's {features}")
    return [Slot(path, key, 1, "out", gates=size // features * directions) for key in keys]
