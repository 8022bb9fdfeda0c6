"""Landscapes of which the truth is known, as values of a configuration and as trials that the driver can run."""

from collections.abc import Callable, Iterator

from plastsearch.ablation.fields import Contrast
from plastsearch.ablation.greedy import Walk, Walker
from plastsearch.errors import TrialError
from plastsearch.search.space import Space, open_space
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import Report, RunSettings
from plastsearch.spec.sweep import SweepSpec
from plastsearch.trial.methods import check
from tests.made_sweep import SPEC

WORTH = {"encoder.1.ffn": 1.0, "encoder.2.ffn": 4.0, "encoder.5.ffn": 2.5}
TRIAL = TrialConfig.model_validate(
    SPEC["base"] | {"layers": list(WORTH), "neurons": 64, "criterion": "magnitude", "regime": "unfrozen"}
)
FIELDS = ["method", *(f"layers.{site}" for site in WORTH), "neurons", "regime", "criterion"]


def space(**changes: object) -> Space:
    """The made sweep's space."""
    return open_space(SweepSpec.model_validate({**SPEC, **changes}))


def additive(config: TrialConfig) -> float:
    """Every field is worth the same wherever it stands."""
    if config.method == "baseline":
        return 30.0
    found = 27.0 - sum(WORTH[site] for site in config.layers)
    found -= 3.0 * (config.neurons == 64) + 1.5 * (config.regime == "unfrozen") + 0.5 * (config.criterion != "taylor")
    return found


def interacting(config: TrialConfig) -> float:
    """Sites 2 and 5 are worth nothing alone and much together."""
    both = {"encoder.2.ffn", "encoder.5.ffn"} <= set(config.layers)
    apart = WORTH["encoder.2.ffn"] + WORTH["encoder.5.ffn"]
    inside = sum(WORTH[site] for site in config.layers if site != "encoder.1.ffn")
    return additive(config) + inside - (apart if both else 0.0)


def walks(value: Callable[[TrialConfig], float], contrast: Contrast | None = None) -> tuple[Walk, Walk, int]:
    """Both walks on a landscape, and how many configurations were asked for."""
    walker = Walker(contrast or Contrast(space(), TRIAL), check)
    known: dict[str, float] = {}
    while True:
        both = [walker.walk(way, known) for way in ("forward", "backward")]
        wanted = {config.trial_id(): config for walk in both for config in walk.wanted}
        if not wanted:
            return both[0], both[1], len(known)
        assert not wanted.keys() & known.keys()
        known |= {name: value(config) for name, config in wanted.items()}


def trial(config: TrialConfig, settings: RunSettings) -> Iterator[Report]:
    """The additive landscape as a trial; seeds shift everything alike, but for a little."""
    metrics = {"dev_eer": additive(config) + config.seed + 0.01 * (int(config.trial_id()[:2], 16) / 256)}
    metrics |= {"backward_ratio": 0.5, "params_total": 1000.0 + sum(config.growth().values())}
    yield Report("train", 5, 10, {"dev_eer": 40.0})
    yield Report("result", 10, 10, metrics, final=True)


def without_baseline(config: TrialConfig, settings: RunSettings) -> Iterator[Report]:
    """Nothing that does not grow can run."""
    if config.method == "baseline":
        raise TrialError("no baseline today")
    yield from trial(config, settings)


def broken(config: TrialConfig, settings: RunSettings) -> Iterator[Report]:
    """Nothing can run."""
    yield Report("train", 5, 10, {"dev_eer": 40.0})
    raise TrialError("the disk is on fire")
