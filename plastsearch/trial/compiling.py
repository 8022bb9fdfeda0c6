"""torch.compile for the steps of one stage, block by block rather than the network at once.

Blocks that are alike share one compilation, within a stage and between stages: only blocks that a stage changed are
compiled anew. Scoring runs as usual: its batches have another size, and its mode is another.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from plastsearch.models.detector import Detector
from plastsearch.private_folder import private_folder

BACKEND = "inductor"
DEVICES = ("cuda",)  # where it pays
MOST = 256  # kinds of blocks (widths, what learns, shapes) that one process keeps; the library's own 8 is too few
# Measured with the tiny presets in CPU seconds: wav2vec2 32 to compile, then 0.081 a step after 0.071; resnet18 76,
# then 0.052 after 0.042.
LEFT_OUT = "train.compile is left out on a CPU, where compiling takes minutes and the steps are no faster after it"


def compiles(wanted: bool, device: torch.device) -> bool:
    """Whether the switch has an effect on this device."""
    return wanted and device.type in DEVICES


@contextmanager
def compiled_(module: Detector, wanted: bool) -> Iterator[None]:
    """Within, the module's blocks run compiled; shapes are fixed, so each kind of batch has its own code."""
    if not wanted:
        yield
        return
    # Torch runs what it finds in its cache; its own place for it is a name that anybody could have taken first.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(private_folder() / "inductor"))
    vars(module)["run_block"] = torch.compile(module.run_block, dynamic=False, backend=BACKEND)
    try:
        with torch._dynamo.config.patch(recompile_limit=MOST, accumulated_recompile_limit=4 * MOST), _quiet():
            yield
    finally:
        del vars(module)["run_block"]


@contextmanager
def uncompiled(wanted: bool) -> Iterator[None]:
    """Within, everything runs as if it had never been compiled."""
    if not wanted:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Tracing looks at the gradient of every input of a block, and torch warns that most have none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf", UserWarning)
        yield
