"""Recurrent layers and the one layer that reads each."""

from torch import nn

from plastsearch.errors import GrowthError
from plastsearch.growth.families.walk import walk
from plastsearch.growth.paths import at, ordinary
from plastsearch.growth.recurrent.cells import RECURRENT
from plastsearch.growth.site import Refusal, Site, attempt, hidden

_SHARED_OUT = (nn.Softmax, nn.Softmin, nn.LogSoftmax)


def recurrent_sites(module: nn.Module, order: int = 0) -> list[Site | Refusal]:
    """Each one-layer nn.GRU or nn.LSTM, read by the next one in the stack or by the only linear layer that fits."""
    layers = [path for path, part in walk(module) if isinstance(ordinary(part), RECURRENT)]
    sites: list[Site | Refusal] = []
    for index, path in enumerate(layers):
        later = layers[index + 1] if index + 1 < len(layers) else None
        sites.append(attempt(_recurrent, module, f"{_kind(module, path)}.{index}", path, later, order + index))
    return sites


def _kind(module: nn.Module, path: str) -> str:
    return "lstm" if isinstance(at(module, path), nn.LSTM) else "gru"


def _recurrent(module: nn.Module, name: str, path: str, later: str | None, order: int) -> Site:
    readers = [_reader(module, path, later)] if at(module, path).num_layers == 1 else []  # `hidden` says why not
    return hidden(module, name, path, readers, order)


def _reader(module: nn.Module, path: str, later: str | None) -> str:
    """The one layer that can read a recurrent one: the next of these, or what lies before it, or one after it.

    What else would read the features, average over them, or make that layer another one's reader is an error.
    """
    size = _outputs(module, path)
    after = _after(module, path)
    if later is not None and at(module, later).input_size == size:
        after = after[: after.index(later) + 1]
    for name in after:
        part = at(module, name)
        width = getattr(part, "normalized_shape", (getattr(part, "num_features", 0),))[-1]
        if (width and width % size == 0) or (isinstance(part, _SHARED_OUT) and part.dim in (None, -1, 2)):
            raise GrowthError(
                f"{path} cannot grow: {name}, a {type(part).__name__} over its {size} features, would average over new "
                "units too; only a layer read by linear or recurrent layers keeps its function"
            )
    fits = [name for name in after if _fits(module, name, size)]
    readers = [name for name in fits if isinstance(at(module, name), nn.GRU | nn.LSTM | nn.Linear)]
    linear = [name for name in readers if isinstance(at(module, name), nn.Linear)]
    if len(fits) == len(readers) == 1 and not (linear and _rivals(module, path, linear[0])):
        return readers[0]
    found = ", ".join(fits) or "none"
    if len(fits) == 1 and readers:
        found = f"{fits[0]}, which may as well read {', '.join(_rivals(module, path, fits[0]))}"
    raise GrowthError(
        f"cannot tell which layers read the output of {path} ({size} features; layers that fit: {found}); "
        "declare them with growth.site.declare_(module, lambda net: [hidden(net, 'gru.0', …)])"
    )


def _outputs(module: nn.Module, path: str) -> int:
    gru = at(module, path)
    size: int = gru.hidden_size * (2 if gru.bidirectional else 1)
    return size


def _after(module: nn.Module, path: str) -> list[str]:
    names = [name for name, _ in walk(module)]
    return names[names.index(path) + 1 :]


def _fits(module: nn.Module, path: str, size: int) -> bool:
    """Whether a layer may read so many features: a linear one several times over, such as mean and deviation."""
    part = at(module, path)
    if isinstance(part, nn.Linear):
        return part.in_features % size == 0 and not _fed_in_sequence(module, path)
    return any(getattr(part, name, None) == size for name in ("in_channels", "input_size", "embed_dim"))


def _rivals(module: nn.Module, path: str, linear: str) -> list[str]:
    """Other recurrent layers before a linear layer whose output it may read, since none after them does."""
    layers = [name for name, part in walk(module) if isinstance(ordinary(part), RECURRENT)]
    found = []
    for name, following in zip(layers, [*layers[1:], None], strict=True):
        size = _outputs(module, name)
        read = following is not None and at(module, following).input_size == size
        if name != path and not read and linear in _after(module, name) and _fits(module, linear, size):
            found.append(name)
    return found


def _fed_in_sequence(module: nn.Module, path: str) -> bool:
    """Whether a linear layer follows another one in an nn.Sequential, and so reads that one."""
    parent, _, name = path.rpartition(".")
    held = at(module, parent)
    if not isinstance(held, nn.Sequential):
        return False
    names = list(held._modules)
    earlier = [at(module, f"{parent}.{other}".strip(".")) for other in names[: names.index(name)]]
    return any(isinstance(layer, nn.Linear) for layer in earlier)
