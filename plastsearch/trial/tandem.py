"""The tandem cost of a finalist where its corpus brings a speaker verifier's scores."""

from pathlib import Path

from plastsearch.data.clips import ClipSet
from plastsearch.errors import DataError
from plastsearch.trial.scoring import Scores
from plastsearch.trial.tdcf import min_tdcf_2019
from plastsearch.trial.truth import read_verifier


def tandem_cost(scores: Scores, clips: ClipSet, verifier: Path | None) -> tuple[dict[str, float], list[str]]:
    """`eval_min_tdcf` (2019's), or nothing and why: a file that cannot be used must not cost a finalist its result."""
    if verifier is None:
        return {}, []
    try:
        bona, spoof = scores[clips.labels == 1], scores[clips.labels == 0]
        return {"eval_min_tdcf": min_tdcf_2019(bona, spoof, read_verifier(verifier))}, []
    except DataError as error:
        return {}, [f"eval_min_tdcf is left out: {error}"]
