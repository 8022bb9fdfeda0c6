"""load: a model by any of its names (references.py), ready to score."""

import torch

from plastsearch.trial.device import pick_device
from plastsearch.use.folder import read_folder
from plastsearch.use.found import from_sweep
from plastsearch.use.model import Model
from plastsearch.use.references import InFolder, InMlflow, InSweep, parse


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
            raise NotImplementedError(uri)
    return Model(detector, facts, where)
