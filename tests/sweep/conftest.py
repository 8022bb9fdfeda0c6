"""Whole sweeps of fake trials: `rig` opens a folder and gives the driver and its surroundings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plastsearch.execute.inline import InlineExecutor
from plastsearch.execute.messages import Task
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings
from plastsearch.spec.sweep import Objective
from plastsearch.sweep.budget import Limits, Spent, exhausted
from plastsearch.sweep.phases import ListedPhase, Phase, SearchPhase
from plastsearch.sweep.planned import PlannedTrial
from plastsearch.sweep.run import Sweep
from plastsearch.sweep.state import SweepState
from plastsearch.sweep.waiting import FirstStage, FirstStages
from plastsearch.tracking.events import Event
from plastsearch.tracking.journal import Journal, read
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord, trials
from tests.sweep.fake_trials import FUNCTION, Dice

OBJECTIVES = (
    Objective(metric="dev_eer", goal="min", reference=50.0),
    Objective(metric="backward_ratio", goal="min", reference=1.1),
    Objective(metric="params_total", goal="min", reference=8000.0),
)


@dataclass
class Rig:
    """A sweep of fake trials in a folder."""

    folder: Path
    rng: Dice = field(default_factory=Dice)
    limits: Limits = field(default_factory=lambda: Limits(trials=6))
    phases: list[Phase] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    first_stage: FirstStage = lambda record: None
    heard: list[Event] = field(default_factory=list)

    def open(self) -> Sweep:
        """The driver, resumed from what the folder holds."""
        self.journal = Journal(self.folder)
        events = read(self.folder) if self.journal.path.stat().st_size else []
        ranking = Ranking(OBJECTIVES)
        search = SearchPhase(self.rng, lambda r: exhausted(self.limits, ranking, Spent(list(r.values()), 0.0)))
        baseline = ListedPhase(
            lambda _: [PlannedTrial(TrialConfig(method="baseline"), "control", "baseline")], barrier=False
        )
        state = SweepState(self.journal, events, [self])
        return Sweep(
            state,
            self.phases if self.phases is not None else [baseline, search],
            ranking,
            self.limits,
            self.task,
            proposer=self.rng,
            first_stages=FirstStages(state.records, self.first_stage),
            **self.options,
        )

    def task(self, record: TrialRecord, defer: bool) -> Task:
        """The fake trial."""
        settings = RunSettings(store=self.folder / "store", cache=self.folder / "cache", defer_busy=defer)
        return Task(function=FUNCTION, config=record.trial_config, settings=settings)

    def feed(self, event: Event) -> None:
        """Listen."""
        self.heard.append(event)

    def run(self) -> Sweep:
        """To the end, in this process."""
        sweep = self.open()
        try:
            InlineExecutor(self.limits.trial_timeout_s).run(sweep)
        finally:
            self.journal.close()
        return sweep

    def records(self) -> dict[int, TrialRecord]:
        """What the journal says now."""
        return trials(read(self.folder))


@pytest.fixture
def rig(tmp_path: Path) -> Callable[..., Rig]:
    """Make rigs below a temporary folder."""
    return lambda name="sweep", **more: Rig(tmp_path / name, **more)


@pytest.fixture(scope="session")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that whole commands share: to generate and decode the corpus takes longer than their trials."""
    return tmp_path_factory.mktemp("decoded")


@pytest.fixture
def one_cache(decoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of this test use it."""
    monkeypatch.setenv("PLASTSEARCH_CACHE", str(decoded))
