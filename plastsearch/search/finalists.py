"""After the search: members of the front again, with fresh seeds, timed again, and scored on the evaluation split.

Seeds are fresh because the front was chosen for its scores: the seed that won is the one that overstates. Finalists run
beside each other like any trials, since what must not overlap, the timing, takes its turn on each node.
"""

from collections.abc import Callable, Sequence

from plastsearch.pareto.front import knee
from plastsearch.search.phases import Plan, Records
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import CONTROLS
from plastsearch.tracking.journal import TrialRecord
from plastsearch.tracking.standing import Standing


def finalists(standing: Standing, top: int, seeds: int) -> Callable[[Records], list[Plan]]:
    """Plans for `top` members of the front and the baseline, `seeds` of each.

    The best member opens every seed, so that what the others of that seed begin with is trained without anybody
    waiting; then one seed of all before the next.
    """

    def plans(records: Records) -> list[Plan]:
        members = choose(standing, [r for r in records.values() if r.role == "search"], top)
        entrants = members + [r for r in records.values() if _stands_beside(r)]
        if not members:
            return []
        groups = (entrants[:1], entrants[1:])
        return [_again(one, seed) for group in groups for seed in range(1, seeds + 1) for one in group]

    return plans


def _stands_beside(record: TrialRecord) -> bool:
    """Whether it is a control to run again; a finalist of a control bears its name, too, and is not run yet again."""
    facts = CONTROLS.get(record.control) if record.role == "control" else None  # type: ignore[call-overload]
    return facts is not None and facts.finalist and record.state == "done"


def choose(standing: Standing, records: Sequence[TrialRecord], top: int) -> list[TrialRecord]:
    """The best by the first objective, the knee of the front, then the next best by the first objective."""
    members = standing.front(records)
    if len(members) <= top:
        return members
    bend = knee([standing.values(record) for record in members], [aim.goal for aim in standing.aims])
    order = [members[0], members[bend or 0], *members]
    return list({record.number: record for record in order}.values())[:top]


def _again(record: TrialRecord, seed: int) -> Plan:
    config = TrialConfig.model_validate(record.config)
    fresh = config.model_copy(update={"seed": config.seed + seed})
    extra = {"of": record.number, "seed": fresh.seed}
    return Plan(fresh, role="finalist", control=record.control, params=record.params, origin="finalist", extra=extra)
