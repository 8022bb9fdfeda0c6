"""Intervals of the error rate of each attack, from the scores that the sweep kept; they travel in the model's facts."""

from pathlib import Path
from typing import cast

from pydantic import JsonValue

from plastsearch.scores.bootstrap import bootstrap_eer
from plastsearch.scores.clip_scores import FOLDER, ClipScores, Split, read_clip_scores
from plastsearch.use.facts import Facts
from plastsearch.use.found import STORE
from plastsearch.use.references import InSweep, Reference

INTERVALS = "attack_intervals"  # split → attack → [low, high], in percent
SPLITS: dict[str, Split] = {"dev": "search_dev", "eval": "evaluation"}


def with_attack_intervals(facts: Facts, reference: Reference, replicates: int = 1000) -> Facts:
    """The facts with them where a sweep's scores are at hand; an exported model brings its own."""
    if not isinstance(reference, InSweep):
        return facts
    found: dict[str, JsonValue] = {}
    for split, name in SPLITS.items():
        path = _scores_of(reference.folder, facts, name)
        if path.is_file():
            found[split] = cast("JsonValue", _intervals(read_clip_scores(path), replicates))
    return facts.model_copy(update={"found": {**facts.found, INTERVALS: found}}) if found else facts


def _scores_of(sweep: Path, facts: Facts, split: Split) -> Path:
    return sweep.parent / STORE / FOLDER / f"{facts.found.get('model_key')}.{split}.tsv"


def _intervals(kept: ClipScores, replicates: int) -> dict[str, list[float]]:
    """Each attack against all bona fide clips, resampled by speaker as the pooled rate is."""
    bona = kept.is_bona
    found: dict[str, list[float]] = {}
    for attack in sorted({str(name) for name in kept.attacks[~bona]}):
        of_attack = ~bona & (kept.attacks == attack)
        low, high = bootstrap_eer(
            kept.scores[bona], kept.scores[of_attack], bona_speakers=kept.speakers[bona],
            spoof_speakers=kept.speakers[of_attack], replicates=replicates,
        )  # fmt: skip
        found[attack] = [low, high]
    return found
