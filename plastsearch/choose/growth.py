"""Where each trial grew: site by site how many neurons came in and stayed, or how far kernels grew and were cut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from plastsearch.analysis.rows import TrialRow
from plastsearch.errors import PlastsearchError
from plastsearch.models.sites import site_table
from plastsearch.spec.methods import METHODS


@dataclass(frozen=True)
class Grown:
    """One site of one trial."""

    added: int
    kept: int  # of those that were added
    lost: int  # of those that were there before


@dataclass(frozen=True)
class Ring:
    """Taps of the kernels of one site of one trial, along an axis."""

    before: int  # 0: not known
    grown: int
    left: int


@dataclass(frozen=True)
class Growth:
    """Sites in order of depth; of each trial the sites that it grew as [site, added, kept, lost].

    Where kernels grew instead, they are [site, taps before, grown to, left] in `rings`.
    """

    sites: list[str]
    widths: list[list[int]]  # of each kind of network, by site; 0: it has no such site, or its width is not known
    network: list[int]  # of each trial, a place in `widths`
    adds: list[str]  # what kinds of growth there are
    kind: list[int]  # of each trial, a place in `adds`
    grown: list[list[list[int]]]
    rings: list[list[list[int]]]


def growth(rows: Sequence[TrialRow]) -> Growth:
    """The growth of every trial."""
    models: list[JsonValue] = []
    tables: list[dict[str, int]] = []
    network = []
    for row in rows:
        model = row.record.config.get("model")
        if model not in models:
            models.append(model)
            tables.append(_widths(row))
        network.append(models.index(model))
    each = [grown_sites(row) for row in rows]
    kernels = [grown_rings(row) for row in rows]
    sites = list(dict.fromkeys([site for table in tables for site in table]))
    named = {site for of in each for site in of} | {site for of in kernels for site in of}
    sites += sorted(named - set(sites))  # of a network whose table is not known
    adds = list(dict.fromkeys(METHODS[row.config.method].adds for row in rows))
    at = {site: n for n, site in enumerate(sites)}
    return Growth(
        sites,
        [[table.get(site, 0) for site in sites] for table in tables],
        network,
        [str(kind) for kind in adds],
        [adds.index(METHODS[row.config.method].adds) for row in rows],
        [[[at[site], one.added, one.kept, one.lost] for site, one in of.items()] for of in each],
        [[[at[site], one.before, one.grown, one.left] for site, one in of.items()] for of in kernels],
    )


def _widths(row: TrialRow) -> dict[str, int]:
    try:
        return {site.name: site.neurons for site in site_table(row.config.model)}
    except (PlastsearchError, OSError):  # weights that lay elsewhere: its sites are those that trials name
        return {}


def grown_sites(row: TrialRow) -> dict[str, Grown]:
    """Sites that a trial grew, or was to grow; of adapters those beside which they stand."""
    added = _of_stage(row, "dropin", "sites") or row.record.placed
    if not added and METHODS[row.config.method].placed and not row.config.rings():  # which bring no neurons
        added = row.config.growth()
    removed, removed_new = _of_stage(row, "prune", "removed"), _of_stage(row, "prune", "removed_new")
    return {
        site: Grown(count, count - removed_new.get(site, 0), removed.get(site, 0) - removed_new.get(site, 0))
        for site, count in added.items()
    }


def grown_rings(row: TrialRow) -> dict[str, Ring]:
    """Sites whose kernels a trial grew, or was to grow."""
    if not row.config.rings() or not METHODS[row.config.method].placed:
        return {}
    try:
        before = {site.name: site.kernel or 0 for site in site_table(row.config.model)}
    except (PlastsearchError, OSError):  # as above
        before = {}
    left = _of_stage(row, "prune", "kernels")
    grown = _of_stage(row, "dropin", "kernels") or row.config.growth()
    return {site: Ring(before.get(site, 0), taps, left.get(site, taps)) for site, taps in grown.items()}


def _of_stage(row: TrialRow, stage: str, key: str) -> dict[str, int]:
    for one in cast("Sequence[Mapping[str, object]]", row.record.details.get("stages") or ()):
        found = one.get(key) if one.get("stage") == stage else None
        if isinstance(found, dict):
            return {str(site): count for site, count in found.items() if isinstance(count, int)}
    return {}
