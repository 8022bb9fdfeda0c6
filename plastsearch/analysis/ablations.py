"""Why a trial won, as an ablation found it: two greedy paths between baseline and trial, and how sure each step is.

Who runs it stands above, in the room `ablation`; reports read here what it left in `<sweep>/ablate/<trial>`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from plastsearch.errors import PlastsearchError
from plastsearch.files import whole_file
from plastsearch.spec.constraints import Goal

FOLDER = "ablate"
DATA, TABLE, PICTURE, PAGE = "ablation.json", "ablation.csv", "ablation.png", "ablation.html"


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Change(_Plain):
    """One field in which the trial differs from the baseline, and what it was worth wherever that was measured.

    Worth is what the metric gains by having the field as in the trial: above zero, the field helps.
    """

    name: str
    words: str
    alone: float | None = None  # added to the baseline by itself
    forward: float | None = None  # added where the path forward added it
    backward: float | None = None  # taken away where the path backward did
    left_out: float | None = None  # taken away from the trial, everything else kept
    together: tuple[str, ...] = ()  # fields that one of these numbers shares with it


class Step(_Plain):
    """One step of a path: after minus before, with its interval."""

    fields: tuple[str, ...]
    words: str
    along: tuple[str, ...] = ()  # fields that fall with it, since nothing reads them any more
    value: float  # after it, mean over seeds
    points: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_corrected: float | None = None
    missing: str | None = None  # why there is no interval
    rivals: tuple[tuple[str, float], ...] = ()  # what else was tried here, with the value after it

    @property
    def clear(self) -> bool:
        """Whether it differs from no change, after the correction."""
        return self.p_corrected is not None and self.p_corrected < 0.05


class Way(_Plain):
    """One direction: from the baseline up, or from the trial down."""

    direction: Literal["forward", "backward"]
    start: float
    steps: tuple[Step, ...]
    complete: bool = True


class Ablation(_Plain):
    """All that an ablation found."""

    sweep: str
    trial: int
    metric: str
    goal: Goal
    seeds: tuple[int, ...]
    runs: int
    reused_seconds: float = 0.0
    seconds: float = 0.0
    whole: Step | None = None  # the trial against the baseline
    forward: Way
    backward: Way
    changes: tuple[Change, ...]
    conflicts: tuple[tuple[str, str], ...] = ()  # pairs of fields that the two directions put in opposite orders
    family: int = 0  # steps that share Holm's correction
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Way, Way]:
        """Both directions."""
        return self.forward, self.backward

    @property
    def complete(self) -> bool:
        """Whether both paths reached their other end."""
        return self.forward.complete and self.backward.complete

    def words(self, name: str) -> str:
        """A field's change, for a person."""
        return next((one.words for one in self.changes if one.name == name), name)


def save(ablation: Ablation, folder: Path) -> Path:
    """Write it down; it appears whole or not at all."""
    with whole_file(folder / DATA) as draft:
        draft.write_text(ablation.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return folder / DATA


def load_ablations(sweep: Path) -> Sequence[Ablation]:
    """Every ablation of a sweep that came to an end, by the trial's number."""
    found = [_load(path) for path in (sweep / FOLDER).glob(f"*/{DATA}")]
    return sorted(found, key=lambda one: one.trial)


def answers(sweep: Path) -> dict[str, Path]:
    """The files of every ablation, by the path they have among the sweep's artifacts."""
    found = [path for name in (DATA, TABLE, PICTURE, PAGE) for path in (sweep / FOLDER).glob(f"*/{name}")]
    return {path.relative_to(sweep).as_posix(): path for path in sorted(found)}


def _load(path: Path) -> Ablation:
    try:
        return Ablation.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise PlastsearchError(
            f"{path}: not an ablation ({first['msg']}); delete that file and run `plastsearch ablate` again"
        ) from None
