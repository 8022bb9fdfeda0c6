"""A trial under way: its stages, what is finished, and what that cost or saved."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from plastsearch.spec.config import Report
from plastsearch.store.records import StageRecord
from plastsearch.trial.context import TrialContext
from plastsearch.trial.keys import StageKey, base_key
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import TrialNetwork, blank


@dataclass
class TrialRun:
    """Filled in as the trial goes: a finished stage adds its record, a wait or a computation its seconds."""

    context: TrialContext
    stages: tuple[Stage, ...]
    keys: list[StageKey]
    began: float
    records: list[StageRecord] = field(default_factory=list)
    network: TrialNetwork | None = None  # as after the last of `records`; None: not loaded yet
    waited_s: float = 0.0
    own_s: float = 0.0
    computed: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    @property
    def steps_total(self) -> int:
        return sum(stage.steps for stage in self.stages)

    @property
    def steps_done(self) -> int:
        return sum(stage.steps for stage in self.stages[: len(self.records)])

    @property
    def base(self) -> str:
        return base_key(self.context.config, self.stages, self.keys, self.context.environment)

    def load(self) -> TrialNetwork:
        """The network as the finished stages left it."""
        if self.network is None:
            done = len(self.records)
            network = blank(self.context.config, self.stages[:done], self.context.device)
            if done:
                load_weights(network, self.context.store.load(self.records[-1].key))
            self.network = network
        return self.network

    def resting(self) -> AbstractContextManager[None]:
        """While it lasts, nobody drops a stage this trial is made of."""
        return self.context.store.rest_on([key.key for key in self.keys], self.context.end_if_asked)

    def report(self, stage: str, step: int, metrics: dict[str, float], **details: Any) -> Report:
        return Report(stage, step, self.steps_total, metrics, details=details)


def load_weights(network: TrialNetwork, tensors: dict[str, Tensor]) -> None:
    """Every stored tensor has its place, and every place its tensor."""
    network.module.load_state_dict(tensors, strict=True)
