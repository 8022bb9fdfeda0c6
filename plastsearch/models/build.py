"""From plain values to a network, and to a folder and back."""

import json
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from plastsearch.errors import PlastsearchError
from plastsearch.files import json_of, typed_path
from plastsearch.growth.kernels.rings import kernels_of
from plastsearch.growth.paths import is_grown
from plastsearch.growth.survey import find_sites
from plastsearch.models import wav2vec2
from plastsearch.models.catalog import BINS, CONFIG_FILE, SPEECH, Spikes, Widths, known_model, preset_widths
from plastsearch.models.cnn import CNN
from plastsearch.models.detector import Detector
from plastsearch.models.frontend import FilterBank, build_front_end
from plastsearch.models.gru import GRNN
from plastsearch.models.heads.back_end import BackEnd
from plastsearch.models.lcnn import LCNN
from plastsearch.models.resnet18 import ResNet18
from plastsearch.models.seeding import seeded
from plastsearch.models.sites import table_of
from plastsearch.models.widths import (
    Spectral,
    folder_widths,
    front_end_of,
    judged_by,
    spikes_of,
    weights_in,
    with_spectral,
    with_spikes,
)
from plastsearch.models.written import MOST_BYTES, fits_weights

WEIGHTS_FILE = "model.safetensors"
HEAD_FILE = "head.safetensors"  # beside a transformers folder, which has no place for it
DETECTOR_FILE = "plastsearch.json"  # the detector's own choices, beside the network's config
WAV2VEC2_RATE_HZ = 16_000


def build(
    name: str,
    preset: str = "tiny",
    *,
    source: str | None = None,
    front_end: str | None = None,
    normalise: str | None = None,
    bins: int | None = None,
    deltas: int | None = None,
    stem: str | None = None,
    masks: int = 0,
    head: str = "linear",
    layers_in: str = "last",
    pooling: str = "mean",
    bidirectional: bool = False,
    dropout: float = 0.0,
    activation: str = "own",
    time_steps: int = 4,
    leak: float = 0.5,
    threshold: float = 0.5,
    reset: str = "soft",
    surrogate: str = "arctan",
    rate_hz: int = 16_000,
    seed: int = 0,
) -> Detector:
    """A detector with random weights, or with those of a folder or hub name (`source`); `seed` draws what is new."""
    kind = front_end_of(known_model(name), front_end)
    asked = Spikes(time_steps=time_steps, leak=leak, threshold=threshold, reset=reset, surrogate=surrogate)
    spikes = spikes_of(name, activation, asked)
    judged = judged_by(name, head, layers_in)
    choices: Widths = {"pooling": pooling, "dropout": dropout, "rate_hz": rate_hz, **judged}
    asked_of_spectra = Spectral(normalise, bins, deltas, stem, masks)
    with seeded(seed):
        if source is not None:
            return _from_source(name, source, front_end, choices, spikes, asked_of_spectra)
        if name == "grnn":
            choices |= {"bidirectional": bidirectional}
        widths: Widths = {"model_type": name, **preset_widths(name, preset), "front_end": kind, **choices}
        widths = with_spectral(widths, asked_of_spectra, name, preset, activation, None)
        return from_config(with_spikes(widths, spikes, None))


def from_config(plain: Widths) -> Detector:
    """The architecture that a detector's `plain_config` describes, with random weights from the global generator."""
    kind = plain["model_type"]
    detector = BUILDERS["wav2vec2" if kind in SPEECH else kind](plain)
    if plain.get("blocks", len(detector.blocks())) < len(detector.blocks()):
        detector.truncate_(plain["blocks"])
    return detector


def save_pretrained(detector: Detector, folder: Path) -> None:
    """Writes a folder that `model.from` takes; a speech encoder becomes an ordinary transformers folder."""
    plain = detector.plain_config()
    _check_regular(detector, plain)
    folder.mkdir(parents=True, exist_ok=True)
    choices = {"pooling": detector.pooling}
    if isinstance(detector, wav2vec2.SpeechEncoder) and isinstance(detector.pool, BackEnd):
        choices |= {"head": detector.judged.head, "layers_in": detector.judged.layers_in}
    if isinstance(detector, wav2vec2.SpeechEncoder):
        wav2vec2.save_backbone(detector, folder)
        save_file(_tensors(detector, detector.head_modules()), folder / HEAD_FILE)
    else:
        (folder / CONFIG_FILE).write_text(json.dumps(plain, indent=2) + "\n")
        save_file(_tensors(detector), folder / WEIGHTS_FILE)
    (folder / DETECTOR_FILE).write_text(json.dumps(choices, indent=2) + "\n")


def _from_source(
    name: str, source: str, front_end: str | None, choices: Widths, spikes: Spikes | None, asked: Spectral
) -> Detector:
    folder = typed_path(source)
    if name == "wav2vec2":
        with_spectral({}, asked, name, "", "own", source)  # refuses what an encoder does not have
        _check_rate(source, WAV2VEC2_RATE_HZ, choices["rate_hz"])
        folder = wav2vec2.fetch(source)
        _check_size(folder_widths(name, str(folder), front_end), folder)
        detector: Detector = wav2vec2.from_source(source, _judged(choices))
        head = folder / HEAD_FILE
    else:
        widths = folder_widths(name, source, front_end)
        _check_rate(source, widths["rate_hz"], choices["rate_hz"])
        _check_size(widths, folder)
        widths = with_spectral(widths, asked, name, "", "own", source)
        head = folder / WEIGHTS_FILE
        tensors = _read(head)
        detector = from_config(with_spikes({**widths, **choices}, spikes, source))
        _load(detector, {key: value for key, value in tensors.items() if not _in_head(key)}, head)
    if _saved_choices(folder) == (choices["pooling"], choices["head"], choices["layers_in"]):
        _load(detector, {key: value for key, value in _read(head).items() if _in_head(key)}, head)
    return detector


def _check_rate(source: str, trained_hz: int, rate_hz: int) -> None:
    if trained_hz != rate_hz:
        raise PlastsearchError(f"data.rate_hz: {source} was trained at {trained_hz} Hz, not {rate_hz}")


def _check_size(widths: Widths, folder: Path) -> None:
    parameters = sum(row.neurons * row.parameters_per_neuron for row in table_of({"pooling": "mean", **widths}))
    fits_weights(widths, parameters, weights_in(folder), folder / CONFIG_FILE)


def _load(detector: Detector, tensors: dict[str, Tensor], path: Path) -> None:
    own = detector.state_dict()
    wrong = [key for key, value in tensors.items() if key not in own or own[key].shape != value.shape]
    if wrong:
        raise PlastsearchError(f"{path}: does not fit the network its config describes: {', '.join(wrong[:5])}")
    detector.load_state_dict(tensors, strict=False)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except Exception as error:  # safetensors raises its own kinds
        raise PlastsearchError(f"{path}: cannot be read as weights: {error}") from error


def _saved_choices(folder: Path) -> tuple[object, object, object] | None:
    """Pooling, head and layers that the folder's head was trained with; old folders know one head."""
    path = folder / DETECTOR_FILE
    found = json_of(path, MOST_BYTES) if path.is_file() else None
    if not isinstance(found, dict):
        return None
    return found.get("pooling"), found.get("head", "linear"), found.get("layers_in", "last")


def _judged(plain: Widths) -> wav2vec2.Judged:
    """The head that a detector's `plain_config` or a caller's choices describe."""
    return wav2vec2.Judged(
        plain.get("head", "linear"), plain.get("layers_in", "last"), plain["pooling"], plain["dropout"]
    )


def _in_head(key: str) -> bool:
    return key.split(".")[0] in ("pool", "head")


def _tensors(detector: Detector, prefixes: tuple[str, ...] = ()) -> dict[str, Tensor]:
    state = detector.state_dict()
    return {
        key: value.detach().cpu().clone().contiguous()
        for key, value in state.items()
        if not prefixes or key.split(".")[0] in prefixes
    }


def _check_regular(detector: Detector, plain: Widths) -> None:
    """Refuses widths that a config.json has no words for, such as those of a site that alone has grown."""
    if any(is_grown(module) for module in detector.modules()):
        raise PlastsearchError("the network still holds grown blocks beside its base: fold it before saving")
    rows = table_of(plain)
    said = {row.name: row.neurons for row in rows}
    taps = {row.name: row.kernel for row in rows}
    for name, site in find_sites(detector).items():
        kernels = kernels_of(detector, site).values()
        grown = [size for kernel in kernels for size in kernel if size % 2 and size not in (1, taps[name])]
        if grown and taps[name]:
            raise PlastsearchError(
                f"site '{name}' has kernels of {grown[0]} taps where the network's config says {taps[name]}; "
                "cut them back, or keep it as a checkpoint of its trial"
            )
        if site.width != said[name]:
            raise PlastsearchError(
                f"site '{name}' has {site.width} neurons where the network's config says {said[name]}; "
                "prune it back to its original width, or keep it as a checkpoint of its trial"
            )


_NOT_OF_TRANSFORMERS = ("front_end", "rate_hz", "bidirectional", "pooling", "dropout", "normalize", "head", "layers_in")


def _build_wav2vec2(plain: Widths) -> Detector:
    encoder = {key: value for key, value in plain.items() if key not in _NOT_OF_TRANSFORMERS}
    return wav2vec2.from_widths(encoder, _judged(plain), normalize=plain.get("normalize", True))


def _front_end(plain: Widths) -> FilterBank:
    kind = plain["front_end"]
    normalise, deltas = plain.get("normalise", "clip"), plain.get("deltas", 0)
    bins = plain.get("bins", BINS[kind])
    return build_front_end(kind, plain["rate_hz"], bins=bins, normalise=normalise, deltas=deltas)


BUILDERS: dict[str, Callable[[Widths], Detector]] = {
    "wav2vec2": _build_wav2vec2,
    "resnet18": lambda plain: ResNet18(_front_end(plain), plain),
    "grnn": lambda plain: GRNN(_front_end(plain), plain),
    "cnn": lambda plain: CNN(_front_end(plain), plain),
    "lcnn": lambda plain: LCNN(_front_end(plain), plain),
}
