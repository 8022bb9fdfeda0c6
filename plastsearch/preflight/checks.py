"""All that a sweep names exists, before anything runs: sites, widths, points, corpora. Imports no torch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

from pydantic import JsonValue, ValidationError

from plastsearch.errors import PlastsearchError, SpecError
from plastsearch.models.catalog import NOT_COMPILED
from plastsearch.models.sites import SiteRow, site_table
from plastsearch.models.widths import SitesUnknownError
from plastsearch.preflight.data_checks import has_finalists, places, unusable_clips
from plastsearch.search.openings import openings
from plastsearch.search.replication import explored_first
from plastsearch.search.space import Space
from plastsearch.search.warm_start import earlier_of, sweeps_of
from plastsearch.spec.coherence import Mistake, set_at
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.constraints import TIMES
from plastsearch.spec.document import Document, Place
from plastsearch.spec.domains import Choice, Domain, IntRange, Subset
from plastsearch.spec.limits import MOST_TOLD
from plastsearch.spec.methods import CONTROLS, facts, reads, unfit
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.patterns import match_sites
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.earlier import LEARNING

SAMPLED = 200  # points that are asked whether they could run
MOST_NETWORKS = 200  # of one space whose sites are looked up


@dataclass
class Findings:
    """What was found; without mistakes there is a space."""

    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: list[SiteRow] = field(default_factory=list)
    space: Space | None = None


def preflight(
    spec: SweepSpec,
    *,
    data: bool = True,
    evaluation: bool = True,
    earlier: bool = True,
    say: Callable[[Place, str], str] | None = None,
) -> Findings:
    """Look everything up; SpecError names all that is missing at once. Finalists need the evaluation split, too.

    Earlier sweeps are read unless the sweep has begun: then it goes by what it kept of them. `say` knows the lines of
    the space's file.
    """
    found = examine(spec, data=data, evaluation=evaluation, earlier=earlier)
    if found.mistakes:
        say = say or Document(spec.name or "space").say
        raise SpecError([say(place, message) for place, message in found.mistakes])
    return found


def examine(spec: SweepSpec, *, data: bool = True, evaluation: bool = True, earlier: bool = True) -> Findings:
    """The same without raising, for `check`, which adds lines to the places."""
    found = Findings()
    # All mistakes at once, but none that follows from another: a corpus without a place is not asked for its clips.
    found.mistakes += places(spec.base.data, look=data)
    if data and not found.mistakes:
        found.mistakes += unusable_clips(spec, evaluation=evaluation and has_finalists(spec))
    try:
        found.rows, assumed = sites_of(spec.base.model)
        found.notes += [assumed] if assumed else []
        other = _other_models(spec)
    except ValidationError as error:
        found.mistakes.append((("space",), f"some networks of it are none: {error.errors()[0]['msg']}"))
        return found
    except PlastsearchError as error:
        found.mistakes.append((("base", "model"), str(error)))
        return found
    names = [row.name for row in found.rows]
    missing = [*_patterns(spec, names), *_other_sites(spec, names, other)]
    missing += _widths(spec, [*found.rows, *(row for rows in other for row in rows)])
    missing += _kernels(spec, found.rows) + _compiling(spec) + _timing(spec) + _unfit(spec)
    found.mistakes += missing
    if not missing:  # a point can only be placed among sites that exist
        _points(spec, found)
    if data and earlier and found.space is not None:
        _earlier(spec, found, found.space)
    return found


def sites_of(model: ModelConfig) -> tuple[list[SiteRow], str | None]:
    """The sites, and a note if they are only assumed: weights of a hub name that are not here yet."""
    try:
        return site_table(model), None
    except SitesUnknownError:
        rows = site_table(model.model_copy(update={"from_": None}))
        return (
            rows,
            f"{model.from_} is not on this machine yet; its sites are assumed to be those of preset {model.preset}",
        )


def _compiling(spec: SweepSpec) -> list[Mistake]:
    """Compilation asked of a network that has nothing to compile; where the network is searched, some points fail."""
    reason = NOT_COMPILED.get(spec.base.model.name)
    if reason is None or "model.name" in spec.space:
        return []
    # Told before a sweep begins, since torch would say it in a worker, after seconds of tracing.
    searched = spec.space.get("train.compile")
    if isinstance(searched, Choice):
        return [(("space", "train.compile", "of", at), reason) for at, value in enumerate(searched.of) if value]
    return [(("base", "train", "compile"), reason)] if spec.base.train.compile else []


def _unfit(spec: SweepSpec) -> list[Mistake]:
    """Methods and controls that cannot do their work on this network, or on one that the space may choose."""
    networks = spec.space.get("model.name")
    names = [str(name) for name in networks.of] if isinstance(networks, Choice) else [spec.base.model.name]
    methods = spec.space.get("method")
    asked: list[tuple[tuple[str | int, ...], str | None]] = [
        (("controls", at), CONTROLS[control].method) for at, control in enumerate(spec.controls)
    ]
    if isinstance(methods, Choice):
        asked += [(("space", "method", "of", at), str(name)) for at, name in enumerate(methods.of)]
    else:
        asked.append((("base", "method"), spec.base.method))
    return [(place, reason) for place, method in asked for name in names if (reason := unfit(method or "", name))]


def _timing(spec: SweepSpec) -> list[Mistake]:
    """Milliseconds as an objective where trials share a GPU: the search would optimise its neighbours."""
    share = spec.resources.gpu
    if not share or share % 1 == 0:
        return []
    return [
        (
            ("objectives", at, "metric"),
            f"{one.metric} is timed while other trials compute on the same GPU (resources.gpu: {share:g}) and depends "
            "on them; use backward_ratio, which is interleaved, or backward_gflop, or whole GPUs",
        )
        for at, one in enumerate(spec.objectives)
        if one.metric in TIMES
    ]


def _other_models(spec: SweepSpec) -> list[list[SiteRow]]:
    """The sites of every other network that the space may choose."""
    keys = [key for key, domain in spec.space.items() if key.startswith("model.") and isinstance(domain, Choice)]
    options = [spec.space[key].of for key in keys]  # type: ignore[union-attr]
    models = (
        [set_at(spec.base, dict(zip(keys, values, strict=True))).model for values in _some(options)] if keys else []
    )
    return [sites_of(model)[0] for model in models]


def _some(options: Sequence[Sequence[JsonValue]]) -> Iterator[tuple[JsonValue, ...]]:
    """Ways to choose one of each; a product of many choices grows without end."""
    return islice(product(*options), MOST_NETWORKS)


def _patterns(spec: SweepSpec, names: list[str]) -> list[Mistake]:
    """Patterns that match no site; subsets larger than what they choose from."""
    found: list[Mistake] = []
    wanted: list[tuple[tuple[str | int, ...], str]] = [
        (("base", "layers", at), name) for at, name in enumerate(spec.base.layers)
    ]
    if isinstance(spec.base.neurons, dict):
        wanted += [(("base", "neurons", name), name) for name in spec.base.neurons]
    layers = spec.space.get("layers")
    if isinstance(layers, Subset):
        single = isinstance(layers.of, str)
        wanted += [
            (("space", "layers", "of", *(() if single else (at,))), one) for at, one in enumerate(layers.patterns)
        ]
    elif isinstance(layers, Choice):
        for at, value in enumerate(layers.of):
            several = value if isinstance(value, list) else [value]
            wanted += [(("space", "layers", "of", at), str(name)) for name in several]
    for path, pattern in wanted:
        try:
            match_sites(pattern, names)
        except PlastsearchError as error:
            found.append((path, str(error)))
            if len(found) == MOST_TOLD:  # each is compared with all sites, for a word that is close
                break
    if isinstance(layers, Subset) and not found:
        count = len(match_sites(layers.patterns, names))
        for key, value in (("min", layers.min), ("max", layers.max)):
            if value is not None and value > count:
                found.append(
                    (("space", "layers", key), f"{value}, but the patterns match {count} sites; at most {count}")
                )
    return found


def _other_sites(spec: SweepSpec, names: list[str], other: list[list[SiteRow]]) -> list[Mistake]:
    """Sites that a network the space may choose does not have."""
    layers = spec.space.get("layers")
    if not isinstance(layers, Subset):
        return []
    try:
        chosen = set(match_sites(layers.patterns, names))
    except PlastsearchError:
        return []
    lacking = sorted({name for rows in other for name in chosen - {row.name for row in rows}})
    message = f"{', '.join(lacking[:4])} are not in every network of this space; name only sites that all have"
    return [(("space", "layers", "of"), message)] if lacking else []


def _widths(spec: SweepSpec, rows: Sequence[SiteRow]) -> list[Mistake]:
    """Widths that a site cannot have."""
    searched = spec.space.get("neurons")
    if isinstance(searched, Choice | IntRange) and searched.fit == "snap":
        return []
    try:
        names = set(_reachable(spec, [row.name for row in rows]))
    except PlastsearchError:
        return []
    steps = {row.step: row for row in rows if row.name in names and row.step > 1}
    found: list[Mistake] = []
    # One site speaks for all that count in the same step, and one width for all that do not fit it.
    for step, row in steps.items():
        for path, value in _counts(spec.base, searched):
            if value % step:
                fits = f"a multiple of {step}"
                message = f"{value} does not fit '{row.name}', whose neurons come in {step}s; use {fits}"
                found.append((path, f"{message}, or `fit: snap`" if searched is not None else message))
                break
    return found


def _kernels(spec: SweepSpec, rows: Sequence[SiteRow]) -> list[Mistake]:
    """Sites without a kernel where kernels may grow, and kernels that are there already."""
    operator, method, searched = (spec.space.get(key) for key in ("operator", "method", "kernel"))
    operators = operator.of if isinstance(operator, Choice) else [spec.base.operator]
    methods = method.of if isinstance(method, Choice) else [spec.base.method]
    read = any(reads(str(one), "operator") and facts(str(one)).placed for one in methods)
    if "ring" not in operators or not read:
        return []
    try:
        names = set(_reachable(spec, [row.name for row in rows]))
    except PlastsearchError:
        return []
    at: Place = ("space", "operator", "of", operators.index("ring")) if operator else ("base", "operator")
    there = [row for row in rows if row.name in names]
    lacking = [row.name for row in there if row.kernel is None]
    if lacking:
        some = ", ".join(lacking[:4])
        return [(at, f"ring grows kernels, and {some} of {spec.base.model.name} have none; take widen, or other sites")]
    if isinstance(searched, Choice):
        wanted: list[tuple[Place, int]] = [
            (("space", "kernel", "of", k), value) for k, value in enumerate(searched.of) if isinstance(value, int)
        ]
    elif isinstance(searched, IntRange):
        wanted = [(("space", "kernel", "low"), searched.low)]
    else:
        wanted = [(("base", "kernel"), spec.base.kernel)]
    most = max((row.kernel or 0 for row in there), default=0)
    return [
        (place, f"the kernels are of {most} taps already; ask for more than that, not {value}")
        for place, value in wanted
        if value <= most
    ]


def _reachable(spec: SweepSpec, names: list[str]) -> list[str]:
    layers = spec.space.get("layers")
    ordered = list(dict.fromkeys(names))
    if isinstance(layers, Subset):
        return match_sites(layers.patterns, ordered)
    if isinstance(layers, Choice):
        several = [str(name) for value in layers.of for name in (value if isinstance(value, list) else [value])]
        return match_sites(several, ordered) if several else []
    return match_sites(spec.base.layers, ordered) if spec.base.layers else list(spec.base.growth())


def _counts(base: TrialConfig, searched: Domain | None) -> list[tuple[tuple[str | int, ...], int]]:
    """Every width asked for, and where."""
    if isinstance(searched, Choice):
        return [(("space", "neurons", "of", at), v) for at, v in enumerate(searched.of) if isinstance(v, int)]
    if isinstance(searched, IntRange):
        return [(("space", "neurons"), value) for value in searched.values]
    if isinstance(base.neurons, dict):
        return [(("base", "neurons", name), value) for name, value in base.neurons.items()]
    return [(("base", "neurons"), base.neurons)]


def _points(spec: SweepSpec, found: Findings) -> None:
    """Build the space, and write every point of `try_first` in it."""
    import numpy as np

    try:
        found.space = Space(spec, found.rows)
    except SpecError as error:
        found.mistakes.append((("space",), str(error).removeprefix("space: ")))
        return
    for at, point in enumerate(spec.try_first):
        try:
            found.space.config(found.space.flat(point, np.random.default_rng(0)))
        except PlastsearchError as error:
            found.mistakes.append((("try_first", at), str(error)))
    if spec.search.sampler == "grid" and found.space.size is None:
        found.mistakes.append((("search", "sampler"), "grid needs a finite space; give every float range a `step:`"))
    found.notes += _sampler_notes(spec, found.space)
    _runnable(found, found.space)


def _earlier(spec: SweepSpec, found: Findings, space: Space) -> None:
    """Earlier sweeps that cannot teach this one; of the others how many trials fit, and what is made of them."""
    sweeps = []
    for at, source in enumerate(spec.search.warm_start):
        try:
            sweeps += sweeps_of(source, spec, space)
        except PlastsearchError as error:
            found.mistakes.append((("search", "warm_start", at), str(error)))
    if len(set(spec.search.warm_start)) < len(spec.search.warm_start):
        found.mistakes.append((("search", "warm_start"), "a sweep is listed twice; list each once"))
    if sweeps:
        count = len(openings(earlier_of(spec, space, sweeps), spec, space))
        found.notes += [sweep.said for sweep in sweeps]
        found.notes.append(
            f"{count} of {spec.search.trials} trials open the search with what earlier sweeps found best"
        )
    if sweeps and spec.search.sampler not in LEARNING:
        found.notes.append(
            f"sampler {spec.search.sampler} takes openings from earlier sweeps and nothing more; "
            f"{' and '.join(LEARNING)} weigh their other trials, too"
        )


def _runnable(found: Findings, space: Space) -> None:
    """Points that every trial would refuse before it trains: a note, or a mistake if that is all of them."""
    import numpy as np

    from plastsearch.trial.methods import check

    # Drawn, not counted: a space may have more points than anyone can list. A rare one may go unseen, and fails
    # before it trains.
    rng = np.random.default_rng(0)
    reasons: list[str] = []
    for _ in range(SAMPLED):
        try:
            check(space.config(space.draw(rng)))
        except SpecError as error:  # nobody could even write it down, which would end the sweep and not a trial
            found.mistakes.append((("space",), f"{error}; give the values that exclude each other a `when:`"))
            return
        except PlastsearchError as error:
            reasons.append(str(error))
    if len(reasons) == SAMPLED:
        found.mistakes.append((("space",), f"no point of it can run: {reasons[0]}"))
    elif reasons:
        share = f"{100 * len(reasons) / SAMPLED:.0f} % of points drawn at random"
        found.notes.append(f"{share} cannot run and will fail at once, before training, e.g.: {reasons[0]}")


def _sampler_notes(spec: SweepSpec, space: Space) -> list[str]:
    """What the choice of a sampler means for this space."""
    search = spec.search
    found = []
    binary = sum(len(one.labels) == 2 for one in space.parameters.values())
    if search.sampler == "gp":
        found.append(
            f"sampler gp imports torch into the driver and takes seconds per proposal with {len(space.parameters)} "
            f"parameters ({binary} of them switches); sampler auto takes milliseconds"
        )
    if search.sampler == "grid" and space.size is not None and space.size > search.trials:
        found.append(
            f"sampler grid: {search.trials} trials reach the first {search.trials} of {space.size} points only"
        )
    if search.replicate == "auto":
        first = explored_first(search.trials, search.replicate_share)
        found.append(f"replicate auto: of {search.trials} runs the first {first} explore; then uncertain ones repeat")
    known = search.replicate == "none" and search.duplicates == "skip"  # what else ends the search is told as it runs
    if known and space.size is not None and space.size < search.trials:
        found.append(f"the space has {space.size} points, so the search ends after that many trials")
    return found
