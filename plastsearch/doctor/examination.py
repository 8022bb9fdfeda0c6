"""The whole examination, in the order in which things are needed; each part by itself, and how long it took."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from plastsearch.doctor import machine, packages, places, services
from plastsearch.doctor.finding import Finding, fault


@dataclass(frozen=True)
class Asked:
    """What sweeps here would be given."""

    out: Path
    mlflow: str | None = None
    address: str | None = None  # of a Ray cluster
    onnx: bool = False


Part = Callable[[], Finding | Sequence[Finding]]


def examine(asked: Asked) -> list[Finding]:
    """Look at everything; a part that breaks is itself a finding."""
    parts: dict[str, Part] = {
        "Python": packages.python,
        "packages": packages.others,
        "torch": packages.pair,
        "GPU": machine.gpu,
        "cores": machine.cores,
        "memory": machine.memory,
        "--out": partial(places.folder, asked.out),
        "temporary folder": places.temporary,
        "Ray": partial(services.ray, asked.address),
        "MLflow": partial(services.mlflow, asked.mlflow),
        "ONNX": partial(packages.onnx, asked.onnx),
    }
    return [one for name, part in parts.items() for one in _timed(name, part)]


def _timed(name: str, part: Part) -> list[Finding]:
    began = time.monotonic()
    try:
        said = part()
    except ImportError as error:  # `packaging`, by which releases are compared, comes with others
        said = fault(name, f"cannot be looked at: {error}", f"pip install {error.name or 'packaging'}")
    except OSError as error:
        said = fault(name, f"cannot be looked at: {error}", "ask this machine's administrator")
    found = [said] if isinstance(said, Finding) else [*said]
    took = round(time.monotonic() - began, 3)
    return [replace(found[0], seconds=took), *found[1:]]
