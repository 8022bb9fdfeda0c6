"""DataConfig: which clips a trial learns from and is searched on, and how they are cut, changed and weighed."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from plastsearch.spec.closed import Closed
from plastsearch.spec.limits import MOST_CLIPS, MOST_RATE_HZ, MOST_REPEATS, MOST_SAMPLES, MOST_SEED
from plastsearch.spec.vocabulary import Corpus

BONA_FIDE_SHARE = 0.4
# Settings that came after the first corpora were named: no part of a name at these values.
LATER = {"score": "head", "speech_s": None, "bona_fide_share": BONA_FIDE_SHARE}
CROPS = 4  # measured: see benchmarks/RESULTS.md


class SearchDev(Closed):
    """What the search may score on: never the evaluation split."""

    policy: Literal["held_out_attacks", "dev", "second_corpus"] = "dev"
    """The corpus's dev split; attacks kept out of training; or another corpus."""
    attacks: tuple[str, ...] = Field((), examples=[["A05", "A06"]])
    """held_out_attacks: kept out of training, searched on."""
    corpus: Corpus | None = None
    """second_corpus: its name."""
    root: str | None = None
    """second_corpus: the folder that holds it."""
    variant: str | None = None
    """second_corpus: its variant."""
    manifest: str | None = None
    """second_corpus: a CSV or Parquet table of clips, where `corpus` is manifest."""


class DataConfig(Closed):
    """Which clips, and how they are cut, changed and weighed."""

    corpus: Corpus = "synthetic"
    """Whose protocols are read; synthetic is generated here, manifest is a table of your own."""
    root: str | None = Field(None, examples=["data/ASVspoof2019/LA"])
    """The folder that holds the corpus; of a manifest the one that its paths start from."""
    variant: str | None = Field(None, examples=["for-norm", "la"])
    """fake_or_real: for-original, for-norm, for-2sec or for-rerec; synthetic: layout la, pa, for or itw."""
    manifest: str | None = Field(None, examples=["clips.csv"])
    """corpus manifest: a CSV or Parquet table with columns path, label, split, perhaps attack and speaker."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """synthetic: of what is generated."""
    clips: int | None = Field(None, ge=8, le=MOST_CLIPS)
    """synthetic: training clips; elsewhere at most so many, in equal shares of classes and attacks. null: all."""
    difficulty: float = Field(0.5, ge=0, le=1)
    """synthetic: how hard it is to tell the classes apart."""
    speech_s: float | None = Field(None, ge=0.2, le=60)
    """synthetic: seconds that every clip lasts; null: one to two, drawn (for-2sec and for-rerec: two)."""
    bona_fide_share: float = Field(BONA_FIDE_SHARE, ge=0.05, le=0.95)
    """synthetic: of the clips of every split."""
    search_dev: SearchDev = SearchDev()
    """What the search may score on: never the evaluation split."""
    rate_hz: int = Field(16_000, ge=1, le=MOST_RATE_HZ)
    """Samples per second; clips of another rate are converted."""
    length_samples: int = Field(64_600, ge=400, le=MOST_SAMPLES)
    """How long a clip is cut or repeated to."""
    crops: Annotated[int, Field(ge=1, le=MOST_REPEATS)] | Literal["fresh"] = CROPS
    """In every arm alike: N fixed places of each training clip in turn, or a fresh one per epoch."""
    storage: Literal["int16", "float32"] = "int16"
    """How decoded clips are kept; int16 is exact for 16-bit mono files."""
    on_bad: Literal["refuse", "skip"] = "refuse"
    """What becomes of clips that cannot be decoded."""
    balance: Literal["weights", "sampler", "none"] = "weights"
    """How the rarer class is made up for: in the loss, in the order of clips, or not at all."""
    augment: tuple[str, ...] = Field((), examples=[["rawboost5"], ["noise:data/musan"]])
    """What is done to a training clip, in order: names of augment/names.py, e.g. rawboost5, spec_masks."""
    score: Literal["head", "windows"] = "head"
    """What is scored of a long dev or evaluation clip: its head, or the mean of windows as in `score`."""

    def identity(self) -> dict[str, object]:
        """Plain data for hashes: settings that came later are left out at their defaults."""
        plain = self.model_dump(mode="json", by_alias=True)
        return {name: value for name, value in plain.items() if LATER.get(name, ...) != value}

    @field_validator("crops", mode="before")
    @classmethod
    def _once_null(cls, value: object) -> object:
        """Journals of sweeps from before the one policy for all arms say null, and must still be read."""
        return CROPS if value is None else value
