"""An exported folder as a model of MLflow's: its code, signature and example, asked once before it is logged."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
from numpy.typing import NDArray

import plastsearch
from plastsearch.addresses import address_of
from plastsearch.audio import write_audio
from plastsearch.data.windows import HOP_S
from plastsearch.errors import PlastsearchError
from plastsearch.models.catalog import SPEECH
from plastsearch.tracking.mlflow_models import (
    NAME,
    Column,
    Logged,
    Origin,
    Parameter,
    Served,
    check_names,
    log_model,
    save_model,
)
from plastsearch.use.answering import AUDIO, RATE, SAMPLES
from plastsearch.use.model import Model

CODE = Path(__file__).with_name("mlflow_code.py")
# What scoring imports of this package; it goes with the model, so that a server needs no plastsearch of its own.
ROOMS = ("growth", "models", "spec", "store", "tracking", "use")
LIBRARIES = ("numpy", "pydantic", "safetensors", "soundfile", "torch", "torchaudio")
TAKES = (
    Column(AUDIO, "string", required=False),
    Column(
        SAMPLES, "any", required=False
    ),  # a list of doubles: MLflow's word for that takes no empty cell, nor whole numbers
    Column(RATE, "double", required=False),
)
GIVES = (Column("score", "double"), Column("probability", "double"), Column("decision", "string"))
PARAMETERS = (
    Parameter("prior", "double", 0.5),
    Parameter("threshold", "double", None),
    Parameter("hop_s", "double", HOP_S),
    Parameter("aggregation", "string", "mean"),
)
# Of the folder: what serving has no use for, and the checksums of all.
LEFT_OUT = (".*", "*.onnx", "*.onnx.data", "transformers", "SHA256SUMS")
EXAMPLE_S = 0.25
TOLERANCE = 1e-5
_ASK = """
import json, sys
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
(answer,) = model.predict(pandas.DataFrame(json.loads(sys.stdin.read())))
import plastsearch
print(json.dumps({**answer, "code": plastsearch.__file__}))
"""


def log_exported(model: Model, folder: Path, uri: str, register: str | None = None, alias: str | None = None) -> Logged:
    """Log an exported folder of a model; `uri` may be `env:NAME`."""
    check_names(register, alias)
    address = address_of(uri)
    with served(model, folder) as made:
        check_answer(model, made)
        return log_model(address, made, origin(model), register, alias)


@contextmanager
def served(model: Model, folder: Path) -> Iterator[Served]:
    """The files of a model for MLflow; gone when the block ends."""
    with TemporaryDirectory() as place:
        artifact = Path(place) / NAME
        shutil.copytree(folder, artifact, ignore=shutil.ignore_patterns(*LEFT_OUT))
        code = Path(place) / plastsearch.__name__
        _copy_code(code)
        runs = Path(place) / CODE.name  # a copy: MLflow writes down where it was
        shutil.copy(CODE, runs)
        wave = example(model.rate_hz)
        yield Served(
            artifact, runs, [code], requirements(model), TAKES, GIVES, PARAMETERS,
            {AUDIO: [_base64_wav(wave, model.rate_hz)]},
        )  # fmt: skip


def check_answer(model: Model, made: Served) -> None:
    """Refuse a model that a process of its own does not open, or that gives another score there."""
    with TemporaryDirectory() as place:
        path = Path(place) / "checked"
        save_model(path, made)
        asked = subprocess.run(
            [sys.executable, "-I", "-c", _ASK, str(path)], cwd=place, input=json.dumps(dict(made.example)),
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        if asked.returncode:
            why = asked.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise PlastsearchError(f"{model.facts.name}: MLflow cannot open the model that was made ({why[0][:300]})")
        answer = json.loads(asked.stdout.strip().splitlines()[-1])
        expected = model.score(_heard(model), model.rate_hz).score
        if not abs(answer["score"] - expected) <= TOLERANCE * max(1.0, abs(expected)):
            raise PlastsearchError(
                f"{model.facts.name}: opened by MLflow the model gives {answer['score']:.6f} for the example where "
                f"{expected:.6f} was expected, so it was not logged; is the folder the one of this model?"
            )
        if not Path(answer["code"]).is_relative_to(path.resolve()):
            raise PlastsearchError(f"{model.facts.name}: MLflow ran {answer['code']} in place of the model's own code")


def origin(model: Model) -> Origin:
    """Where a model was found, in MLflow's terms."""
    found = model.facts.found
    metrics = found.get("metrics")
    numbers = metrics.items() if isinstance(metrics, dict) else ()
    trial, trial_id = found.get("trial"), found.get("trial_id")
    known = {"model": model.facts.name} | {key: found[key] for key in ("model_key", "spec_hash") if found.get(key)}
    return Origin(
        name=f"export {model.facts.name}",
        experiment=str(found.get("sweep") or "plastsearch"),
        trial_id=trial_id if isinstance(trial_id, str) and trial_id.isalnum() else None,
        trial=trial if isinstance(trial, int) else None,
        metrics={str(name): float(one) for name, one in numbers if isinstance(one, int | float)},
        tags={"plastsearch.role": "export", **{f"plastsearch.{key}": str(value) for key, value in known.items()}},
    )


def requirements(model: Model) -> list[str]:
    """The libraries that scoring needs, in the versions that are installed here."""
    encoder = model.facts.network.get("model_type") in SPEECH
    names = [*LIBRARIES, "transformers"] if encoder else LIBRARIES
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in names]  # +cpu is of another index


def example(rate_hz: int) -> NDArray[np.float32]:
    """A short gliding tone in a little noise."""
    time_s = np.arange(round(EXAMPLE_S * rate_hz)) / rate_hz
    glide = 0.3 * np.sin(2 * np.pi * (200 + 400 * time_s) * time_s)
    wave = glide + 0.01 * np.random.default_rng(0).standard_normal(len(time_s))
    return cast("NDArray[np.float32]", wave.astype(np.float32))


def _heard(model: Model) -> NDArray[np.float32]:
    """The example as the model hears its WAV."""
    with TemporaryDirectory() as place:
        path = Path(place) / "example.wav"
        write_audio(path, example(model.rate_hz), model.rate_hz)
        return model.read(path)


def _base64_wav(wave: NDArray[np.float32], rate_hz: int) -> str:
    with TemporaryDirectory() as place:
        path = Path(place) / "example.wav"
        write_audio(path, wave, rate_hz)
        return base64.b64encode(path.read_bytes()).decode("ascii")


def _copy_code(into: Path) -> None:
    """The rooms that scoring walks through, and nothing else of this package."""
    package = Path(plastsearch.__file__).parent
    into.mkdir()
    for file in package.glob("*.py"):
        shutil.copy(file, into / file.name)
    for room in ROOMS:
        shutil.copytree(package / room, into / room, ignore=_all_but_code)


def _all_but_code(folder: str, names: list[str]) -> list[str]:
    """What is neither a file of code nor a folder of such."""
    return [name for name in names if not name.endswith(".py") and not (Path(folder) / name / "__init__.py").is_file()]
