"""load: a model by any of its names (references.py), ready to score."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from plastsearch.errors import PlastsearchError
from plastsearch.models.detector import Detector
from plastsearch.trial.device import pick_device
from plastsearch.use.facts import Facts
from plastsearch.use.folder import read_folder
from plastsearch.use.found import from_sweep
from plastsearch.use.model import Model
from plastsearch.use.references import CONFIG, WEIGHTS, InFolder, InMlflow, InSweep, parse


def load(name: str, device: str = "auto") -> Model:
    """The model of that name on a device."""
    where: torch.device = pick_device(device)
    reference = parse(name)
    match reference:
        case InSweep():
            detector, facts = from_sweep(reference)
        case InFolder(folder):
            detector, facts = read_folder(folder)
        case InMlflow(uri):
            detector, facts = _from_mlflow(uri)
    return Model(detector, facts, where)


def _from_mlflow(uri: str) -> tuple[Detector, Facts]:
    """The exported folder among a model's files; no code that lies beside it is run."""
    from plastsearch.tracking.mlflow_models import fetch

    with TemporaryDirectory() as place:
        found = fetch(uri, Path(place))
        folders = [path.parent for path in sorted(found.rglob(CONFIG)) if (path.parent / WEIGHTS).is_file()]
        if not folders:
            raise PlastsearchError(
                f"{uri}: no model that plastsearch exported ({CONFIG} and {WEIGHTS} are not among its files); "
                "`plastsearch export MODEL DIR --mlflow ADDRESS` logs one"
            )
        return read_folder(folders[0])
