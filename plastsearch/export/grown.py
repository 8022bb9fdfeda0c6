"""Where a found model grew, site by site: neurons before, added, taken away again; for the card and its drawing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from plastsearch.models.catalog import Widths
from plastsearch.models.sites import table_of
from plastsearch.use.facts import Facts


@dataclass(frozen=True)
class GrownSite:
    """One site; numbers are neurons."""

    name: str
    before: int
    added: int
    removed_new: int  # of the added ones
    removed_old: int  # of those that were there before

    @property
    def kept(self) -> int:
        """New neurons that stayed."""
        return self.added - self.removed_new

    @property
    def now(self) -> int:
        """Neurons of the found model."""
        return self.before + self.added - self.removed_new - self.removed_old


def grown_sites(facts: Facts) -> list[GrownSite]:
    """Every site of the network in order of depth, whether it grew or not."""
    added: dict[str, int] = {}
    removed: dict[str, int] = {}
    removed_new: dict[str, int] = {}
    for stage in cast("list[Mapping[str, Any]]", facts.found.get("stages") or []):
        for kept, total in (("sites", added), ("removed", removed), ("removed_new", removed_new)):
            for site, neurons in (stage.get(kept) or {}).items():
                total[site] = total.get(site, 0) + int(neurons)
    return [
        GrownSite(
            row.name, row.neurons, added.get(row.name, 0), removed_new.get(row.name, 0),
            removed.get(row.name, 0) - removed_new.get(row.name, 0),
        )
        for row in table_of(cast("Widths", facts.network))
    ]  # fmt: skip


def pictured(facts: Facts) -> list[GrownSite]:
    """The sites as a drawing of their neurons names them: larger kernels stand in the name."""
    kernels = grown_kernels(facts)
    taps = {name: f"{name}, kernel {left}" for name, (_, left) in kernels.items()}
    return [replace(one, name=taps.get(one.name, one.name)) for one in grown_sites(facts)]


def grown_kernels(facts: Facts) -> dict[str, tuple[int, int]]:
    """Taps to which the kernels of each site grew, and those that are left of them."""
    grown: dict[str, int] = {}
    left: dict[str, int] = {}
    for stage in cast("list[Mapping[str, Any]]", facts.found.get("stages") or []):
        found = stage.get("kernels") or {}
        if stage.get("stage") == "dropin":
            grown |= {site: int(taps) for site, taps in found.items()}
        left |= {site: int(taps) for site, taps in found.items()}
    return {site: (taps, left[site]) for site, taps in grown.items()}
