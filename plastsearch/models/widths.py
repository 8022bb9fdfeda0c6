"""Which widths a configuration asks for: a preset's or a folder's, and choices beside them. Imports no torch."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from plastsearch.errors import PlastsearchError
from plastsearch.files import typed_path
from plastsearch.models.catalog import (
    BINS,
    CONFIG_FILE,
    CONFORMERS,
    FRONT_ENDS,
    LIGHT_HALVES,
    LIGHT_KERNELS,
    PUBLISHED,
    SPEECH,
    Spikes,
    Widths,
    known_model,
    preset_widths,
    rows_read,
)
from plastsearch.models.written import read_widths
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.open_choices import FORMERLY, normalise_of, stem_of, unlike_before
from plastsearch.spec.places import looks_like_path
from plastsearch.spec.starts import STARTS

COME_ALONG = Path(__file__).parent / "starts"  # a folder for each name of spec/starts.py
# What transformers takes for keys that a config.json leaves out.
_LEFT_OUT: Widths = {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12, "intermediate_size": 3072}
_LEFT_OUT_OF_CONFORMERS: Widths = {
    "hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 24, "intermediate_size": 4096,
}  # fmt: skip
_NEEDED: dict[str, tuple[str, ...]] = {
    "wav2vec2": (),
    "resnet18": ("channels",),
    "grnn": ("hidden", "bidirectional", "front_end"),
    "cnn": ("channels",),
    "lcnn": ("channels",),
}


class SitesUnknownError(PlastsearchError):
    """The sites of a hub name that is not on this machine; a search may go on and look again later."""


def widths_of(model: ModelConfig) -> Widths:
    """All that shapes the network a configuration asks for: preset or folder, and choices."""
    if model.from_ is None:
        widths: Widths = {"model_type": model.name, **preset_widths(model.name, model.preset)}
        widths |= {"bidirectional": model.bidirectional, "front_end": front_end_of(model.name, model.front_end)}
    else:
        widths = folder_widths(model.name, model.from_, model.front_end)
    asked = Spectral(model.normalise, model.bins, model.deltas, model.stem, model.masks)
    widths = with_spectral(widths, asked, model.name, model.preset, model.activation, model.from_)
    spikes = spikes_of(
        model.name, model.activation, Spikes(
            time_steps=model.time_steps, leak=model.leak, threshold=model.threshold, reset=model.reset,
            surrogate=model.surrogate,
        )
    )  # fmt: skip
    judged = judged_by(model.name, model.head, model.layers_in)
    return with_spikes({**widths, "pooling": model.pooling, **judged}, spikes, model.from_)


def judged_by(name: str, head: str, layers_in: str) -> Widths:
    """The head of a network and which layers it reads; refused where the network has no such head."""
    if name != "wav2vec2" and (head, layers_in) != ("linear", "last"):
        what = f"model.head: {head!r} judges" if head != "linear" else f"model.layers_in: {layers_in!r} mixes"
        raise PlastsearchError(
            f"{what} the layers of a speech encoder, and {name} is none; use model.name: wav2vec2, or the linear head "
            "and `layers_in: last`"
        )
    return {"head": head, "layers_in": layers_in}


@dataclass(frozen=True)
class Spectral:
    """What a configuration says of a front end's features and of the network's first look at them; None: left open."""

    normalise: str | None = None
    bins: int | None = None
    deltas: int | None = None
    stem: str | None = None
    masks: int = 0


def with_spectral(
    widths: Widths, asked: Spectral, name: str, preset: str, activation: str, source: str | None
) -> Widths:
    """A network's widths with these choices; refused where it has no such thing, or where a folder has another one."""
    wanted = {
        "normalise": asked.normalise, "bins": asked.bins, "deltas": asked.deltas, "stem": asked.stem,
        "masks": asked.masks or None,
    }  # fmt: skip
    for setting, value in wanted.items():
        if value is not None and (name == "wav2vec2" or (setting == "stem" and name != "resnet18")):
            reads = "resnet18 alone" if setting == "stem" else "networks with a front end: resnet18, grnn, cnn and lcnn"
            raise PlastsearchError(
                f"model.{setting}: {name} has nothing that {value!r} could be said of; it is for {reads}"
            )
    if source is None:
        settings: dict[str, str | int | None] = {
            "normalise": normalise_of(name, asked.normalise), "bins": asked.bins, "deltas": asked.deltas,
            "stem": stem_of(name, preset, activation, asked.stem),
        }  # fmt: skip
    else:
        settings = {
            "normalise": widths.get("normalise", "clip"), "deltas": widths.get("deltas", 0),
            "stem": widths.get("stem", "quarter"), "bins": widths.get("bins", BINS.get(widths.get("front_end", ""))),
        }  # fmt: skip
        for setting, value in settings.items():
            if wanted[setting] not in (None, value):
                raise PlastsearchError(
                    f"model.{setting}: the weights in {source} were trained with {value!r}, not {wanted[setting]!r}"
                )
    left = {key: value for key, value in widths.items() if key not in FORMERLY}
    if name != "wav2vec2" and settings["bins"] == BINS[widths["front_end"]]:
        settings["bins"] = None  # what it always was
    found = cast("Widths", left | unlike_before({**settings, "masks": asked.masks}))
    if name == "lcnn":
        _light_refused(found, source)
    return found


def _light_refused(widths: Widths, source: str | None) -> None:
    """An LCNN of another depth, or one whose picture is used up before its last convolution."""
    where = "" if source is None else f"{source}: "
    if len(widths["channels"]) != len(LIGHT_KERNELS):
        raise PlastsearchError(
            f"{where}an lcnn has {len(LIGHT_KERNELS)} convolutions, not {len(widths['channels'])}: is its config whole?"
        )
    rows = rows_read(widths)
    if not rows >> len(LIGHT_HALVES):
        raise PlastsearchError(
            f"model.bins: {where}an lcnn halves its rows {len(LIGHT_HALVES)} times, so it needs "
            f"{1 << len(LIGHT_HALVES)} of them, and the front end gives {rows}; give more bins or deltas"
        )
    if widths["channels"][-1] * (rows >> len(LIGHT_HALVES)) % 2:
        raise PlastsearchError(f"{where}the last convolution of an lcnn needs an even number of channels")


def spikes_of(name: str, activation: str, spikes: Spikes) -> Spikes | None:
    """How the neurons of a network spike, if they do; refused where they cannot."""
    if activation == "own":
        return None
    if name == "wav2vec2":
        raise PlastsearchError(
            "model.activation: wav2vec2 has no spiking variant: softmax, LayerNorm and GELU work on real values, and "
            "a pretrained encoder would lose what it knows; lif is for resnet18 and grnn"
        )
    if name in ("cnn", "lcnn"):
        raise PlastsearchError(f"model.activation: {name} has no spiking variant; lif is for resnet18 and grnn")
    return spikes


def with_spikes(widths: Widths, spikes: Spikes | None, source: str | None) -> Widths:
    """A network's widths with the spikes that are asked for; those of a folder are never dropped in silence.

    A folder of the usual network may start a spiking one, whose weights have the same names and shapes.
    """
    if spikes is not None:
        return {**widths, "spikes": spikes}
    if "spikes" in widths:
        raise PlastsearchError(
            f"model.activation: the weights in {source} were trained as a spiking network; say `activation: lif`, and "
            "its settings if they are not the usual ones"
        )
    return widths


def front_end_of(name: str, wanted: str | None) -> str:
    """The front end asked for, or the network's own; refused if the network cannot read it."""
    if wanted is None:
        return FRONT_ENDS[known_model(name)]
    if (wanted == "waveform") != (name == "wav2vec2"):
        reads = "the waveform itself" if name == "wav2vec2" else f"a spectrogram or cepstra: {', '.join(BINS)}"
        raise PlastsearchError(f"model.front_end: {name} cannot read {wanted!r}; it reads {reads}")
    return wanted


def folder_widths(name: str, source: str, front_end: str | None = None) -> Widths:
    """The widths written in a folder's config.json."""
    folder = local_folder(source)
    if folder is None and name == "wav2vec2" and published(source) is not None:
        return {**PUBLISHED[source.partition("@")[0]], "front_end": front_end_of(name, front_end)}
    if folder is None:
        raise SitesUnknownError(
            f"{source!r} is no folder and no finished download on this machine; the sites of a hub name are only known "
            "once its weights are here: download them into a folder and give that as model.from"
        )
    path = folder / CONFIG_FILE
    read = read_widths(path)
    kind = read["model_type"]
    family = SPEECH if name == "wav2vec2" else (name,)
    if kind not in family:
        raise PlastsearchError(f"{path}: model_type {kind!r} is no {name}; known here: {', '.join(family)}")
    left_out = _LEFT_OUT_OF_CONFORMERS if kind in CONFORMERS else _LEFT_OUT
    widths: Widths = {**(left_out if name == "wav2vec2" else {}), **read}
    lacking = [key for key in _NEEDED[name] if key not in widths]
    if lacking:
        raise PlastsearchError(f"{path}: lacks {', '.join(lacking)}, without which the sites are unknown")
    saved = widths.setdefault("front_end", FRONT_ENDS[name])
    if front_end not in (None, saved):
        raise PlastsearchError(f"model.front_end: the weights in {folder} were trained on {saved!r}, not {front_end!r}")
    return widths


def published(source: str | None) -> Widths | None:
    """The widths of an encoder that the hub is known to have under this name, whether its weights are here or not."""
    return PUBLISHED.get(source.partition("@")[0]) if source else None


def local_folder(source: str) -> Path | None:
    """The folder itself, that of a start that comes along, or where a hub name's finished download lies here.

    `name@revision` asks the hub for that revision.

    A path without a folder is an error: no hub is asked for what lies on somebody's disk.
    """
    folder = typed_path(source)
    if folder.is_dir():
        return folder
    if source in STARTS:
        return COME_ALONG / source
    if looks_like_path(source) or folder.exists():
        reason = "is no folder" if folder.exists() else "does not exist"
        raise PlastsearchError(
            f"model.from: {folder} {reason} on {socket.gethostname()}; name a folder with config.json and "
            "model.safetensors that every node sees under this path, a hub name (owner/name), or what comes along: "
            f"{', '.join(STARTS)}"
        )
    name, _, revision = source.partition("@")
    download = hub_cache() / f"models--{name.replace('/', '--')}"
    branch = download / "refs" / (revision or "main")
    commit = branch.read_text().strip() if branch.is_file() else revision
    snapshot = download / "snapshots" / commit
    finished = commit and (snapshot / CONFIG_FILE).is_file() and any(weights_in(snapshot))
    return snapshot if finished else None


def hub_cache() -> Path:
    """Where the hub's library keeps what it downloads."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()


def weights_in(folder: Path) -> list[Path]:
    """The files that hold a folder's weights."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
