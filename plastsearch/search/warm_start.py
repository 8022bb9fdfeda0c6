"""What earlier sweeps teach a new one: their trials in its parameters, as far as they fit, and points to open with.

How much they count while the search goes on: pareto/likeness.py. Where they are read: earlier_trials.py.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from pydantic import JsonValue, ValidationError

from plastsearch.errors import PlastsearchError, SpecError
from plastsearch.search.earlier_trials import Told, ToldSweep, read_source
from plastsearch.search.openings import openings
from plastsearch.search.parameters import Parameter, flat, label
from plastsearch.search.space import Space
from plastsearch.search.subsets import Encoding, OnOff
from plastsearch.search.values import RandomValues
from plastsearch.spec.domains import Params, Value
from plastsearch.spec.methods import UNTOUCHED
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.earlier import Earlier, EarlierSweep, EarlierTrial, Form, keep, kept
from plastsearch.tracking.records import TrialRecord

_NAMED = 3  # reasons that are spelt out


def knowledge(spec: SweepSpec, space: Space, folder: Path | None, records: Iterable[TrialRecord]) -> Earlier | None:
    """What a sweep knows of earlier ones: read when it begins and kept in its folder, from then on what was kept."""
    if not spec.search.warm_start:
        return None
    begun = [record for record in records if record.role == "search"]
    if folder is None or not begun:
        found = learn(spec, space)
        if folder is not None:
            keep(folder, found)
        return found
    found = kept(folder)
    _check(found, spec, space, folder, begun)
    return found


def learn(spec: SweepSpec, space: Space) -> Earlier:
    """Read all sources; SpecError names each that cannot be used, by its place in the list."""
    sweeps: list[EarlierSweep] = []
    mistakes = []
    for at, source in enumerate(spec.search.warm_start):
        try:
            sweeps += sweeps_of(source, spec, space)
        except PlastsearchError as error:
            mistakes.append(f"search.warm_start.{at}: {error}")
    if mistakes:
        raise SpecError(mistakes)
    earlier = earlier_of(spec, space, sweeps)
    return earlier.model_copy(update={"openings": openings(earlier, spec, space)})


def earlier_of(spec: SweepSpec, space: Space, sweeps: Sequence[EarlierSweep]) -> Earlier:
    """Earlier sweeps in the words of this one; no openings yet."""
    return Earlier(
        sources=list(spec.search.warm_start),
        objectives=[one.metric for one in spec.objectives],
        goals=[one.goal for one in spec.objectives],
        parameters=_forms(space),
        sweeps=list(sweeps),
        openings=[],
    )


def sweeps_of(source: str, spec: SweepSpec, space: Space) -> list[EarlierSweep]:
    """The sweeps of a source as far as they fit; refused if they lack an objective, or if nothing fits."""
    objectives = [one.metric for one in spec.objectives]
    limits = [limit.metric for limit in spec.parsed_constraints]
    told = read_source(source, list(space.domains), list(dict.fromkeys([*objectives, *limits])))
    found = [_fitted(source, one, spec, space) for one in told]
    if not any(one.trials for one in found):
        raise PlastsearchError("; ".join(one.said for one in found) or f"{source}: no trials in it")
    return [one for one in found if one.trials]


def _fitted(source: str, told: ToldSweep, spec: SweepSpec, space: Space) -> EarlierSweep:
    objectives = [one.metric for one in spec.objectives]
    for metric in objectives:
        if told.trials and not any(metric in one.metrics for one in told.trials):
            raise PlastsearchError(
                f"{source}: none of its {len(told.trials)} trials has '{metric}', which is an objective here; "
                "a sweep teaches only who asks what it measured"
            )
    trials: list[EarlierTrial] = []
    reasons: dict[str, list[str]] = {}
    moved = drawn = 0
    for at, one in enumerate(told.trials):
        if any(metric not in one.metrics for metric in objectives):
            reasons.setdefault("an objective was not measured", []).append("")
            continue
        values = _EarlierValues(one, space, np.random.default_rng([spec.search.seed, at, 4]))
        try:
            params = _params(values, one, space)
        except _UnfitError as error:
            reasons.setdefault(str(error), []).append(error.such_as)
            continue
        moved += values.moved
        drawn += values.drawn
        measured = [limit.violation(one.metrics, told.baseline) or 0.0 for limit in spec.parsed_constraints]
        excess = sum(max(value, 0.0) for value in measured)
        trials.append(EarlierTrial(params=params, values=[one.metrics[m] for m in objectives], excess=excess))
    if told.without_result:
        reasons["no result"] = [""] * told.without_result
    said = _said(source, len(trials), len(told.trials) + told.without_result, reasons, moved, drawn)
    return EarlierSweep(source=source, name=told.name, said=said, trials=trials)


def _params(values: "_EarlierValues", one: Told, space: Space) -> dict[str, JsonValue]:
    method = one.settings.get("method", space.base.method)
    if "method" not in space.domains and method not in (space.base.method, UNTOUCHED):
        raise _UnfitError("its method is not searched here", method)
    try:
        params = space.walk(values)[0]
        space.config(params)
    except (PlastsearchError, ValidationError):
        raise _UnfitError("no such trial can be written in this space") from None
    return dict(params)


def _said(source: str, kept_: int, of: int, reasons: Mapping[str, Sequence[str]], moved: int, drawn: int) -> str:
    """How many trials were kept, and why others were not."""
    text = f"{source}: {kept_} of {of} trials fit this space"
    if reasons:
        ordered = sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
        named = [f"{len(all_)}: {why}{f', such as {all_[0]}' if all_[0] else ''}" for why, all_ in ordered[:_NAMED]]
        rest = sum(len(all_) for _, all_ in ordered[_NAMED:])
        text += f" (not {'; '.join(named)}{f'; {rest} for other reasons' if rest else ''})"
    if moved:
        text += f", {moved} of them at the nearest step"
    if drawn:
        text += f", {drawn} with parameters that were not searched there, drawn at random"
    return text


class _UnfitError(Exception):
    """A trial has no place in this space: why, in words that fit others, too, and its own value."""

    def __init__(self, why: str, such_as: JsonValue = "") -> None:
        super().__init__(why)
        self.such_as = str(such_as)


class _EarlierValues(RandomValues):
    """The values of an earlier trial; what it says nothing of is drawn."""

    def __init__(self, told: Told, space: Space, rng: Generator) -> None:
        super().__init__(rng)
        self._told = told
        self._settings = told.settings
        self._space = space
        self.moved = self.drawn = 0  # 1 if that happened to any of its values

    def value(self, one: Parameter) -> Value:
        """The trial's value: one for all sites or a table of sites."""
        key = one.name if self._told.flat else one.key
        if key not in self._settings:
            return self._draw(one)
        value = self._settings[key]
        if isinstance(value, dict) and one.name != one.key:
            site = one.name.removeprefix(f"{one.key}.")
            if site not in value:
                return self._draw(one)
            value = value[site]
        return self._placed(one, value)

    def subset(self, sites: Encoding) -> Params:
        """Its sites, if this space may choose all of them."""
        chosen = self._chosen(sites)
        strange = [name for name in chosen if name not in sites.names]
        if strange:
            raise _UnfitError("a site that is not chosen from here", strange[0])
        if not sites.least <= len(chosen) <= sites.most:
            raise _UnfitError(f"not {sites.least} to {sites.most} sites", len(chosen))
        params = sites.encode([name for name in sites.names if name in chosen])
        if params is None:
            raise _UnfitError("this encoding of subsets cannot say its sites")
        return params

    def _chosen(self, sites: Encoding) -> list[str]:
        if not self._told.flat:
            layers = self._settings.get("layers")
            return [str(name) for name in layers] if isinstance(layers, list) else []
        switched = {name: on for name, on in self._settings.items() if name.startswith("layers.")}
        if isinstance(sites, OnOff) and all(isinstance(on, bool) for on in switched.values()):
            return [name.removeprefix("layers.") for name, on in switched.items() if on]
        if set(switched) != {one.name for one in sites.parameters}:
            raise _UnfitError("its sites are written in another encoding")
        return list(sites.decode(flat(switched)))

    def _draw(self, one: Parameter) -> Value:
        self.drawn = 1
        return super().value(one)

    def _placed(self, one: Parameter, value: JsonValue) -> Value:
        if one.labels:
            wanted = label(value)
            if not any(wanted == known and type(wanted) is type(known) for known in one.labels):
                raise _UnfitError(f"{one.key} is no choice here", wanted)
            return wanted
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _UnfitError(f"{one.key} is no number", value)
        if not one.low <= value <= one.high:
            raise _UnfitError(f"{one.key} lies outside {one.low:g} to {one.high:g}", f"{value:g}")
        if not one.step and not one.whole:
            return value
        step = one.step or 1
        placed = one.low + step * round((value - one.low) / step)
        if not math.isclose(placed, value, rel_tol=1e-9, abs_tol=1e-12):
            self.moved = 1
        return int(placed) if one.whole else placed


def _forms(space: Space) -> dict[str, Form]:
    return {
        name: Form(labels=[*one.labels]) if one.labels else Form(low=one.low, high=one.high, log=one.log)
        for name, one in space.parameters.items()
    }


def _check(found: Earlier, spec: SweepSpec, space: Space, folder: Path, begun: Sequence[TrialRecord]) -> None:
    """Refuse a file that is another sweep's."""
    objectives = [one.metric for one in spec.objectives]
    said = {flat_id(space, one.params) for one in found.openings}
    strange = [
        record for record in begun if record.origin == "warm_start" and flat_id(space, record.params) not in said
    ]
    if found.sources != list(spec.search.warm_start):
        why = f"it was read from {', '.join(found.sources)}"
    elif found.objectives != objectives or found.parameters != _forms(space):
        why = "it was read for another space"
    elif strange:
        why = f"trial {strange[0].number} opened this sweep and is not in it"
    else:
        return
    raise PlastsearchError(
        f"{folder}/warm_start.json does not agree with the sweep: {why}; restore it from a copy, or start "
        "another sweep with --name"
    )


def flat_id(space: Space, params: Mapping[str, JsonValue]) -> str:
    """The trial that flat parameters mean."""
    return space.config(flat(params)).trial_id()
