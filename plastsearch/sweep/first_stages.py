"""What trials have in common from the start: a first stage that one of them computes while the others wait for it."""

from collections.abc import Callable, Mapping

from plastsearch.errors import PlastsearchError
from plastsearch.tracking.journal import TrialRecord
from plastsearch.trial.keys import foreseen, stage_keys
from plastsearch.trial.methods import stages_of

_SOME = 1000  # clips: their number is the same for all
FirstStage = Callable[[TrialRecord], str | None]


def first_stage(record: TrialRecord) -> str | None:
    """The first stage by the name it would have in the stage store; None: nothing that could be shared."""
    config = record.trial_config
    try:
        first = stages_of(config, _SOME)[0]
        return stage_keys(config, [first], foreseen(config))[0].key if first.name == "train" else None
    except PlastsearchError:
        return None  # the trial will say what is wrong


class FirstStages:
    """Remembers what each trial begins with and which of these stages are finished."""

    def __init__(self, records: Mapping[int, TrialRecord], name: FirstStage = first_stage) -> None:
        self._records, self._name = records, name
        self._names: dict[int, str | None] = {}
        self._finished: set[str] = set()
        for record in list(records.values()):
            self.hear(record)

    def hear(self, record: TrialRecord) -> None:
        """Take notice of a trial that is past its first stage: nobody has to wait for that stage any more."""
        name = self._of(record)
        if name is None or name in self._finished:
            return
        if record.stage not in {None, "train"} or any(report.boundary for report in record.history):
            self._finished.add(name)

    def awaited(self, record: TrialRecord) -> TrialRecord | None:
        """The other trial that is just computing what this one begins with: of those that run, the first to start."""
        name = self._of(record)
        if name is None or name in self._finished or record.state != "running" or record.stage is not None:
            return None
        running = [one for one in list(self._records.values()) if one.state == "running" and self._of(one) == name]
        first = min(running, key=lambda one: (one.started_at or 0.0, one.number))
        return None if first is record else first

    def all_wait(self, record: TrialRecord) -> bool:
        """Whether all trials so far begin with one stage that is not finished: then nobody else has work for a slot."""
        name = self._of(record)
        if name is None or name in self._finished:
            return False
        return all(self._of(one) == name for one in self._records.values())

    def _of(self, record: TrialRecord) -> str | None:
        if record.number not in self._names:
            self._names[record.number] = self._name(record)
        return self._names[record.number]
