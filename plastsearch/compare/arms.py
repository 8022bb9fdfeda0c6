"""What is compared: scores of the same clips by several detectors, from score files, from models, or from a sweep.

Clips and classes come from a protocol; without one from the scores themselves: a 2019 file names its classes, and the
trials of a sweep kept what they said of every search-dev clip.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plastsearch.errors import DataError, PlastsearchError
from plastsearch.files import typed_path
from plastsearch.scores.clip_scores import HEADER, ClipScores, read_clip_scores
from plastsearch.scores.files import Scores, joined, read_scores
from plastsearch.scores.keys import Key, read_key
from plastsearch.scores.metrics import Floats, eer
from plastsearch.use.protocols import located
from plastsearch.use.references import InSweep, parse

UNKNOWN = "-"  # a speaker or an attack that nobody named


@dataclass(frozen=True)
class Clips:
    """Who is in the comparison, in one order for all arms."""

    ids: tuple[str, ...]
    is_bona: NDArray[np.bool_]
    attacks: NDArray[np.str_]
    speakers: NDArray[np.str_]
    source: str  # in words


@dataclass(frozen=True)
class Arm:
    """One detector's scores, clip by clip."""

    name: str
    scores: Floats
    threshold: float  # of its EER here, for the drawing and the table of clips

    @property
    def short(self) -> str:
        """Its name without the folders before it."""
        return self.name.rsplit("/", 1)[-1] if ":" not in self.name else _short(self.name)


def gather(
    names: Sequence[str],
    protocol: Path | None,
    audio: Path | None,
    subset: str | None = None,
    device: str = "auto",
    tick: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> tuple[Clips, tuple[Arm, ...]]:
    """Every arm's scores of the same clips."""
    if len(names) < 2:
        raise PlastsearchError("a comparison needs two or more models or score files")
    key = None if protocol is None else read_key(protocol, subset)
    files = {name: path for name in names if (path := typed_path(name)).is_file()}
    if key is None:
        return _by_themselves(names, files)
    clips = _of_key(key)
    scored: list[Floats] = []
    paths: list[Path] | None = None
    for name in names:
        if name in files:
            scored.append(joined(_file(files[name]), key))
            continue
        if audio is None:
            raise PlastsearchError(f"{name} is a model: say where the clips of {key.source} are (--audio FOLDER)")
        paths = paths or located(audio, key)
        scored.append(_heard(name, paths, key, device, tick))
    return clips, tuple(_arm(name, scores, clips) for name, scores in zip(names, scored, strict=True))


def _heard(name: str, paths: Sequence[Path], key: Key, device: str, tick: Callable[[str, int, int], None]) -> Floats:
    from plastsearch.use.load import load
    from plastsearch.use.scoring import scores_of

    model = load(name, device)
    named = {str(path): clip for path, clip in zip(paths, key.ids, strict=True)}
    plain = scores_of(model, named, key, lambda _what, done, total: tick(name, done, total))
    calibration = model.facts.calibration
    return plain if calibration is None else calibration.slope * plain + calibration.offset


def _by_themselves(names: Sequence[str], files: dict[str, Path]) -> tuple[Clips, tuple[Arm, ...]]:
    """Scores that bring their classes along, of the same clips."""
    kept = [(name, _kept(name, files.get(name))) for name in names]
    first = kept[0][1]
    order = {clip: at for at, clip in enumerate(first.ids)}
    clips = Clips(
        first.ids, first.is_bona, first.attacks, first.speakers, f"the {len(first.ids):,} clips of {names[0]}"
    )
    arms = []
    for name, own in kept:
        if set(own.ids) != order.keys():
            raise DataError(
                f"{name} and {names[0]} did not score the same clips ({len(own.ids):,} and {len(first.ids):,}); give a "
                "protocol that both cover (--protocol)"
            )
        scores = np.empty(len(order))
        scores[[order[clip] for clip in own.ids]] = own.scores
        arms.append(_arm(name, scores, clips))
    return clips, tuple(arms)


def _kept(name: str, file: Path | None) -> ClipScores:
    if file is None:
        reference = parse(name)
        if not isinstance(reference, InSweep):
            raise PlastsearchError(f"{name} keeps no scores: say on which clips (--protocol FILE --audio FOLDER)")
        return _of_trial(reference)
    if _is_kept(file):
        return read_clip_scores(file)
    scores = read_scores(file)
    if scores.key is None:
        raise PlastsearchError(f"{file}: its lines hold no classes, so the protocol must be given (--protocol)")
    key = _of_key(scores.key)
    return ClipScores(tuple(scores.ids), key.speakers, key.attacks, key.is_bona, scores.values)


def _of_trial(reference: InSweep) -> ClipScores:
    """What a trial kept of the search-dev clips."""
    from plastsearch.analysis.results import load_results
    from plastsearch.use.found import choose

    record = choose(load_results(reference.folder), reference)
    kept = record.details.get("scores", {}).get("search_dev")
    if not kept:
        raise PlastsearchError(f"{reference.folder}: trial {record.number} kept no scores of single clips")
    path = Path(kept)
    beside = reference.folder.parent / "store" / "scores" / path.name
    return read_clip_scores(beside if beside.is_file() else path)


def _file(path: Path) -> Scores:
    if not _is_kept(path):
        return read_scores(path)
    kept = read_clip_scores(path)
    return Scores(path, kept.ids, tuple(range(2, len(kept.ids) + 2)), kept.scores)


def _is_kept(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(200).startswith("\t".join(HEADER).encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _of_key(key: Key) -> Clips:
    unknown = (UNKNOWN,) * len(key.ids)
    return Clips(
        tuple(key.ids), key.is_bona, np.array(key.attacks or unknown), np.array(key.speakers or unknown),
        f"the {len(key.ids):,} clips of {key.source}",
    )  # fmt: skip


def _arm(name: str, scores: Floats, clips: Clips) -> Arm:
    return Arm(name, scores, eer(scores[clips.is_bona], scores[~clips.is_bona])[1])


def _short(name: str) -> str:
    folder, _, which = name.rpartition(":")
    return f"{Path(folder).name}:{which}"
