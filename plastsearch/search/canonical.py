"""The canonical form of a TrialConfig: equal trials become equal configurations, so that they get one id."""

from collections.abc import Mapping, Sequence
from typing import Any

from plastsearch.spec.coherence import GROWING
from plastsearch.spec.config import TrialConfig

_PRUNES = ("plasticity",)
_GROWS = ("dropin", "plasticity", "stack")
# Settings that only some methods read; for all others they go back to their default.
READ_BY: dict[str, tuple[str, ...]] = {
    "layers": GROWING,
    "neurons": GROWING,
    "operator": ("dropin", "plasticity", "lora"),
    "init": _GROWS,
    "lateral": GROWING,
    "regime": GROWING,
    "criterion": _PRUNES,
    "pool": _PRUNES,
    "keep": _PRUNES,
    "compensate": _PRUNES,
    "calibration_clips": _GROWS,
    "rank": ("lora",),
    "lora_on": ("lora",),
    "last_k": ("last_k",),
    "truncate_to": ("truncate",),
}


def reads(method: str, key: str) -> bool:
    """Whether a method takes any notice of a setting."""
    return method in READ_BY.get(key, (method,))


def canonical(config: TrialConfig, order: Sequence[str]) -> TrialConfig:
    """The same trial without settings that nothing reads; sites by depth, those without neurons left out."""
    growth = config.growth()
    changes: dict[str, Any] = {}
    if config.method in GROWING and not growth:
        # Nothing grows, so there is nothing to tell it from training the untouched network.
        changes["method"] = "baseline"
    method = changes.get("method", config.method)
    if method in GROWING:
        changes |= _growth(growth, order)
        if not any(name.startswith("gru.") for name in growth):
            changes["lateral"] = _default("lateral")
    if method == "lora" and config.rank:
        # Otherwise its rank follows from what the same growth would add.
        changes |= {key: _default(key) for key in ("operator", "lateral", "regime")}
    changes |= {key: _default(key) for key in READ_BY if not reads(method, key)}
    return config.model_copy(update=changes)


def _growth(growth: Mapping[str, int], order: Sequence[str]) -> dict[str, Any]:
    place = {name: at for at, name in enumerate(order)}
    names = tuple(sorted(growth, key=lambda name: place.get(name, len(place))))
    widths = set(growth.values())
    neurons = widths.pop() if len(widths) == 1 else {name: growth[name] for name in names}
    return {"layers": names, "neurons": neurons}


def _default(key: str) -> Any:
    return TrialConfig.model_fields[key].default
