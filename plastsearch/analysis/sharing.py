"""What trials did not do twice: stages taken from the store, with the steps and the seconds that they had cost once."""

from collections.abc import Iterable
from dataclasses import dataclass

from plastsearch.analysis.rows import TrialRow
from plastsearch.spec.methods import METHODS

ORDER = tuple(dict.fromkeys(stage.stage for method in METHODS.values() for stage in method.stages))


@dataclass
class Shared:
    """One kind of stage over all trials; `steps` as far as trials said how many a stage took."""

    stage: str
    computed: int = 0
    reused: int = 0
    steps: int = 0
    seconds: float = 0.0

    @property
    def asked(self) -> int:
        """How often trials came to it."""
        return self.computed + self.reused


def shared(rows: Iterable[TrialRow]) -> list[Shared]:
    """Each kind of stage, in the order in which a trial passes them."""
    found: dict[str, Shared] = {}
    for row in rows:
        if row.record.state == "reused":  # it carries the stages of the trial whose result it took
            continue
        for stage in row.record.details.get("stages") or ():
            one = found.setdefault(str(stage["stage"]), Shared(str(stage["stage"])))
            if stage.get("from") == "reused":
                one.reused += 1
                steps, seconds = stage.get("steps_taken"), stage.get("seconds")
                one.steps += steps if isinstance(steps, int) else 0
                one.seconds += seconds if isinstance(seconds, int | float) else 0.0
            else:  # computed, or its own of before it was killed
                one.computed += 1
    places = {name: at for at, name in enumerate(ORDER)}
    return sorted(found.values(), key=lambda one: places.get(one.stage, len(places)))  # type: ignore[call-overload]
