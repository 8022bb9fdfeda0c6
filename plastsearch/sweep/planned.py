"""Trials that no sampler proposes: the baseline, controls of the best trial, finalists."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from plastsearch.pareto.front import knee
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import CONTROLS, YARDSTICK, Control, facts
from plastsearch.tracking.events import Role
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord

Records = Mapping[int, TrialRecord]


@dataclass(frozen=True)
class PlannedTrial:
    """A trial about to be proposed."""

    config: TrialConfig
    role: Role = "search"
    control: str | None = None
    params: Mapping[str, JsonValue] = field(default_factory=dict)
    origin: str = "sampler"
    reuse_of: int | None = None
    of: int | None = None  # the trial that a finalist or a replicate repeats, or a control answers to
    seed: int | None = None  # of a finalist or a replicate


def baseline(base: TrialConfig) -> PlannedTrial:
    """Train the original network with the whole budget."""
    config = base.model_copy(update={"method": CONTROLS[YARDSTICK].method, "layers": (), "neurons": 0})
    return PlannedTrial(config, role="control", control=YARDSTICK, origin="control")


def against_best(
    names: Sequence[Control], ranking: Ranking, candidates: Sequence[str], seed: int
) -> Callable[[Records], list[PlannedTrial]]:
    """Controls that answer to the best member of the front, which is known only after the search."""

    def plans(records: Records) -> list[PlannedTrial]:
        best = ranking.winner(records.values())
        if best is None:
            return []
        config = best.trial_config
        made = [
            _random_sites(config, candidates, seed)
            if CONTROLS[name].method is None
            else adapted(config, name, best.placed)
            for name in names
        ]
        return [replace(trial, of=best.number) for trial in made if trial is not None]

    return plans


def adapted(config: TrialConfig, name: Control, placed: Mapping[str, int] | None = None) -> PlannedTrial:
    """As many parameters on the same sites as the growth of this very configuration adds.

    `placed`: where its gradients put the neurons, if it left that to them.
    """
    operator = facts(config.method).operator(config)
    changes = {"method": CONTROLS[name].method, "rank": None, "lora_on": "sites", "operator": operator}
    where = {"layers": tuple(placed), "neurons": dict(placed)} if placed else {}
    changed = config.model_copy(update=changes | where)
    return PlannedTrial(changed, role="control", control=name, origin="control")


def _random_sites(config: TrialConfig, candidates: Sequence[str], seed: int) -> PlannedTrial | None:
    """The same widths at other sites; None if there is only one choice of sites."""
    growth = config.growth()
    sites = sorted(set(candidates) | set(growth))
    if len(sites) == len(growth):
        return None
    rng = random.Random(f"random sites {seed}")  # by text: the same in every Python, and no other draw's stream
    chosen = sorted(growth)
    while chosen == sorted(growth):
        chosen = sorted(rng.sample(sites, len(growth)))
    chosen.sort(key=sites.index)
    neurons = dict(zip(chosen, growth.values(), strict=True)) if isinstance(config.neurons, dict) else config.neurons
    changed = config.model_copy(update={"layers": tuple(chosen), "neurons": neurons})
    return PlannedTrial(changed, role="control", control="random", origin="control")


FRESH = 1000  # where seeds of finalists begin if replicates have taken the first ones: those took part in the choice


def finalists(ranking: Ranking, top: int, seeds: int, first: int = 1) -> Callable[[Records], list[PlannedTrial]]:
    """Runs of `top` members of the front and the baseline, `seeds` of each.

    The best member opens every seed, so that what the others of that seed begin with is trained without anybody
    waiting; then one seed of all before the next.
    """

    def plans(records: Records) -> list[PlannedTrial]:
        members = choose(ranking, [r for r in records.values() if r.role == "search"], top)
        entrants = members + [r for r in records.values() if _is_repeated(r)]
        if not members:
            return []
        groups = (entrants[:1], entrants[1:])
        return [_again(one, seed) for group in groups for seed in range(first, first + seeds) for one in group]

    return plans


def _is_repeated(record: TrialRecord) -> bool:
    """Whether a control is run again with the finalists."""
    # By role, for finalists of a control bear its name: a resume once took those of the baseline for baselines and ran
    # finalists of finalists on the evaluation split.
    facts = CONTROLS.get(record.control) if record.role == "control" else None  # type: ignore[call-overload]
    return facts is not None and facts.finalist and record.state == "done"


def choose(ranking: Ranking, records: Sequence[TrialRecord], top: int) -> list[TrialRecord]:
    """The best by the first objective, the knee of the front, then the next best by the first objective."""
    members = ranking.front(records)
    if len(members) <= top:
        return members
    bend = knee([ranking.values(record) for record in members], [one.goal for one in ranking.objectives])
    order = [members[0], members[bend or 0], *members]
    return list({record.number: record for record in order}.values())[:top]


def _again(record: TrialRecord, seed: int) -> PlannedTrial:
    fresh = record.trial_config.model_copy(update={"seed": record.trial_config.seed + seed})
    return PlannedTrial(
        fresh, role="finalist", control=record.control, params=record.params, origin="finalist",
        of=record.number, seed=fresh.seed,
    )  # fmt: skip
