"""A sweep's numbers for Prometheus, by way of Ray, which serves them on every node with its own."""

import warnings
from collections.abc import Mapping

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations among Ray's own modules
    from ray.util import metrics

Tags = tuple[tuple[str, str], ...]


class RayMeters:
    """Gauges and counters by name; Ray puts `ray_` before each."""

    def __init__(self) -> None:
        self._gauges: dict[str, metrics.Gauge] = {}
        self._counters: dict[str, metrics.Counter] = {}
        self._counted: dict[tuple[str, Tags], float] = {}

    def set(self, name: str, text: str, value: float, tags: Mapping[str, str]) -> None:
        """A number that goes up and down; `text` says what it is."""
        if name not in self._gauges:
            self._gauges[name] = metrics.Gauge(name, text, tuple(tags))
        self._gauges[name].set(value, dict(tags))

    def count(self, name: str, text: str, total: float, tags: Mapping[str, str]) -> None:
        """A number that only grows, told as it stands."""
        if name not in self._counters:
            self._counters[name] = metrics.Counter(name, text, tuple(tags))
        key = name, tuple(tags.items())
        more = total - self._counted.get(key, 0.0)
        if more > 0:
            self._counters[name].inc(more, dict(tags))
            self._counted[key] = total
