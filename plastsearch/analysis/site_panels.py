"""What the figure of EER by dropin site shows, free of any drawing library; drawn by page.py and picture.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from plastsearch.analysis.figure import COLOURS

SITES_AXIS = "dev EER (%)"
# Arms that the figure by site compares single sites with: name → colour, line style of the picture and of the page.
LINES = {
    "baseline, before growth": ("#555555", ":", "dot"),
    "longer training, same steps": (COLOURS["baseline"], "--", "dash"),
}


@dataclass(frozen=True)
class SitePanel:
    """One network: EERs at each single site, in order of depth, and those of whole arms, one value per seed."""

    title: str
    what: str  # what was done at each site
    by_site: dict[str, list[float]]
    lines: dict[str, list[float]]  # names of LINES

    @property
    def width(self) -> float:
        """How much room its labels need beside those of other panels."""
        return max(3.5, len(self.by_site))

    def bars(self) -> tuple[list[float], list[float], list[float]]:
        """Means, and how far the seeds reach below and above them."""
        means = [fmean(values) for values in self.by_site.values()]
        below = [mean - min(values) for mean, values in zip(means, self.by_site.values(), strict=True)]
        return means, below, [max(values) - mean for mean, values in zip(means, self.by_site.values(), strict=True)]


def top(panels: Sequence[SitePanel]) -> float:
    """The upper end of the common scale."""
    return 1.08 * max(max(values) for panel in panels for values in [*panel.by_site.values(), *panel.lines.values()])
