"""A model's calibration learnt from labelled clips: where their scores come from, what is learnt, where it is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plastsearch.analysis.results import load_results
from plastsearch.errors import DataError, PlastsearchError
from plastsearch.files import typed_path
from plastsearch.scores.calibration import Affine, cross_cllr, fit_affine, min_cllr
from plastsearch.scores.clip_scores import FOLDER, read_clip_scores
from plastsearch.scores.files import joined, read_scores
from plastsearch.scores.keys import Key, read_key
from plastsearch.scores.metrics import Floats, cllr, eer
from plastsearch.use.calibrations import FILE, keep_calibration, of_sweep
from plastsearch.use.facts import Calibration, Facts
from plastsearch.use.folder import read_folder
from plastsearch.use.found import choose
from plastsearch.use.inputs import inputs, of_protocol
from plastsearch.use.model import Model
from plastsearch.use.opened import known_to, opened_names, refuse, same_audio
from plastsearch.use.references import InFolder, InSweep, Reference
from plastsearch.use.scoring import scores_of

DEV = "dev"
Scale = Literal["plain", "llr"]
Tick = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Labelled:
    """Plain scores of clips whose class is known."""

    scores: Floats
    is_bona: NDArray[np.bool_]
    source: str  # in words


@dataclass(frozen=True)
class Learnt:
    """The map, and what it is worth on the clips that it was learnt from."""

    affine: Affine
    labelled: Labelled
    eer: float
    cllr_before: float
    cllr_after: float
    cllr_cross: float  # of clips that the map did not know
    min_cllr: float

    def calibration(self) -> Calibration:
        """As it is kept."""
        bona = int(self.labelled.is_bona.sum())
        return Calibration(
            slope=self.affine.slope, offset=self.affine.offset, learnt_on=self.labelled.source, bona_fide=bona,
            spoofed=self.labelled.is_bona.size - bona, cllr_before=self.cllr_before, cllr_after=self.cllr_after,
            min_cllr=self.min_cllr,
        )  # fmt: skip

    @property
    def classes(self) -> tuple[Floats, Floats]:
        """Plain scores of bona fide and of spoofed clips."""
        return self.labelled.scores[self.labelled.is_bona], self.labelled.scores[~self.labelled.is_bona]


def learn(labelled: Labelled, seed: int = 0) -> Learnt:
    """Fit, and judge by the same clips and by folds."""
    bona, spoof = labelled.scores[labelled.is_bona], labelled.scores[~labelled.is_bona]
    affine = fit_affine(bona, spoof)
    return Learnt(
        affine=affine, labelled=labelled, eer=eer(bona, spoof)[0], cllr_before=cllr(bona, spoof),
        cllr_after=cllr(affine.of(bona), affine.of(spoof)), cllr_cross=cross_cllr(bona, spoof, seed),
        min_cllr=min_cllr(bona, spoof),
    )  # fmt: skip


def of_dev(reference: Reference) -> Labelled:
    """What the sweep kept of the search-dev clips."""
    if not isinstance(reference, InSweep):
        raise PlastsearchError(
            "--on dev: only a sweep keeps the scores of its search-dev clips; calibrate there (SWEEP:17 --on dev "
            "--into FOLDER reaches an exported model, too), or name labelled clips: --on AUDIO --protocol FILE"
        )
    results = load_results(reference.folder)
    record = choose(results, reference)
    named = dict(record.details.get("scores") or {}).get("search_dev")
    beside = results.folder.parent / "store" / FOLDER / f"{record.details.get('model_key')}.search_dev.tsv"
    path = next((one for one in (beside, Path(named or "")) if one.is_file()), None)
    if path is None:
        raise DataError(f"{beside}: the scores of trial {record.number} are gone; name labelled clips instead")
    kept = read_clip_scores(path)
    return Labelled(kept.scores, kept.is_bona, f"search-dev of {results.name}, trial {record.number}")


def of_files(
    model: Model, reference: Reference, on: str, protocol: Path | None, subset: str | None, scale: Scale | None,
    even_evaluation: bool, tick: Tick,
) -> Labelled:  # fmt: skip
    """Out of a score file, or of audio and the protocol that labels it; opened evaluation data is refused."""
    path = typed_path(on)
    key = None if protocol is None else read_key(protocol, subset)
    if path.is_file():
        read = read_scores(path)
        key = key or read.key
        if key is None:
            raise DataError(f"{path}: its lines hold no classes; give the protocol (--protocol)")
        _check_opened(model.facts, reference, key, [], even_evaluation)
        return Labelled(_plain(joined(read, key), model.facts, scale, path), key.is_bona, f"scores in {path.name}")
    if key is None:
        raise DataError(f"{on}: clips need their classes; give the protocol (--protocol), or take --on dev")
    named = of_protocol(inputs([on]), key)
    _check_opened(model.facts, reference, key, list(named), even_evaluation)
    scores = scores_of(model, named, key, tick)
    return Labelled(scores, key.is_bona, f"{len(key.ids):,} clips of {key.source.name}")


def _plain(scores: Floats, facts: Facts, scale: Scale | None, path: Path) -> Floats:
    """Scores as the network gives them: of a calibrated model a file may hold either kind, which no number tells."""
    if facts.calibration is None:
        if scale == "llr":
            raise PlastsearchError("--scale llr: this model is not calibrated; its scores are plain")
        return scores
    if scale is None:
        raise PlastsearchError(
            f"{path}: the model is calibrated already: say whether these scores are its log-likelihood ratios "
            "(--scale llr) or were written with --plain (--scale plain)"
        )
    if scale == "plain":
        return scores
    found: Floats = (scores - facts.calibration.offset) / facts.calibration.slope
    return found


def _check_opened(facts: Facts, reference: Reference, key: Key, paths: list[str], told_so: bool) -> None:
    if told_so:
        return
    if isinstance(reference, InSweep):
        results = load_results(reference.folder)
        known = opened_names(results)
        refuse([name for name in key.ids if name in known], len(key.ids), told_so)
        refuse(same_audio(results, paths, facts.rate_hz, facts.storage), len(key.ids), told_so)
    refuse(known_to(facts, key.ids), len(key.ids), told_so)


def keep(reference: Reference, model: Model, learnt: Learnt, into: Path | None) -> list[Path]:
    """Write it where the model finds it, and into an exported folder of the same network; where that is."""
    key = model.facts.found.get("model_key")
    places = [place_of(reference, model)]
    if into is not None:
        _, facts = read_folder(into)
        if facts.found.get("model_key") != key or key is None:
            raise PlastsearchError(f"{into}: holds {facts.name}, not {model.facts.name}: another network")
        places.append(into / FILE)
    for place in places:
        keep_calibration(place, learnt.calibration())
    return places


def place_of(reference: Reference, model: Model) -> Path:
    """Where a model's calibration is kept."""
    match reference:
        case InFolder(folder):
            return folder / FILE
        case InSweep():
            return of_sweep(load_results(reference.folder).folder, str(model.facts.found["model_key"]))
        case _:
            raise PlastsearchError(
                "what MLflow keeps is not changed: calibrate the sweep's trial or the exported folder, and log it again"
            )
