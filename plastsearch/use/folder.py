"""A model as a folder: config.json (facts), model.safetensors (plain weights), calibration.json. No pickle anywhere.

A folder may come from anybody: shapes are compared with the file of the weights before any memory is taken for them.
What else an export holds (code for others, a card) is in plastsearch/export and never read here.
"""

import json
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from plastsearch.errors import PlastsearchError
from plastsearch.files import json_of, told, whole_file
from plastsearch.growth.checkpoint import GrowthPlan, load_tensors_, reshape_
from plastsearch.models.build import from_config
from plastsearch.models.catalog import Widths
from plastsearch.models.detector import Detector
from plastsearch.use.calibrations import FILE as CALIBRATION
from plastsearch.use.calibrations import keep_calibration, kept_calibration
from plastsearch.use.facts import MOST_BYTES, Facts, validated
from plastsearch.use.references import CONFIG, WEIGHTS

KEY = "plastsearch"  # in a config.json that serves others too
MOST_NUMBER = 1 << 20  # of any width; networks of this kind have some thousands
MOST_LAYERS = 512


def read_folder(folder: Path) -> tuple[Detector, Facts]:
    """The network and what is known of it."""
    config = folder / CONFIG
    plain = json_of(config, MOST_BYTES)
    if not isinstance(plain, dict) or KEY not in plain:
        raise PlastsearchError(f"{config}: not of a model that plastsearch exported (no '{KEY}' in it)")
    facts = validated(plain[KEY], config)
    calibration = kept_calibration(folder / CALIBRATION)
    detector = _network(facts, folder)
    return detector.eval(), facts.model_copy(update={"calibration": calibration or facts.calibration})


def write_folder(folder: Path, detector: Detector, facts: Facts) -> None:
    """Both files, each whole or not at all."""
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in detector.state_dict().items()}
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / WEIGHTS) as draft:
            save_file(tensors, draft, metadata={"format": "pt"})
        with whole_file(folder / CONFIG) as draft:
            draft.write_text(json.dumps({KEY: facts.model_dump(mode="json")}, indent=2) + "\n")
        if facts.calibration is not None:
            keep_calibration(folder / CALIBRATION, facts.calibration)


def _network(facts: Facts, folder: Path) -> Detector:
    config, weights = folder / CONFIG, folder / WEIGHTS
    _check_numbers(facts.network, config, "network")
    _check_numbers(facts.growth, config, "growth")
    try:
        plan = GrowthPlan.from_json(json.dumps(facts.growth))
        detector = from_config(cast("Widths", facts.network))
        reshape_(detector, plan)
        load_tensors_(detector, _tensors(weights))
    except PlastsearchError as error:
        raise PlastsearchError(f"{config}: {error}") from None
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RuntimeError,
        MemoryError,
        ImportError,
    ) as error:
        # Whatever building a network out of a stranger's numbers trips over: the file is to blame.
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise PlastsearchError(f"{config}: no network can be built from it ({type(error).__name__}: {why})") from None
    return detector


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            found: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise PlastsearchError(f"{path}: cannot be read as weights ({error})") from None
    bad = next((name for name, one in found.items() if one.is_floating_point() and not torch.isfinite(one).all()), None)
    if bad is not None:
        raise PlastsearchError(f"{path}: {bad} holds NaN or infinite weights")
    return found


def _check_numbers(value: Any, path: Path, where: str, depth: int = 0) -> None:
    """Refuse sizes that no network here has, before anything tries to build them."""
    if depth > 8:
        raise PlastsearchError(f"{path}: {where}: nested too deep for a network")
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("num_hidden_layers", "blocks", "time_steps") and isinstance(item, int) and item > MOST_LAYERS:
                raise PlastsearchError(f"{path}: {where}.{key}: {item:,} is more than {MOST_LAYERS}")
            _check_numbers(item, path, f"{where}.{str(key)[:80]}", depth + 1)
    elif isinstance(value, list):
        if len(value) > 100_000:
            raise PlastsearchError(f"{path}: {where}: {len(value):,} entries are too many")
        for at, item in enumerate(value):
            _check_numbers(item, path, f"{where}.{at}", depth + 1)
    elif isinstance(value, int) and abs(value) > MOST_NUMBER:
        raise PlastsearchError(f"{path}: {where}: {value} is no width of a network")
