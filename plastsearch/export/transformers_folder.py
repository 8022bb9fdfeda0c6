"""An encoder as a folder for transformers: its own kind of model where widths are regular, else with code of ours."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from plastsearch.errors import PlastsearchError
from plastsearch.export.join import remote_code
from plastsearch.export.shape import Shape
from plastsearch.files import told
from plastsearch.models.catalog import Widths
from plastsearch.models.wav2vec2 import WAVE_SETTINGS, SpeechEncoder
from plastsearch.use.facts import Facts
from plastsearch.use.references import CONFIG, WEIGHTS

TRANSFORMERS = "transformers"  # the folder's name within an export
CODE = "modeling_plastsearch.py"
LABELS = ("spoof", "bonafide")
_NATIVE = {
    "wav2vec2": "Wav2Vec2ForSequenceClassification",
    "hubert": "HubertForSequenceClassification",
    "wavlm": "WavLMForSequenceClassification",
}


def write_transformers(detector: SpeechEncoder, facts: Facts, shape: Shape, folder: Path) -> bool:
    """Write the folder; whether transformers opens it by itself, without our code."""
    head = _calibrated_head(detector, facts)
    labels: dict[str, Any] = {
        "id2label": {str(n): label for n, label in enumerate(LABELS)},
        "label2id": {label: n for n, label in enumerate(LABELS)},
    }
    regular = why_irregular(shape) is None
    if regular:
        config, tensors = _native(detector, shape, head)
    else:
        config = {
            "model_type": "plastsearch",
            "architectures": ["PlastsearchForAudioClassification"],
            "auto_map": {
                "AutoConfig": "modeling_plastsearch.PlastsearchConfig",
                "AutoModelForAudioClassification": "modeling_plastsearch.PlastsearchForAudioClassification",
            },
            "shape": {**shape, "normalize": False},  # the feature extractor does it
        }
        tensors = {f"network.{name}": tensor for name, tensor in {**detector.state_dict(), **head}.items()}
    kept = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with told(folder):
        folder.mkdir(parents=True)
        save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})
        _write(folder / CONFIG, {**config, **labels, "dtype": "float32"})
        _write(
            folder / "preprocessor_config.json",
            {**WAVE_SETTINGS, "do_normalize": detector.normalize, "sampling_rate": facts.rate_hz},
        )
        if not regular:
            (folder / CODE).write_text(remote_code(shape), encoding="utf-8")
    return regular


def why_irregular(shape: Shape) -> str | None:
    """Why transformers has no words for a shape; None where it has."""
    if shape["head"].get("kind", "linear") != "linear":
        return f"its head is {shape['head']['kind']}, theirs a mean over frames"
    if shape["head"].get("mixed", False):
        return "its head reads a mix of all layers, theirs the last one"
    if shape["head"]["pooling"] != "mean":
        return f"its pooling is {shape['head']['pooling']}, theirs the mean"
    layers = shape["layers"]
    if any(layer["around"] for layer in layers):
        return "layers are stacked on it"
    if len({layer["units"] for layer in layers}) > 1:
        return "its layers have feed-forwards of different widths"
    for layer in layers:
        attention = layer["attention"]
        heads, width = attention["heads"], attention["width"]
        usual = heads * width == shape["hidden"] and abs(attention["scale"] - width**-0.5) < 1e-9
        if not usual or heads != layers[0]["attention"]["heads"]:
            return "its attention has heads of another number or width"
    return None


def _native(detector: SpeechEncoder, shape: Shape, head: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Their configuration and their names; their projector is told to do nothing."""
    family, hidden = str(shape["family"]), int(shape["hidden"])
    own: Widths = detector.plain_config()
    config: dict[str, Any] = {
        key: value for key, value in own.items() if key not in ("pooling", "dropout", "normalize", "head", "layers_in")
    }
    config |= {
        "architectures": [_NATIVE[family]],
        "classifier_proj_size": hidden,
        "use_weighted_layer_sum": False,
        "intermediate_size": shape["layers"][0]["units"],
        "num_attention_heads": shape["layers"][0]["attention"]["heads"],
        "num_hidden_layers": len(shape["layers"]),
    }
    config.pop("_name_or_path", None)
    tensors = {f"{family}.{name}": tensor for name, tensor in detector.backbone.state_dict().items()}
    tensors |= {
        "projector.weight": torch.eye(hidden),
        "projector.bias": torch.zeros(hidden),
        "classifier.weight": head["head.weight"],
        "classifier.bias": head["head.bias"],
    }
    return config, tensors


def _calibrated_head(detector: SpeechEncoder, facts: Facts) -> dict[str, Tensor]:
    """The head whose difference of logits is our score: the calibration is a line, so the head can take it in."""
    weight, bias = detector.head.weight.detach(), detector.head.bias.detach()
    calibration = facts.calibration
    if calibration is not None:
        if calibration.slope == 0:
            raise PlastsearchError("a calibration of slope 0 makes every score the same; calibrate the model again")
        shift = torch.tensor([-0.5, 0.5], dtype=bias.dtype) * calibration.offset
        weight, bias = weight * calibration.slope, bias * calibration.slope + shift
    return {"head.weight": weight, "head.bias": bias}


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
