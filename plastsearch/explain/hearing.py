"""One clip as it is explained: the window that decided, its spectrogram, and relevance by method and stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from plastsearch.data.windows import HOP_S
from plastsearch.errors import PlastsearchError
from plastsearch.explain.evidence import CELL_S
from plastsearch.explain.inputs import Inputs, row_khz
from plastsearch.explain.relevance import MethodName, Relevance, Settings, explain
from plastsearch.models.frontend import build_front_end
from plastsearch.scores.metrics import Floats
from plastsearch.use.model import Model, Verdict, Window
from plastsearch.use.windows import cut

BANDS = 80
RANGE_DB = 70.0  # under the loudest cell: the rest is drawn as silence


@dataclass(frozen=True)
class Stage:
    """One network beside others: the baseline, grown, pruned."""

    name: str
    inputs: Inputs


@dataclass(frozen=True)
class Panel:
    """Relevance under one network."""

    stage: str
    score: float
    found: Relevance


@dataclass(frozen=True)
class Explained:
    """A clip with all its panels."""

    name: str
    length_s: float
    start_s: float  # of the window that is explained
    window_s: float
    heard_s: float  # of the window what is the clip's own: a short clip is repeated to fill it
    score: float  # of the whole clip
    bona_fide: bool
    windows: tuple[Window, ...]
    spectrum: Floats  # decibels under the loudest cell
    khz: Floats
    map_khz: Floats | None  # of the rows of a map, if they are bands
    panels: Mapping[MethodName, Sequence[Panel]]


def hear(
    model: Model, path: str, name: str, stages: Sequence[Stage], methods: Sequence[MethodName], settings: Settings,
    at_s: float | None,
) -> Explained:  # fmt: skip
    """Explain the window of a clip that speaks most for its verdict, or the one that begins at `at_s`."""
    wave = model.read(path)
    length_s = len(wave) / model.rate_hz
    if at_s is not None and not 0 <= at_s < length_s:
        raise PlastsearchError(f"--at {at_s:g}: {name} lasts {length_s:.2f} s")
    said = model.judged(wave, Verdict(threshold=model.threshold()), HOP_S, "mean")
    loudest = (max if said.bona_fide else min)(said.windows, key=lambda one: one.score)
    start = round((loudest.start_s if at_s is None else at_s) * model.rate_hz)
    window = cut(wave, start, model.window_samples)
    wave_1T = torch.from_numpy(window)[None].to(model.device)
    panels: dict[MethodName, list[Panel]] = {}
    for method in methods:
        for stage in stages:
            input_FL = stage.inputs.read(wave_1T)[0]
            with torch.no_grad():
                score = float(stage.inputs.logit(input_FL[None]))
            found = explain(stage.inputs, method, input_FL, settings)
            panels.setdefault(method, []).append(Panel(stage.name, score, found))
    last = stages[-1].inputs
    spectrum, khz = spectrum_of(window, model.rate_hz)
    return Explained(
        name, length_s, start / model.rate_hz, model.window_samples / model.rate_hz,
        min(model.window_samples, len(wave) - start) / model.rate_hz, said.score, said.bona_fide, said.windows,
        spectrum, khz, row_khz(last.front_end) if last.has_bands and last.front_end is not None else None, panels,
    )  # fmt: skip


def spectrum_of(wave: Floats | np.ndarray, rate_hz: int) -> tuple[Floats, Floats]:
    """Mel bands over time in decibels under the loudest, and their centres in kHz."""
    bank = build_front_end("log_mel", rate_hz, bins=BANDS, normalise="none")
    levels: Floats = bank(torch.from_numpy(np.asarray(wave, np.float32))[None])[0].double().numpy()
    return np.maximum(levels - levels.max(), -RANGE_DB), row_khz(bank)


def over_time(found: Relevance, window_s: float) -> Floats:
    """Relevance per tenth of a second, summed over rows."""
    along = found.map.sum(0).double().cpu().numpy()
    columns = max(2, round(window_s / CELL_S))
    at = np.arange(len(along)) * columns // len(along)
    return np.bincount(at, along, minlength=columns).astype(np.float64)
