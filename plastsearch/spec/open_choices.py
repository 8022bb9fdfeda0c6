"""What a model's settings come to where a configuration leaves them open: one answer for builders and for ids."""

from collections.abc import Mapping

# What each meant before it was a setting. At that meaning it is no part of an id or of a saved config, so that those
# from before still hold.
FORMERLY: Mapping[str, object] = {"normalise": "clip", "stem": "quarter", "bins": None, "deltas": 0, "masks": 0}
NORMALISE = "corpus"  # docs/small_networks.md says on what evidence
STEM_OF_PRESET = {"tiny": "half", "small": "half"}  # larger ones are torchvision's


def normalise_of(name: str, wanted: str | None) -> str | None:
    """What a front end's features are set against; None of a network that reads the waveform."""
    return None if name == "wav2vec2" else wanted or NORMALISE


def stem_of(name: str, preset: str, activation: str, wanted: str | None) -> str | None:
    """A ResNet's stem; spiking ones repeat what comes after it for every step, so theirs stays the cheapest."""
    if name != "resnet18":
        return None
    return wanted or ("quarter" if activation != "own" else STEM_OF_PRESET.get(preset, "quarter"))


def unlike_before(settings: Mapping[str, object]) -> dict[str, object]:
    """Those that are not as they always were."""
    return {name: value for name, value in settings.items() if value is not None and value != FORMERLY[name]}
