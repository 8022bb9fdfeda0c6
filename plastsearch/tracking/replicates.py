"""Trials that ran with several seeds: what each is worth by its mean, and how far seeds and configurations scatter.

Seeds are common: a trial runs with its own, then + 1, + 2, …, the baseline too. A trial of seeds 0 and 1 must not look
worse than one of seed 0 alone because seed 1 was hard on everybody, so means are taken after what each seed does to all
(pareto/noise.py), at the mean of all seeds. A trial that ran with all of them has its plain mean.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from plastsearch.pareto.noise import Fit, Measured, Noise, fit, noise
from plastsearch.tracking.records import TrialRecord


@dataclass
class Replicates:
    """Finished runs by trial and seed offset (0: the trial itself); grows with every end."""

    runs: dict[int, dict[int, Mapping[str, float]]] = field(default_factory=dict)
    twice: bool = False  # whether anything has run with a second seed, so that it is known what seeds do
    _bases: dict[int, int] = field(default_factory=dict)  # trial → the seed of its own run
    _controls: set[int] = field(default_factory=set)
    _waiting: dict[int, list[TrialRecord]] = field(default_factory=dict)  # replicates told before their trial
    _fits: dict[str, Fit] = field(default_factory=dict)  # of each metric, until the next end

    def note(self, record: TrialRecord) -> None:
        """Take in a run that has finished."""
        if record.state != "done" or record.role == "finalist":
            return
        if record.role != "replicate":
            self._bases[record.number] = _seed(record)
            if record.role == "control":
                self._controls.add(record.number)
            self._take(record.number, record)
            for one in self._waiting.pop(record.number, []):
                self._take(record.number, one)
        elif record.of in self._bases:
            self._take(record.of, record)
        elif record.of is not None:  # after a resume with edits a replicate may come before its trial
            self._waiting.setdefault(record.of, []).append(record)

    def _take(self, number: int, record: TrialRecord) -> None:
        runs = self.runs.setdefault(number, {})
        runs[_seed(record) - self._bases[number]] = record.metrics
        self.twice = self.twice or len(runs) > 1
        self._fits.clear()

    def count(self, number: int) -> int:
        """With how many seeds a trial has run."""
        return len(self.runs.get(number, ())) or 1

    def value(self, record: TrialRecord, metric: str) -> float | None:
        """A trial's metric: of its one run, or the mean over its seeds as if it had run with all of them."""
        own = record.metrics.get(metric)
        model = self._model(metric)
        if own is None or model is None:
            return own
        if record.number in model.levels:
            return model.levels[record.number]
        return own - model.seeds.get(0, 0.0)  # what its seed did to others that ran with more

    def relative(self, record: TrialRecord, metric: str) -> float | None:
        """The same at the seed of single runs: those stay as measured, so that a sampler need not hear of all anew."""
        found, model = self.value(record, metric), self._model(metric)
        return found if found is None or model is None else found + model.seeds.get(0, 0.0)

    def variance(self, metric: str) -> float | None:
        """Of a single run of a configuration, seeds common to all; None: nothing has run twice."""
        model = self._model(metric)
        return None if model is None else model.rest

    def freedom(self, metric: str) -> int:
        """Degrees of freedom of that variance: how well it is known."""
        model = self._model(metric)
        return 0 if model is None else model.freedom

    def _model(self, metric: str) -> Fit | None:
        if not self.twice:
            return None
        if metric not in self._fits:
            # Those that ran once, too: that others were chosen to run again by their luck is told by these.
            table = [
                Measured(number, seed, found[metric], counted=number not in self._controls)
                for number, runs in self.runs.items()
                for seed, found in runs.items()
                if metric in found
            ]
            self._fits[metric] = fit(table)
        return self._fits[metric]


def _seed(record: TrialRecord) -> int:
    seed = record.config.get("seed", 0)
    return seed if isinstance(seed, int) else 0


def noise_of(records: Iterable[TrialRecord], metric: str) -> Noise | None:
    """Reliability of one metric over a sweep; finalists are further seeds of their trials."""
    records = [record for record in records if not record.apart]
    bases = {one.number: one for one in records if one.role in ("search", "control") and one.state == "done"}
    table = []
    for one in records:
        trial = one if one.number in bases else bases.get(-1 if one.of is None else one.of)
        if trial is None or one.state != "done" or metric not in one.metrics:
            continue
        table.append(
            Measured(trial.number, _seed(one) - _seed(trial), one.metrics[metric], counted=trial.role == "search")
        )
    return noise(table)
