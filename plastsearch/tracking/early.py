"""What trials showed on their way, by the share of the steps after growth, and whether it foretold their end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plastsearch.pareto.foretelling import rank_correlation
from plastsearch.tracking.events import Reported
from plastsearch.tracking.records import TrialRecord

SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Foretold:
    """How the values at one share of the steps rank the trials that went on to the end."""

    share: float
    trials: int
    correlation: float


def progress(history: Sequence[Reported]) -> float | None:
    """The share of the steps after growth that are done; None while the original network trains."""
    last = history[-1]
    # Trials that agree on `train` share it, and with it these very reports: to compare them says nothing.
    if last.stage == "train":
        return None
    base = max((report.step for report in history if report.stage in {"train", "dropin"}), default=0)
    left = last.steps_total - base
    return (last.step - base) / left if left > 0 else None


def value_at(history: Sequence[Reported], share: float, metric: str) -> float | None:
    """The metric as a rung there would see it: of the first report beyond; None if that is the end already."""
    for at, report in enumerate(history):
        done = progress(history[: at + 1])
        value = report.metrics.get(metric)
        if done is None or done < share or value is None:
            continue
        return value if done < 1 else None
    return None


def foretold(records: Iterable[TrialRecord], metric: str, shares: Sequence[float] = SHARES) -> list[Foretold]:
    """Rank correlation of early and final values at each share; what too few trials reported is left out.

    Halted trials have no end, so of a sweep that halts only survivors are compared, which look less alike than all.
    """
    done = [one for one in records if one.role == "search" and one.state == "done" and metric in one.metrics]
    found = []
    for share in shares:
        pairs = [(early, one.metrics[metric]) for one in done
                 if (early := value_at(one.history, share, metric)) is not None]  # fmt: skip
        correlation = rank_correlation([early for early, _ in pairs], [late for _, late in pairs])
        if correlation is not None:
            found.append(Foretold(share, len(pairs), correlation))
    return found
