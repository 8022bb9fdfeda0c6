"""EER by attack: of finalists with intervals, of all arms for the ranking of methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from plastsearch.analysis.comparing import NoAnswerError, attack_eers, kept_scores, scored
from plastsearch.analysis.paired import Estimate, over_seeds
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import Finalist, TrialRow
from plastsearch.scores.clip_scores import Split

KEYS: dict[Split, str] = {"search_dev": "per_attack", "evaluation": "eval_per_attack"}
# Clips times seeds that are resampled at most: beyond, half a minute would go into the table of one large corpus.
MOST = 1_500_000
SAME = 0.005  # percent: a trial's own number and the one of its scores, which a report shows alike


@dataclass(frozen=True)
class ByAttack:
    """Finalists on a split: EER of each attack, a mean over seeds."""

    split: Split
    attacks: tuple[str, ...]
    lines: tuple[tuple[Finalist, dict[str, Estimate]], ...]
    by_clips: bool  # whether intervals hold clips, too, or seeds alone


def by_attack(results: Results) -> ByAttack | None:
    """On the evaluation split, or on search-dev where that says nothing of attacks; None without finalists."""
    order: tuple[Split, ...] = ("evaluation", "search_dev")
    for split in order:
        lines = [(one, scored(one, split)) for one in results.finalists]
        lines = [(one, runs) for one, runs in lines if any(attacks_of(run, split) for run in runs)]
        if not lines:
            continue
        attacks = sorted({attack for _, runs in lines for run in runs for attack in attacks_of(run, split)})
        by_clips = _size(results, [run for _, runs in lines for run in runs], split) <= MOST
        found = tuple((one, _line(results, runs, split, by_clips)) for one, runs in lines)
        return ByAttack(split, tuple(attacks), found, by_clips)
    return None


def attacks_of(row: TrialRow, split: Split) -> dict[str, float]:
    """What a run says of single attacks, in percent."""
    found = row.record.details.get(KEYS[split]) or {}
    if not isinstance(found, dict):
        return {}
    return {str(name): float(value) for name, value in found.items() if isinstance(value, int | float)}


def _size(results: Results, runs: Sequence[TrialRow], split: Split) -> int:
    try:
        return kept_scores(results.folder, runs[0], split).is_bona.size * len(runs)
    except NoAnswerError:
        return 0


def _line(results: Results, runs: Sequence[TrialRow], split: Split, by_clips: bool) -> dict[str, Estimate]:
    """What trials say of each attack, a mean over seeds; the interval by their scores, else by seeds alone."""
    try:
        scored_by = attack_eers(results.folder, runs, split) if by_clips else {}
    except NoAnswerError:
        scored_by = {}
    told: dict[str, list[float]] = {}
    for run in runs:
        for attack, value in attacks_of(run, split).items():
            told.setdefault(attack, []).append(value)
    found = {}
    for attack, values in told.items():
        mean, own = fmean(values), scored_by.get(attack)
        if own is not None and abs(own.value - mean) < SAME:
            found[attack] = own
        else:
            low, high, _ = over_seeds(values) or (None, None, None)
            found[attack] = Estimate(mean, None if low is None else max(0.0, low), high)
    return found
