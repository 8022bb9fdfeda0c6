"""Published figures that a space aims at: typed, so that a report can say whether they were reproduced."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from plastsearch.spec.closed import Closed
from plastsearch.spec.vocabulary import Corpus

Percent = Annotated[float, Field(ge=0, le=100)]


class Aim(Closed):
    """One figure of a paper on one corpus's evaluation split."""

    corpus: Corpus
    """The corpus whose evaluation split was scored; finalists of another one say nothing of it."""
    metric: Literal["eval_eer"] = "eval_eer"
    """What was published."""
    best: Percent | None = None
    """The best of the published runs, in percent."""
    mean: Percent | None = None
    """The mean of the published runs, in percent; what counts, for a best of many runs is luck, too."""
    source: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")]
    """The paper, as its arXiv id, such as 2202.12233."""
    system: str = Field(min_length=1, max_length=120)
    """Which of the paper's systems it is."""

    def text(self) -> str:
        """For the terminal."""
        figures = [
            f"{name} {value:g}" for name, value in (("mean", self.mean), ("best", self.best)) if value is not None
        ]
        return f"{self.corpus} EER {', '.join(figures)} % ({self.system}, arXiv {self.source})"

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.best is None and self.mean is None:
            raise ValueError("give the published best, mean or both")
        if self.best is not None and self.mean is not None and self.best > self.mean:
            raise ValueError(f"the best, {self.best:g} %, is above the mean, {self.mean:g} %; are they swapped?")
        return self
