"""ModelConfig: which network a trial takes."""

from typing import Literal

from pydantic import Field

from plastsearch.spec.closed import Closed
from plastsearch.spec.limits import MOST_AMOUNT
from plastsearch.spec.open_choices import normalise_of, stem_of, unlike_before
from plastsearch.spec.starts import STARTS
from plastsearch.spec.vocabulary import Head, Model, Preset

EVERY_LAYER = ("mhfa", "sls")  # heads that read every layer whatever `layers_in` says
# In an id where they are not as they were before.
OF_SPECTRA = ("normalise", "bins", "deltas", "stem", "masks")
SPIKING = ("time_steps", "leak", "threshold", "reset", "surrogate")  # what `lif` alone reads


class ModelConfig(Closed):
    """Which network; `from` takes its weights from a local folder or a hub name."""

    name: Model = "wav2vec2"
    """The network; wav2vec2 also stands for HuBERT, WavLM and W2V-BERT, whose weights `from` names."""
    preset: Preset = "tiny"
    """How large it is where `from` names no weights."""
    from_: str | None = Field(None, alias="from", examples=["facebook/wav2vec2-base", "weights/xlsr", "tiny-speech"])
    """A folder with weights, a hub name, or tiny-speech, which comes along; null: random weights."""
    front_end: Literal["waveform", "log_mel", "linear", "lfcc", "mfcc"] | None = None
    """What the network reads; null: its own (wav2vec2: waveform; resnet18, cnn: log_mel; grnn, lcnn: lfcc)."""
    normalise: Literal["none", "corpus", "clip"] | None = None
    """What a front end's features are set against: nothing, statistics of the training clips, or the clip's own."""
    bins: int | None = Field(None, ge=4, le=128)
    """Rows of a front end, without slopes; null: 64 bands or 40 coefficients, or what the folder says."""
    deltas: int | None = Field(None, ge=0, le=2)
    """Slopes of these features, and slopes of the slopes; null: 0, or what the folder says."""
    stem: Literal["quarter", "half", "whole"] | None = None
    """resnet18: how much of the picture is left for its blocks; null: half for tiny and small, a quarter for others."""
    masks: int = Field(0, ge=0, le=8)
    """SpecAugment: so many bands of rows, and of frames, that training hides; for networks with a front end."""
    head: Head = "linear"
    """What judges the frames; all but linear are for speech encoders."""
    layers_in: Literal["last", "weighted_sum"] = "last"
    """Which layers of an encoder the head reads; mhfa and sls read all of them anyhow."""
    pooling: Literal["mean", "attention", "mean_std"] = "mean"
    """How the linear head makes frames one vector; other heads have a way of their own."""
    bidirectional: bool = False
    """grnn only: layers of two directions."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of activations that training leaves out."""
    activation: Literal["own", "lif"] = "own"
    """lif: spiking neurons (docs/spiking.md), in resnet18 and grnn."""
    time_steps: int = Field(4, ge=1, le=64)
    """lif: how often each clip's currents are applied."""
    leak: float = Field(0.5, gt=0, le=1)
    """lif: share of a membrane that a step leaves; 1: none is lost."""
    threshold: float = Field(0.5, gt=0, le=MOST_AMOUNT)
    """lif: of a membrane, to fire."""
    reset: Literal["soft", "hard"] = "soft"
    """lif: a spike takes the threshold off its membrane (soft), or all of it (hard)."""
    surrogate: Literal["arctan", "fast_sigmoid"] = "arctan"
    """lif: what stands in the place of a spike's derivative."""

    def identity(self) -> dict[str, object]:
        """Plain data for hashes: what a network does not read is left out, and so is what older ids know nothing of.

        Choices of a front end are in it by what they come to, and only where that differs from what always was; with
        `from` a choice left open is the folder's.
        """
        unread = {"activation", *SPIKING} if self.activation == "own" else set()
        if self.head == "linear":
            unread |= {"head"}
        else:
            unread |= {"pooling"}
        if self.layers_in == "last" or self.head in EVERY_LAYER:
            unread |= {"layers_in"}
        plain = self.model_dump(mode="json", by_alias=True, exclude={*unread, *OF_SPECTRA})
        settings: dict[str, object] = {"bins": self.bins, "deltas": self.deltas, "masks": self.masks}
        if self.from_ is None:
            settings["normalise"] = normalise_of(self.name, self.normalise)
            settings["stem"] = stem_of(self.name, self.preset, self.activation, self.stem)
        else:
            settings |= {"normalise": self.normalise, "stem": self.stem}
        if self.from_ is not None and self.from_ in STARTS:
            plain["weights"] = STARTS[self.from_]
        return plain | unlike_before(settings)
