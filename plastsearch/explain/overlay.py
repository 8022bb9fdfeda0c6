"""Where a model listened in a whole clip, for pages that draw it on their own spectrogram."""

import numpy as np
import torch
from scipy.ndimage import uniform_filter

from plastsearch.explain.evidence import BANDS, CELL_S
from plastsearch.explain.inputs import Inputs, row_khz
from plastsearch.explain.relevance import Settings, explain, methods_for
from plastsearch.scores.metrics import Floats
from plastsearch.use.model import Model
from plastsearch.use.windows import Wave, cut

STEPS = 16
MOST_WINDOWS = 60  # of a clip; relevance of the rest is not worked out, and stays 0


def overlay(model: Model, wave: Wave, khz: Floats, columns: int) -> Floats:
    """Relevance of the windows, one behind the other, at these frequencies and so many instants: −1 (spoof) to 1.

    By the first method of the network's kind; its evidence is `plastsearch explain`'s to give.
    """
    inputs = Inputs(model.detector)
    method = methods_for(inputs)[0]
    length = model.window_samples
    found: Floats = np.zeros((len(khz), columns))
    for start in range(0, min(len(wave), MOST_WINDOWS * length), length):
        # The last window ends with the clip, as in scoring.
        first = max(0, min(start, len(wave) - length))
        window = torch.from_numpy(cut(wave, first, length))[None].to(model.device)
        relevance = explain(inputs, method, inputs.read(window)[0], Settings(steps=STEPS))
        values = relevance.map.double().cpu().numpy()
        rows, frames = values.shape
        size = (max(1, rows // BANDS) if rows > 1 else 1, max(1, round(frames * CELL_S * model.rate_hz / length)))
        values = uniform_filter(values, size, mode="nearest")
        if rows > 1 and inputs.front_end is not None:
            values = values[np.interp(khz, row_khz(inputs.front_end), np.arange(rows)).round().astype(int)]
        instants = (np.arange(columns) + 0.5) / columns * len(wave)
        here = (instants >= start) & (instants < start + length)
        at = np.clip((instants[here] - first) / length * frames, 0, frames - 1).astype(int)
        found[:, here] = values[:, at]
    most = float(np.abs(found).max())
    return found / most if most else found
