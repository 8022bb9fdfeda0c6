"""What can be asked of a kind of site, known before any network is built. Imports no torch.

Each function gives the reason why not, with a way out, or None. Growth asks here, and so does whoever plans it.
"""

from collections.abc import Collection, Sequence


def growth_refused(
    name: str,
    kind: str,
    units: int,
    *,
    mode: str,
    operator: str,
    init: str,
    together: Collection[str] = (),
    directions: int | None = None,
) -> str | None:
    """Why `units` cannot be added at a site; `together`: all sites of the request; `directions`: of its outputs."""
    separate = mode == "frozen" or operator != "widen"
    if init == "pairs" and units % 2:
        return f"site '{name}': pairs need an even number of units; {units} is odd"
    if init == "net2net" and separate:
        return (
            f"site '{name}': net2net shares out the outgoing weights of the original, which a frozen base or a "
            "separate branch must not change; use it with mode='unfrozen', operator='widen'"
        )
    if init == "gradmax" and kind != "ffn":
        return (
            f"site '{name}': gradmax starts from zero incoming weights, so it needs a smooth activation and one "
            "linear layer on each side; it works at feed-forward sites; elsewhere take random, orthogonal or pairs"
        )
    if init == "gradmax" and directions is not None and units > directions:
        return f"site '{name}': gradmax has {directions} directions to offer, {units} were asked for"
    if kind != "head_width":
        return None
    heads = name.replace("head_width", "attention")
    if operator == "parallel":
        return (
            f"site '{name}': wider heads mix old and new dimensions in one score, so no branch can be added beside "
            f"them; grow '{heads}' in parallel, or widen"
        )
    if operator == "stack":
        return f"site '{name}': nothing to stack, since head width is no layer; stack on an attention or ffn site"
    if separate and heads in together:
        return f"site '{name}': heads and head width of one layer cannot both carry blocks; fold first"
    return None


def criterion_refused(name: str, kind: str, criterion: str, *, scaled: bool = True) -> str | None:
    """Why a criterion cannot score a site's units; `scaled`: whether a norm between its layers has weights, if any."""
    if criterion == "bn_gamma" and not (kind == "channels" and scaled):
        return f"criterion 'bn_gamma' needs BatchNorm with weights; site '{name}' has none: use 'magnitude' there"
    return None


def ring_refused(name: str, sizes: Sequence[int], taps: object) -> str | None:
    """Why a ring of taps cannot make a site's kernels so large; `sizes`: taps of their axes as they are."""
    if isinstance(taps, bool) or not isinstance(taps, int) or taps < 3 or taps % 2 == 0:
        return f"site '{name}': kernel {taps!r}: give an odd number of taps, 3 or more, so that it has a middle"
    growing = [size for size in sizes if size > 1 and size % 2]
    if not growing:
        return (
            f"site '{name}' has no kernel that a ring could grow: that takes a convolution of 3 taps or more, and "
            "an odd number; add neurons there (operator widen)"
        )
    if max(growing) > taps or min(growing) == taps:
        return f"site '{name}': its kernel has {max(growing)} taps already; ask for more than that, not {taps}"
    return None
