"""Known designs that open a search: a model-based sampler learns more from them than from coin flips."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from plastsearch.search.parameters import Parameter
from plastsearch.search.space import Space
from plastsearch.search.subsets import Encoding
from plastsearch.search.values import RandomValues
from plastsearch.spec.domains import Params, Value

MOST = 8


def anchors(space: Space, count: int, rng: Generator) -> list[Params]:
    """At most `count` openings: subsets of known shape, all other parameters spread evenly over their ranges."""
    if space.subset is None:
        return []
    designs = designs_for(space.subset, min(count, MOST))
    spread = _Spread(len(designs), rng)
    found = []
    for at, design in enumerate(designs):
        found.append(space.walk(_Anchor(at, design, spread, rng))[0])
    return found


def designs_for(subset: Encoding, count: int) -> list[Params]:
    """Windows at several depths, a single site, a spread and all of them: the corners that coin flips never visit."""
    names = subset.names
    width = min(max(3 * len(names) // 24, subset.least, 1), subset.most)
    last = len(names) - width
    windows = [names[at : at + width] for at in (last, 0, last // 2, 3 * last // 4, last // 4)]
    single = names[-max(1, subset.least) :]
    gap = max(2, len(names) // 4)
    spread = names[gap - 1 :: gap]
    wanted = [windows[0], single, windows[1], spread, windows[2], names, *windows[3:]]
    found: list[Params] = []
    for chosen in wanted:
        params = subset.encode(_sized(chosen, subset))
        if params is not None and params not in found:
            found.append(params)
    return found[:count]


def _sized(chosen: Sequence[str], subset: Encoding) -> Sequence[str]:
    """The design cut or filled up to an allowed size, evenly."""
    if len(chosen) > subset.most:
        places = np.linspace(0, len(chosen) - 1, subset.most).round().astype(int)
        return [chosen[at] for at in dict.fromkeys(places.tolist())]
    lacking = [name for name in subset.names if name not in chosen][: max(0, subset.least - len(chosen))]
    return [name for name in subset.names if name in chosen or name in lacking]


class _Spread:
    """One permutation of strata for each parameter, so that each range is covered evenly."""

    def __init__(self, count: int, rng: Generator) -> None:
        self._count, self._rng = count, rng
        self._orders: dict[str, list[int]] = {}

    def unit(self, name: str, at: int) -> float:
        """A point in the stratum of the `at`-th design."""
        order = self._orders.setdefault(name, self._rng.permutation(self._count).tolist())
        return (order[at] + 0.5) / self._count


class _Anchor(RandomValues):
    def __init__(self, at: int, design: Params, spread: _Spread, rng: Generator) -> None:
        super().__init__(rng)
        self._at, self._design, self._spread = at, design, spread

    def value(self, one: Parameter) -> Value:
        return one.at(self._spread.unit(one.name, self._at))

    def subset(self, sites: Encoding) -> Params:  # noqa: ARG002 the design is written in this very encoding
        return self._design
