"""A found model as one ONNX file, front end included: waves of any length and number in, a score for each out.

The door to torch's exporter and what it needs. A file is compared with the network before it takes its name
(onnx_check.py), since exporters have written recurrent layers wrongly without a word.

Axes: B clips, T samples, C classes.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.errors import PlastsearchError
from plastsearch.export.onnx_check import ROUNDING, TOLERANCE, Parity, check_clips, parity
from plastsearch.export.onnx_layers import exportable
from plastsearch.files import PART, told
from plastsearch.use.model import Model

FILE = "model.onnx"
INPUT, OUTPUT = "wave", "score"
INSTALL = "pip install 'plastsearch[onnx]'"
# Older ones write torch's GRU with ONNX's other equation: scores differ by up to 14 % and nothing complains.
OLDEST = {"onnx": (1, 23), "onnxscript": (0, 7, 2), "onnxruntime": (1, 32)}
EXAMPLES = 2  # an axis of one clip would stay one for ever
IN_ONE_FILE = 1_800_000_000  # bytes of weights; a protobuf ends at 2 GiB


@dataclass(frozen=True)
class OnnxFile:
    """What was written, and how far its scores are from the network's."""

    path: Path
    size_bytes: int
    opset: int
    parity: Parity


class Scored(nn.Module):
    """Waves in, scores out: a difference of logits, or a log-likelihood ratio if the model is calibrated."""

    def __init__(self, detector: nn.Module, slope: float, offset: float) -> None:
        super().__init__()
        self.detector = detector
        self.slope = slope
        self.offset = offset

    def forward(self, wave: Tensor) -> Tensor:
        """The score of each clip."""
        logits_BC: Tensor = self.detector(wave).float()
        return self.slope * (logits_BC[:, 1] - logits_BC[:, 0]) + self.offset


def check_installed() -> None:
    """Refuse to go on without the packages, or with ones that write wrong files."""
    for name, oldest in OLDEST.items():
        least = ".".join(map(str, oldest))
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise PlastsearchError(f"--onnx needs {name}, which is not installed here: {INSTALL}") from None
        if _numbers(found) < oldest:
            wrong = "; it writes a GRU that gives other scores, without a word" if name == "onnxscript" else ""
            raise PlastsearchError(f"--onnx needs {name} {least} or later, and {found} is installed{wrong}: {INSTALL}")


def write_onnx(model: Model, path: Path) -> OnnxFile:
    """Export, compare with the network on clips of other lengths, and only then give the file its name."""
    check_installed()
    program = _exported(model)
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.detector.parameters())
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{path.name}.", suffix=PART, dir=path.parent) as place:
            draft = Path(place) / path.name
            with _quiet():
                program.save(str(draft), external_data=size > IN_ONE_FILE)
            found = _checked(model, draft)
            # Weights that lie apart first: a file without them could not be opened.
            for file in sorted(Path(place).iterdir(), key=lambda one: one == draft):
                file.replace(path.with_name(file.name))
    return OnnxFile(path, path.stat().st_size, int(program.model.opset_imports[""]), found)


def _exported(model: Model) -> Any:
    calibration = model.facts.calibration
    slope, offset = (1.0, 0.0) if calibration is None else (calibration.slope, calibration.offset)
    module = Scored(exportable(model.detector), slope, offset)
    clips, samples = torch.export.Dim("clips"), torch.export.Dim("samples")
    # What pools over time has too little to pool in some clips; under a name the exporter would ask how long a clip is
    # at least. What it makes of clips of other lengths is compared below in any case.
    free = torch.export.Dim.AUTO
    pools = any(getattr(part, "least", 1) > 1 for part in model.detector.modules())
    axes = {INPUT: {0: free, 1: free} if pools else {0: clips, 1: samples}}
    example = torch.randn(EXAMPLES, model.window_samples, generator=torch.Generator().manual_seed(0)) / 10
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module, (example,), dynamo=True, input_names=[INPUT], output_names=[OUTPUT], dynamic_shapes=axes,
                optimize=False, verbose=False,
            )  # fmt: skip
            assert program is not None
            _tidy_(program.model)
    except torch.onnx.errors.OnnxExporterError as error:
        why = re.sub(r"\s+", " ", str(error.__cause__ or error))[:300]
        raise PlastsearchError(f"{model.facts.name}: torch's ONNX exporter cannot take this network ({why})") from None
    described: Any = program.model
    (wave,) = described.graph.inputs
    if any(isinstance(axis, int) for axis in wave.shape):  # it tries again with fixed ones, and says nothing
        raise PlastsearchError(
            f"{model.facts.name}: torch's ONNX exporter froze the number or the length of clips: {wave.shape}"
        )
    _name_axes_(described.graph)
    # Where each operator came from, line by line: paths of this machine.
    for node in described.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    described.metadata_props.clear()
    described.metadata_props.update(_facts(model))
    described.doc_string = (
        f"{INPUT}: clips at {model.rate_hz} Hz, between -1 and 1; {OUTPUT}: higher for bona fide speech"
    )
    return program


def _tidy_(graph: Any) -> None:
    """Constants worked out, and what nothing reads removed.

    Without onnxscript's rewriting, which the exporter would do: it takes x + 1e-10 for x + 0, so that silence becomes
    the logarithm of zero, and a recurrent layer makes an ordinary number of NaN.
    """
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants, remove_unused_nodes

    common.InlinePass()(graph)
    fold_constants(graph)
    remove_unused_nodes(graph)


def _name_axes_(graph: Any) -> None:
    """The open axes of waves and scores under the names that users go by, whatever the exporter calls them."""
    from onnx_ir import Shape

    (wave,), (score,) = graph.inputs, graph.outputs
    wave.shape, score.shape = Shape(["clips", "samples"]), Shape(["clips"])


def _facts(model: Model) -> dict[str, str]:
    """What whoever runs the file alone has to know."""
    return {
        "plastsearch.name": model.facts.name,
        "plastsearch.rate_hz": str(model.rate_hz),
        "plastsearch.window_samples": str(model.window_samples),
        "plastsearch.threshold": repr(model.threshold()),
        "plastsearch.calibrated": "true" if model.calibrated else "false",
    }


def _checked(model: Model, draft: Path) -> Parity:
    """How far the draft is from the network; too far is an error."""
    import onnx

    with _quiet():
        onnx.checker.check_model(str(draft))
    found = parity(model, draft, check_clips(model.window_samples, seed=0))
    if not (found.worst <= TOLERANCE and found.plain <= ROUNDING):
        raise PlastsearchError(
            f"{model.facts.name}: the ONNX file gives other scores than the network, by up to {found.worst:.2g} on "
            f"clips of {found.worst_samples:,} samples where {TOLERANCE:g} is allowed, so it was not kept; are torch, "
            f"onnxscript and onnxruntime those of {INSTALL}?"
        )
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on what it skipped and tried; what went wrong it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _numbers(version: str) -> tuple[int, ...]:
    """The release of a version: 0.7.2.dev1 → (0, 7, 2)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
