"""The arms a reviewer asks for beside every search: equal-budget baseline, LoRA on the same sites, random sites."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from plastsearch.search.phases import Plan, Records
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import CONTROLS, YARDSTICK, facts
from plastsearch.tracking.standing import Standing


def baseline(base: TrialConfig) -> Plan:
    """Train the original network with the whole budget."""
    config = base.model_copy(update={"method": CONTROLS[YARDSTICK].method, "layers": (), "neurons": 0})
    return Plan(config, role="control", control=YARDSTICK, origin="control")


def against_best(
    names: Sequence[str], standing: Standing, candidates: Sequence[str], seed: int
) -> Callable[[Records], list[Plan]]:
    """Controls that answer to the best member of the front, which is known only after the search."""

    def plans(records: Records) -> list[Plan]:
        best = standing.winner(records.values())
        if best is None:
            return []
        config = TrialConfig.model_validate(best.config)
        made = [_lora(config) if name == "lora" else _random_sites(config, candidates, seed) for name in names]
        return [replace(plan, extra={"of": best.number}) for plan in made if plan is not None]

    return plans


def _lora(config: TrialConfig) -> Plan:
    """As many parameters on the same sites as the growth of this very configuration adds."""
    operator = "stack" if facts(config.method).adds == "layers" else config.operator
    changes = {"method": CONTROLS["lora"].method, "rank": None, "lora_on": "sites", "operator": operator}
    changed = config.model_copy(update=changes)
    return Plan(changed, role="control", control="lora", origin="control")


def _random_sites(config: TrialConfig, candidates: Sequence[str], seed: int) -> Plan | None:
    """The same widths at other sites; None if there is only one choice of sites."""
    growth = config.growth()
    sites = sorted(set(candidates) | set(growth))
    if len(sites) == len(growth):
        return None
    dice = random.Random(f"random sites {seed}")
    chosen = sorted(growth)
    while chosen == sorted(growth):
        chosen = sorted(dice.sample(sites, len(growth)))
    chosen.sort(key=sites.index)
    neurons = dict(zip(chosen, growth.values(), strict=True)) if isinstance(config.neurons, dict) else config.neurons
    changed = config.model_copy(update={"layers": tuple(chosen), "neurons": neurons})
    return Plan(changed, role="control", control="random", origin="control")
