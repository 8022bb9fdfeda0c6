"""Every metric of one split at once, with an interval and the error rate of each attack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from plastsearch.errors import DataError
from plastsearch.scores.bootstrap import bootstrap_eer
from plastsearch.scores.columns import NONE, numbered
from plastsearch.scores.metrics import (
    LEAST_SPEAKERS,
    act_dcf,
    checked,
    cllr,
    eer,
    eer_tie_safe,
    min_dcf,
)
from plastsearch.scores.smooth import auc, eer_smooth


@dataclass(frozen=True)
class Summary:
    """Every metric of one split, error rates in percent."""

    eer: float
    threshold: float
    eer_tie_safe: float
    min_dcf: float
    act_dcf: float
    cllr: float
    auc: float
    eer_smooth: float
    n_bona: int
    n_spoof: int
    eer_low: float | None = None  # the interval; None if none was drawn
    eer_high: float | None = None
    interval_over: Literal["clips", "speakers"] | None = None
    per_attack: Mapping[str, float] | None = None  # None if attacks are not known

    def plain(self) -> dict[str, object]:
        """By name; what there is not is left out."""
        return {name: value for name, value in vars(self).items() if value is not None}


def summary(
    scores: ArrayLike, labels: ArrayLike, attacks: Sequence[str] | None = None, speakers: Sequence[str] | None = None,
    seed: int = 0, replicates: int = 1000,
) -> Summary:  # fmt: skip
    """Every metric of one split; labels are 1 for bona fide, 0 for spoof; no interval if `replicates` is 0."""
    values = np.asarray(scores, dtype=np.float64).ravel()
    is_bona = np.asarray(labels).ravel() == 1
    if values.size != is_bona.size:
        raise DataError(f"{values.size} scores for {is_bona.size} labels: each clip needs one of each")
    bona, spoof = checked(values[is_bona], "bona fide"), checked(values[~is_bona], "spoof")
    value, threshold = eer(bona, spoof)
    found = Summary(
        eer=value, threshold=threshold, eer_tie_safe=eer_tie_safe(bona, spoof), min_dcf=min_dcf(bona, spoof),
        act_dcf=act_dcf(bona, spoof), cllr=cllr(bona, spoof),
        auc=auc(bona, spoof), eer_smooth=eer_smooth(bona, spoof), n_bona=bona.size, n_spoof=spoof.size,
    )  # fmt: skip
    if replicates:
        names = None if speakers is None else numbered(speakers)
        if names is not None and (len(names.different) < LEAST_SPEAKERS or NONE in names.different):
            names = None
        split = {} if names is None else {
            "bona_speakers": names.codes[is_bona], "spoof_speakers": names.codes[~is_bona]
        }  # fmt: skip
        low, high = bootstrap_eer(bona, spoof, replicates=replicates, seed=seed, **split)
        over: Literal["clips", "speakers"] = "clips" if names is None else "speakers"
        found = replace(found, eer_low=low, eer_high=high, interval_over=over)
    if attacks is not None:
        of_all = numbered(attacks)
        of_spoof = of_all.codes[~is_bona]
        rates = {of_all.different[n]: eer(bona, spoof[of_spoof == n])[0] for n in np.unique(of_spoof).tolist()}
        found = replace(found, per_attack=rates)
    return found
