"""Before anything runs: the corpora that a sweep names have a place, and their clips can be found. Imports no torch."""

from collections.abc import Sequence
from itertools import islice, product

from plastsearch.errors import PlastsearchError
from plastsearch.files import typed_path
from plastsearch.spec.coherence import Mistake, set_at
from plastsearch.spec.data import DataConfig
from plastsearch.spec.domains import Choice
from plastsearch.spec.sweep import SweepSpec

WITHOUT_FINALISTS = "finalists need the evaluation split; without them: `finalists.top: 0`"
MOST_DATA = 16  # data sections of one space that are looked at: a product of choices grows without end


def has_finalists(spec: SweepSpec) -> bool:
    """Whether the evaluation split will be opened at the end."""
    return spec.finalists.top * spec.finalists.seeds > 0


def data_of(spec: SweepSpec) -> list[DataConfig]:
    """Every data section the space can choose, the base's first."""
    keys = [key for key, domain in spec.space.items() if key.startswith("data.") and isinstance(domain, Choice)]
    options = [spec.space[key].of for key in keys]  # type: ignore[union-attr]
    chosen = (set_at(spec.base, dict(zip(keys, values, strict=True))).data for values in product(*options))
    return list(dict.fromkeys([spec.base.data, *islice(chosen, MOST_DATA)]))


def unusable_clips(spec: SweepSpec, *, evaluation: bool) -> list[Mistake]:
    """What is wrong with protocols, files, held-out attacks and augmentations; no audio is read."""
    found: dict[str, None] = {}  # each message once: data sections of one space mostly share their mistakes
    for config in data_of(spec):
        # Twice, so that the remedy fits: what only finalists need can also be mended by leaving them out.
        own = _refused(config, evaluation=False)
        message = _refused(config, evaluation=True) if evaluation else own
        if own and message and "\n" not in message:  # it ended early, before the clips of other splits were listed
            found[own] = None
        if message:
            found[message if own else f"{message}\n{WITHOUT_FINALISTS}"] = None
    return [(("base", "data"), message) for message in found]


def _refused(config: DataConfig, *, evaluation: bool) -> str | None:
    from plastsearch.data.choice import check_data

    try:
        check_data(config, evaluation=evaluation)
    except PlastsearchError as error:
        return str(error)
    return None


def places(config: DataConfig, *, look: bool) -> list[Mistake]:
    """Corpora have a place, and there is something at it."""
    found: list[Mistake] = []
    wanted: list[tuple[Sequence[str], str | None, str, bool]] = []
    if config.corpus == "manifest":
        wanted.append((("base", "data", "manifest"), config.manifest, "a CSV or Parquet table of clips", False))
    elif config.corpus != "synthetic":
        wanted.append((("base", "data", "root"), config.root, "the corpus's folder", True))
    dev = config.search_dev
    if dev.policy == "second_corpus":
        if dev.corpus is None:
            found.append(
                (("base", "data", "search_dev", "corpus"), "missing; policy second_corpus needs to know which")
            )
        elif dev.corpus != "synthetic":
            wanted.append((("base", "data", "search_dev", "root"), dev.root, "the second corpus's folder", True))
    if dev.policy == "held_out_attacks" and not dev.attacks:
        found.append(
            (("base", "data", "search_dev", "attacks"), "missing; name the attacks to hold out, e.g. [A05, A06]")
        )
    for path, place, meaning, folder in wanted:
        # `look` is off where a space is checked on another machine than the one it will run on.
        if place is None:
            found.append((tuple(path), f"missing; give {meaning}, e.g. --set {'.'.join(path)}=/data/…"))
        elif look and (problem := _lacking(place, folder=folder)):
            found.append((tuple(path), f"{problem} here; set it to {meaning} (check --no-data skips this)"))
    return found


def _lacking(place: str, *, folder: bool) -> str | None:
    """Why a path does not serve, or None."""
    try:
        path = typed_path(place)
        if path.is_dir() if folder else path.is_file():
            return None
    except (PlastsearchError, OSError) as error:
        return str(error)
    return f"{place} is no {'folder' if folder else 'file'}"
