"""Where a trial computes: the device its settings mean, what it can do, whether it repeats itself, what is compiled.

torch.compile serves the steps of one stage, block by block rather than the network at once. Blocks that are alike share
one compilation, within a stage and between stages: only blocks that a stage changed are compiled anew. Scoring runs as
usual: its batches have another size, and its mode is another.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from plastsearch import nvidia
from plastsearch.errors import DeviceError
from plastsearch.models.detector import Detector
from plastsearch.private_folder import private_folder

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"  # read once per process, at the first matrix product on a GPU
_OUT = "see nvidia-smi and CUDA_VISIBLE_DEVICES, or ask for none (trial: --device cpu, sweep: --set resources.gpu=0)"

COMPILE_BACKEND = "inductor"
COMPILE_DEVICES = ("cuda",)  # where it pays
# Kinds of blocks (widths, what learns, shapes) that one process keeps; the library's own 8 is too few.
MOST_COMPILED = 256
# Measured with the tiny presets in CPU seconds: wav2vec2 32 to compile, then 0.081 a step after 0.071; resnet18 76,
# then 0.052 after 0.042.
LEFT_OUT = "train.compile is left out on a CPU, where compiling takes minutes and the steps are no faster after it"


def pick_device(name: str) -> torch.device:
    """The device a name means, made current and tried out; `auto` is a GPU if there is one, `cuda` the first."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise DeviceError(f"device {name!r}: unknown; known: auto, cpu, cuda, cuda:N")
    if not torch.cuda.is_available():
        if (old := _old_driver(torch.version.cuda)) is not None:
            raise DeviceError(f"a GPU was asked for (device {name!r}), but {old}")
        raise DeviceError(
            f"a GPU was asked for (device {name!r}), but torch {torch.__version__} can use none here; {_OUT}"
        )
    index = device.index or 0
    count = torch.cuda.device_count()
    if index >= count:
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise DeviceError(f"device {name!r}: there is no such GPU; this process sees {there}")
    device = torch.device("cuda", index)
    try:
        torch.cuda.set_device(device)  # streams, events, generators and pinned memory are those of the current one
        torch.zeros(1, device=device)
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        why = str(error).strip().splitlines()[0]
        raise DeviceError(f"a GPU was asked for (device {name!r}), but it does not work: {why}; {_OUT}") from error
    return device


def _old_driver(built_for: str | None) -> str | None:
    """What is wrong with a driver older than the CUDA that torch was built for; torch itself only sees no GPU."""
    found = nvidia.driver()
    wanted = None if found is None or built_for is None else nvidia.too_old(found, built_for)
    if found is None or wanted is None:
        return None
    return (
        f"this machine's NVIDIA driver knows CUDA {found.major}.{found.minor}, and torch {torch.__version__} needs "
        f"{wanted}: update the driver, on a cluster that of the GPU nodes; or ask for no GPU (trial: --device cpu, "
        "sweep: --set resources.gpu=0)"
    )


def computes_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is faster there: an emulated one is only less exact."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def physical_name(device: torch.device) -> str:
    """A name that all processes of a node give the same device: `cuda:0` of two workers are often two GPUs."""
    if device.type != "cuda":
        return f"{device.type}{device.index or 0}"
    return f"gpu-{torch.cuda.get_device_properties(device).uuid}"


MPS = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE")
# Above what a context of our own takes outside torch's books (0.5 to 0.7 GB); a neighbour below it goes unseen.
_FOREIGN_BYTES = 1.5e9


def sharing(device: torch.device, share: float) -> str | None:
    """Who else may compute on this GPU; None where nothing tells of anybody.

    Kubernetes tells a container nothing of time slicing: what others hold of the memory is all there is to see.
    """
    if device.type != "cuda":
        return None
    if share % 1:
        return f"trials get {share:g} of a GPU each"
    if any(name in os.environ for name in MPS):
        return "CUDA MPS is on"
    free, total = torch.cuda.mem_get_info(device)
    others = total - free - torch.cuda.memory_reserved(device)
    return f"other processes hold {others / 1e9:.1f} GB of it" if others > _FOREIGN_BYTES else None


def repeatable(wanted: bool) -> None:
    """Let equal runs on one GPU agree to the last bit, at a cost in speed; to be called before a GPU is first used.

    cuDNN is kept to such algorithms in any case; `wanted` adds cuBLAS and torch's own kernels, and refuses the few
    operations that have no repeatable form. Runs on a CPU with one thread count repeat anyhow.
    """
    if wanted and CUBLAS not in os.environ:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            raise DeviceError(
                f"deterministic runs were asked for after this process had used a GPU without {CUBLAS}=:4096:8; "
                "set it in the environment, or start a new process"
            )
        os.environ[CUBLAS] = ":4096:8"
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    if torch.are_deterministic_algorithms_enabled() != wanted:  # to say it again would load all of torch.compile
        torch.use_deterministic_algorithms(wanted)


class TrainingMemory:
    """The most a GPU held while a stage trained; what evaluations between its steps took is left out."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._most = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Within, the memory that is taken does not count."""
        self._note()
        try:
            yield
        finally:
            if self._device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self._device)

    def metrics(self) -> dict[str, float]:
        """`peak_memory_mb`, where there is a counter."""
        self._note()
        return {"peak_memory_mb": self._most / 1e6} if self._device.type == "cuda" else {}

    def _note(self) -> None:
        if self._device.type == "cuda":
            self._most = max(self._most, torch.cuda.max_memory_allocated(self._device))


def lost() -> bool:
    """Whether the GPU of this process answers no more."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def release_memory() -> None:
    """Give the GPU memory that nobody holds back to other processes."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def compiles(wanted: bool, device: torch.device) -> bool:
    """Whether the switch has an effect on this device."""
    return wanted and device.type in COMPILE_DEVICES


@contextmanager
def compiled_(module: Detector, wanted: bool) -> Iterator[None]:
    """Within, the module's blocks run compiled; shapes are fixed, so each kind of batch has its own code."""
    if not wanted:
        yield
        return
    # Torch runs what it finds in its cache; its own place for it is a name that anybody could have taken first.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(private_folder() / "inductor"))
    vars(module)["run_block"] = torch.compile(module.run_block, dynamic=False, backend=COMPILE_BACKEND)
    try:
        with (
            torch._dynamo.config.patch(recompile_limit=MOST_COMPILED, accumulated_recompile_limit=4 * MOST_COMPILED),
            _quiet(),
        ):
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
