"""An ONNX file beside the network that it was made of: the same clips through both. The door to ONNX Runtime.

Axes: B clips, T samples.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from plastsearch.errors import PlastsearchError
from plastsearch.export.onnx_layers import exact
from plastsearch.use.model import Model
from plastsearch.use.windows import Wave

TOLERANCE = 1e-4  # of a score
ROUNDING = 1e-2  # what single precision in torch may add to that; 1.6e-4 was seen
_TOLD = 300  # characters of another library's error


@dataclass(frozen=True)
class Parity:
    """The largest difference of two scores of one clip, and between which clips it was looked for.

    The network's spectrum is computed in double precision, as in the file; `plain` is the difference from the network
    as it is, and so holds what torch's rounding in single precision adds.
    """

    clips: int
    lengths: tuple[int, ...]  # in samples
    worst: float
    worst_samples: int  # length of the clip where it is
    plain: float


def check_clips(window_samples: int, seed: int) -> list[Wave]:
    """Batches of one to four clips of five lengths, none of them the window's; noise with bursts and silence."""
    numbers = np.random.default_rng(seed)
    batches: list[Wave] = []
    for share, clips in ((0.8, 1), (1.1, 3), (1.37, 4), (1.9, 2), (2.5, 1)):
        length = int(share * window_samples) | 1  # odd, so that no hop fits
        wave = (
            numbers.standard_normal((clips, length))
            * np.repeat(numbers.uniform(0, 0.2, (clips, 8)), -(-length // 8), axis=1)[:, :length]
        )
        wave[:, length // 3 : length // 3 + length // 10] = 0
        batches.append(wave.astype(np.float32))
    return batches


def parity(model: Model, path: Path, batches: Iterable[Wave]) -> Parity:
    """The largest difference over batches of clips, computed on the CPU by both, before any calibration."""
    session = opened(path)
    plain, same = copy.deepcopy(model.detector).cpu().eval(), exact(model.detector)
    calibration = model.facts.calibration
    slope, offset = (1.0, 0.0) if calibration is None else (calibration.slope, calibration.offset)
    rows: list[tuple[float, float, int, int]] = []
    for wave_BT in batches:
        found_B = (scored(session, wave_BT).astype(np.float64) - offset) / slope
        from_same, from_plain = (float(np.abs(found_B - _scores(one, wave_BT)).max()) for one in (same, plain))
        rows.append((from_same, from_plain, wave_BT.shape[1], len(wave_BT)))
    worst = max(rows, key=lambda row: math.inf if math.isnan(row[0]) else row[0])
    return Parity(
        clips=sum(row[3] for row in rows),
        lengths=tuple(dict.fromkeys(row[2] for row in rows)),
        worst=worst[0],
        worst_samples=worst[2],
        plain=max(row[1] for row in rows),
    )


def _scores(detector: nn.Module, wave_BT: Wave) -> NDArray[np.float64]:
    with torch.inference_mode():
        logits_BC: NDArray[np.float64] = detector(torch.from_numpy(wave_BT)).double().numpy()
    scores: NDArray[np.float64] = logits_BC[:, 1] - logits_BC[:, 0]
    return scores


def opened(path: Path) -> Any:
    """A session of ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 its errors have no class in common
        raise PlastsearchError(f"{path.name}: ONNX Runtime cannot open it ({str(error)[:_TOLD]})") from None


def scored(session: Any, wave_BT: Wave) -> NDArray[np.float32]:
    """The file's score of each clip."""
    (name,) = (one.name for one in session.get_inputs())
    try:
        found: NDArray[np.float32] = session.run(None, {name: wave_BT})[0]
    except Exception as error:  # noqa: BLE001 its errors have no class in common
        samples = wave_BT.shape[1]
        raise PlastsearchError(
            f"ONNX Runtime cannot score clips of {samples:,} samples ({str(error)[:_TOLD]})"
        ) from None
    return found
