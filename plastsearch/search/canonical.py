"""The canonical form of a TrialConfig: equal trials become equal configurations, so that they get one id."""

from collections.abc import Mapping, Sequence

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import CHANGES, METHODS, NEWBORN, OWN_SETTINGS, SHARE_ENDS, UNTOUCHED, reads
from plastsearch.spec.model import SPIKING, ModelConfig

UNREAD_BY_RINGS = ("init", "lateral", "criterion", "pool", "compensate", *NEWBORN)


def canonical(config: TrialConfig, order: Sequence[str]) -> TrialConfig:
    """The same trial without settings that nothing reads; sites by depth, those without neurons left out."""
    growth = config.growth()
    # Where nothing grows there is nothing to tell it from training the untouched network.
    method = UNTOUCHED if METHODS[config.method].placed and not growth else config.method
    changes: dict[str, object] = {}
    if method == "lora_growth" and config.lora_share in SHARE_ENDS:
        method = SHARE_ENDS[config.lora_share]
        # It grows frozen and solves its ranks whatever these say.
        changes |= {name: _default(name) for name in ("regime", "rank", "lora_on")}
    changes["method"] = method
    if METHODS[method].placed:
        changes |= _growth(growth, order)
        if config.rings():
            # It begins at zero, and the outer taps go first: nobody draws, and nobody scores.
            changes |= {"neurons": 0} | {name: _default(name) for name in UNREAD_BY_RINGS}
        else:
            changes["kernel"] = _default("kernel")
        if not any(name.startswith(("gru.", "lstm.")) for name in growth):
            changes["lateral"] = _default("lateral")
    if method == "lora" and config.rank and config.method == method:
        # Otherwise its rank follows from what the same growth would add.
        kept = ("operator", "kernel") if config.rings() else ()  # by which its sites are told, without neurons
        changes |= {key: _default(key) for key in CHANGES["lora"].unranked_reads if key not in kept}
    changes |= {key: _default(key) for key in OWN_SETTINGS if not reads(method, key)}
    if config.model.activation == "own":
        unread = {key: ModelConfig.model_fields[key].default for key in SPIKING}
        changes["model"] = config.model.model_copy(update=unread)
    return config.model_copy(update=changes)


def _growth(growth: Mapping[str, int], order: Sequence[str]) -> dict[str, object]:
    # Order and form carry no meaning: one width for all and the same width for each are one trial.
    place = {name: at for at, name in enumerate(order)}
    names = tuple(sorted(growth, key=lambda name: place.get(name, len(place))))
    widths = set(growth.values())
    neurons = widths.pop() if len(widths) == 1 else {name: growth[name] for name in names}
    return {"layers": names, "neurons": neurons}


def _default(key: str) -> object:
    return TrialConfig.model_fields[key].default
