"""What a trial does otherwise than the baseline, field by field, and the configuration with any of these fields.

Each chosen site is a field of its own, each setting another; the method stands for all that it brings along. What a
configuration does not read has no effect in it, which its canonical form tells: a step that changes nothing is none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pydantic import JsonValue

from plastsearch.errors import PlastsearchError
from plastsearch.search.canonical import canonical
from plastsearch.search.parameters import values_of
from plastsearch.search.space import Space
from plastsearch.spec.coherence import paths, value_at
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.domains import Choice, FloatRange, IntRange, Subset
from plastsearch.spec.methods import UNTOUCHED, facts

Chosen = frozenset[str]  # names of fields that are as in the trial; all others are as in the baseline

# Settings that stand for themselves.
_ALONE = frozenset(paths()) - {"method", "layers", "neurons", "seed"}
_OF_RINGS = ("operator", "kernel")
SITE, NEURONS = "layers.", "neurons."


@dataclass(frozen=True)
class Field:
    """One thing in which the trial differs from the baseline."""

    name: str
    before: JsonValue
    after: JsonValue

    @property
    def words(self) -> str:
        """The change, for a person."""
        if self.name.startswith(SITE):
            return f"grow at {self.name.removeprefix(SITE)}"
        return f"{self.name}: {_said(self.before)} → {_said(self.after)}"

    @property
    def undone(self) -> str:
        """The same backward."""
        if self.name.startswith(SITE):
            return self.words
        return f"{self.name}: {_said(self.after)} → {_said(self.before)}"


class Contrast:
    """The trial and the baseline of its space, and everything between them."""

    def __init__(self, space: Space, trial: TrialConfig) -> None:
        self._space = space
        self._trial = canonical(trial, space.sites)
        self._made: dict[Chosen, TrialConfig] = {}
        self._placed = facts(trial.method).placed
        found = [*self._method(), *self._sites(), *self._neurons(), *self._settings()]
        self._all = {one.name: one for one in found}
        own, made = self._trial, self.config(frozenset(self._all))
        if made != own:
            apart = [path for path in paths() if value_at(made, path) != value_at(own, path)]
            raise PlastsearchError(
                f"the trial does not come from this space: no point of it has its {', '.join(apart)}; "
                "name a trial of the sweep's own search"
            )

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """Every field that changes something, in the trial itself or where one other field is missing."""
        names = frozenset(self._all)
        places = [names, *(names - {name} for name in names)]
        return tuple(
            one for one in self._all.values()
            if any(one.name in at and self.config(at) != self.config(at - {one.name}) for at in places)
        )  # fmt: skip

    @property
    def names(self) -> Chosen:
        """Every field: with all of them it is the trial."""
        return frozenset(one.name for one in self.fields)

    def field(self, name: str) -> Field:
        """The field of that name."""
        return self._all[name]

    def ordered(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names in the order in which fields are listed."""
        wanted = set(names)
        return tuple(name for name in self._all if name in wanted)

    def config(self, chosen: Chosen) -> TrialConfig:
        """The configuration in which these fields are as in the trial; its seed is the trial's."""
        if chosen not in self._made:
            point = {name: self._all[name].after for name in chosen if name in _ALONE}
            config = self._space.config_at({**point, **self._growth(chosen)})
            self._made[chosen] = config.model_copy(update={"seed": self._trial.seed})
        return self._made[chosen]

    def values(self, chosen: Chosen) -> dict[str, JsonValue]:
        """Every field with its value, for the journal."""
        return {one.name: one.after if one.name in chosen else one.before for one in self.fields}

    # what differs

    def _method(self) -> list[Field]:
        return [] if self._trial.method == UNTOUCHED else [Field("method", UNTOUCHED, self._trial.method)]

    @cached_property
    def _own_sites(self) -> tuple[str, ...]:
        return self._trial.layers or tuple(self._trial.growth())

    @cached_property
    def _fixed_sites(self) -> tuple[str, ...] | None:
        """Where the space leaves no choice of sites, those of its base: they come with the method."""
        base = self._space.base
        sites = base.layers or tuple(base.growth())
        searched = isinstance(self._space.domains.get("layers"), Subset | Choice)
        return sites if sites and not searched and set(self._own_sites) <= set(sites) else None

    @property
    def _whole(self) -> bool:
        """Whether sites were chosen as one of some lists, and so are one field."""
        return isinstance(self._space.domains.get("layers"), Choice)

    def _sites(self) -> list[Field]:
        if not self._placed or self._fixed_sites is not None:
            return []
        if self._whole:
            return [Field("layers", [], [*self._own_sites])]
        return [Field(SITE + site, False, True) for site in self._own_sites]

    @property
    def _per_site(self) -> bool:
        domain = self._space.domains.get("neurons")
        own = isinstance(domain, Choice | IntRange) and domain.per_layer
        return own or isinstance(self._space.base.neurons, dict)

    def _neurons(self) -> list[Field]:
        if not self._placed:
            return []
        if self._trial.rings():
            return []
        after = self._trial.growth()
        sites = self._fixed_sites or self._own_sites
        before = {site: self._least(site) for site in sites}
        if self._per_site:
            return [
                Field(NEURONS + site, before[site], after.get(site, 0))
                for site in sites if before[site] != after.get(site, 0)
            ]  # fmt: skip
        if all(before[site] == after.get(site) for site in sites):
            return []
        counts = sorted(set(after.values()))
        return [Field("neurons", before[sites[0]], counts[0] if len(counts) == 1 else dict(after))]

    def _least(self, site: str) -> int:
        """How many neurons a site gets whose number is as in the baseline: the base's, else the space's smallest."""
        # The baseline itself has none; with none, a site would be no site, and the number could not be told from it.
        own = self._space.base.neurons
        if isinstance(own, dict) and own.get(site):
            return own[site]
        if isinstance(own, int) and own:
            return own
        domain = self._space.domains.get("neurons")
        options = values_of(domain) if isinstance(domain, Choice | IntRange | FloatRange) else None
        counts = [value for value in options or () if isinstance(value, int) and value > 0]
        return min(counts, default=self._trial.growth().get(site, 1))

    def _settings(self) -> list[Field]:
        base, own = self._space.base, self._trial
        pairs = ((path, value_at(base, path), value_at(own, path)) for path in sorted(_ALONE, key=paths().index))
        own_way = _OF_RINGS if self._trial.rings() else ()  # what grows there comes with the method
        return [Field(path, before, after) for path, before, after in pairs if before != after and path not in own_way]

    # what a choice comes to

    def _growth(self, chosen: Chosen) -> dict[str, JsonValue]:
        if "method" not in chosen:
            return {"method": UNTOUCHED, "layers": [], "neurons": 0}
        if not self._placed:
            return {"method": self._trial.method, "layers": [], "neurons": 0}
        sites = self._fixed_sites
        if sites is None:
            sites = tuple(site for site in self._own_sites if {SITE + site, "layers"} & chosen)
        if self._trial.rings():
            taps: dict[str, JsonValue] = {name: value_at(self._trial, name) for name in _OF_RINGS}
            return {"method": self._trial.method, "layers": [*sites], "neurons": 0, **taps}
        own = self._trial.growth()
        counts: dict[str, JsonValue] = {
            site: own.get(site, 0) if self._as_in_trial(site, chosen) else self._least(site) for site in sites
        }
        return {"method": self._trial.method, "layers": [*sites], "neurons": counts}

    def _as_in_trial(self, site: str, chosen: Chosen) -> bool:
        """Whether a site's number is the trial's: chosen to be, or no different in the first place."""
        name = NEURONS + site if self._per_site else "neurons"
        return name in chosen or name not in self._all


def _said(value: JsonValue) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {number}" for key, number in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
