"""What a sweep was told of earlier ones when it began: their trials in its own parameters, kept in its folder.

Kept, because a resumed sweep must propose the same, whatever has become of the folders and servers it was read from.
How much an earlier sweep counts follows from this file and the records: driver and report ask the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from plastsearch.errors import PlastsearchError
from plastsearch.files import whole_file
from plastsearch.pareto.likeness import Foretelling
from plastsearch.pareto.surface import Column, Floats

FILE = "warm_start.json"
LEARNING = ("auto", "tpe")  # samplers that weigh earlier trials, `auto` until it switches; others take openings alone


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Form(_Kept):
    """What a flat parameter may be: one of some labels, or a number."""

    labels: list[JsonValue] = []
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def column(self) -> Column:
        """How its numbers are to be read."""
        return Column(len(self.labels), self.low, self.high, self.log)

    def number(self, value: JsonValue) -> float:
        """The place of a label, or the number itself."""
        if self.labels:
            # By type as well: in Python 1, 1.0 and True are equal.
            return next(at for at, one in enumerate(self.labels) if one == value and type(one) is type(value))
        assert isinstance(value, int | float)
        return float(value)


class EarlierTrial(_Kept):
    """A finished trial: parameters of the present space, objectives in the present order, excess over its limits."""

    params: dict[str, JsonValue]
    values: list[float]
    excess: float = 0.0


class EarlierSweep(_Kept):
    """The trials of one sweep that fit, and in words how many those were."""

    source: str  # as the space names it
    name: str
    said: str
    trials: list[EarlierTrial]


class Opening(_Kept):
    """A point that opens the search, and the sweep it was found by."""

    params: dict[str, JsonValue]
    of: int


class Earlier(_Kept):
    """All of it."""

    version: Literal[1] = 1
    sources: list[str]
    objectives: list[str]
    goals: list[Literal["min", "max"]]
    parameters: dict[str, Form]
    sweeps: list[EarlierSweep]
    openings: list[Opening]

    def rows(self, params: Sequence[Mapping[str, JsonValue]]) -> Floats:
        """Flat parameters as numbers, NaN where one does not count."""
        found = np.full((len(params), len(self.parameters)), np.nan)
        places = {name: at for at, name in enumerate(self.parameters)}
        for row, one in zip(found, params, strict=True):
            for name, value in one.items():
                row[places[name]] = self.parameters[name].number(value)
        return found

    def losses(self, values: Sequence[Sequence[float]]) -> Floats:
        """Objectives such that less is better."""
        signs = np.array([-1.0 if goal == "max" else 1.0 for goal in self.goals])
        found: Floats = np.array(values, dtype=np.float64).reshape(-1, len(signs)) * signs
        return found

    def foretellings(self) -> list[Foretelling]:
        """A model of each earlier sweep."""
        columns = [form.column for form in self.parameters.values()]
        return [
            Foretelling(
                columns,
                self.rows([trial.params for trial in sweep.trials]),
                self.losses([trial.values for trial in sweep.trials]),
            )
            for sweep in self.sweeps
        ]


def keep(folder: Path, earlier: Earlier) -> None:
    """Write it into a sweep's folder."""
    with whole_file(folder / FILE) as draft:
        draft.write_text(earlier.model_dump_json(exclude_defaults=True), encoding="utf-8")


def kept(folder: Path) -> Earlier:
    """Read it from a sweep's folder."""
    path = folder / FILE
    try:
        return Earlier.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise PlastsearchError(
            f"{path} is missing: it holds what this sweep was told of earlier ones, and without it the sweep would go "
            "on otherwise than it began; restore it from a copy, or start another sweep with --name"
        ) from None
    except (ValidationError, OSError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise PlastsearchError(
            f"{path}: cannot be read ({said}); restore it from a copy, or start another sweep with --name"
        ) from None
