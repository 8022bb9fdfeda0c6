"""What a shell offers at a Tab. Asked anew each time, so nothing here imports anything heavy or reads long files.

Words of settings, metrics and sites stand in completion_words.json, which completion_words.py makes from the models.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import get_args

import typer

from plastsearch.spec.vocabulary import Corpus, Model, Preset

ROOT = "plastsearch-runs"  # where sweeps are kept unless --out says otherwise
JOURNAL = "trials.jsonl"
_MOST = 200
_TAIL = 1 << 16  # bytes of a journal in which its last trial's number stands
_NUMBER = re.compile(rb'"(?:trial|number)":\s*(\d{1,6})')
_SPACES = ("search_spaces", "search_spaces/paper")


def words(kind: str) -> dict[str, list[str]] | list[str]:
    """A list of words, or of settings with their words."""
    found: dict[str, list[str]] | list[str] = json.loads(Path(__file__).with_name("completion_words.json").read_text())[
        kind
    ]
    return found


def presets(incomplete: str) -> list[str]:
    """Sizes of networks."""
    return _begun(get_args(Preset), incomplete)


def models(incomplete: str) -> list[str]:
    """Networks."""
    return _begun(get_args(Model), incomplete)


def corpora(incomplete: str) -> list[str]:
    """Corpora by name."""
    return _begun(get_args(Corpus), incomplete)


def devices(incomplete: str) -> list[str]:
    """Where trials compute."""
    return _begun(("auto", "cpu", "cuda"), incomplete)


def executors(incomplete: str) -> list[str]:
    """Who runs trials."""
    return _begun(("tune", "inline"), incomplete)


def metrics(incomplete: str) -> list[str]:
    """Metrics of a trial."""
    return _begun(words("metrics"), incomplete)


def budgets(incomplete: str) -> list[str]:
    """METRIC=, of which a number is to follow."""
    return _begun((f"{name}=" for name in words("metrics")), incomplete)


def variants(incomplete: str) -> list[str]:
    """Variants of corpora that have some."""
    known = ("for-original", "for-norm", "for-2sec", "for-rerec", "la", "pa", "for", "itw")
    return _begun(known, incomplete)


def spaces(incomplete: str) -> list[str]:
    """Search spaces: the shipped ones, and YAML files where the person is."""
    here = _entries(incomplete, lambda path: path.suffix in (".yaml", ".yml"))
    shipped = [str(path) for folder in _SPACES for path in sorted(Path(folder).glob("*.yaml"))]
    return _begun(dict.fromkeys([*here, *shipped]), incomplete)


class Whole(str):
    """A word that stands for a typed part of itself: Typer keeps only words that begin with what was typed."""

    __slots__ = ()

    def startswith(self, *_: object) -> bool:
        """Say so of this one."""
        return True


def sweeps(incomplete: str) -> list[str]:
    """Folders of sweeps, newest first: below the usual root, and below what was typed."""
    return [Whole(name) for name in dict.fromkeys(_sweeps(incomplete))]


def _sweeps(incomplete: str) -> Iterator[str]:
    found: list[tuple[float, str]] = []
    typed = Path(incomplete).parent if incomplete and not incomplete.endswith("/") else Path(incomplete or ".")
    for above in dict.fromkeys([Path(ROOT), typed]):
        for folder in _folders(above):
            try:
                found.append(((folder / JOURNAL).stat().st_mtime, str(folder)))
            except OSError:
                continue
    for _, name in sorted(found, reverse=True):
        # by its name alone, too: the root is what nobody wants to type
        if name.startswith(incomplete) or (incomplete and Path(name).name.startswith(incomplete)):
            yield name
    yield from (name for name in _entries(incomplete, lambda _: False) if not (Path(name) / JOURNAL).exists())


def models_found(incomplete: str) -> list[str]:
    """SWEEP:best, SWEEP:17 and exported folders."""
    sweep, colon, _ = incomplete.partition(":")
    if colon:
        return _begun((f"{sweep}:{name}" for name in _trials(Path(sweep))), incomplete)
    exported = _entries(incomplete, lambda path: path.name == "model.safetensors")
    return [*(Whole(f"{name}:") if (Path(name) / JOURNAL).exists() else name for name in sweeps(incomplete)), *exported]


def trials_of(ctx: typer.Context, incomplete: str) -> list[str]:
    """Trials of the sweep that was typed before."""
    typed = ctx.params.get("sweep") or ctx.params.get("folder")
    return [] if typed is None else _begun(_trials(Path(str(typed))), incomplete)


def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """PATH= for --set, then the words that setting may be; of `layers` the sites."""
    path, sign, value = incomplete.partition("=")
    trial, space = words("trial"), words("space")
    assert isinstance(trial, dict)
    assert isinstance(space, dict)
    known = dict(space) | {f"base.{name}": one for name, one in trial.items()}
    known |= {f"space.{name}": [] for name in words("searched")}
    if ctx.info_name == "trial":  # a trial's own settings may be written without `base.`
        known = dict(trial) | known
    if not sign:
        # First the parts up to the next dot: a list of all hundred settings helps nobody.
        begun = [name for name in known if name.startswith(path)]
        steps = dict.fromkeys(
            name if "." not in name[len(path) :] else name[: name.index(".", len(path)) + 1] for name in begun
        )
        return [step if step.endswith(".") else f"{step}=" for step in steps][:_MOST]
    head, last = re.split(r"[\[,]\s*(?=[^\[,]*$)", value)[-1], value
    before = f"{path}={last[: len(last) - len(head)]}"
    if path.rsplit(".", 1)[-1] == "layers" or path == "space.layers.of":
        return [f"{before}{one}" for one in _begun(words("sites"), head)]
    return [f"{before}{one}" for one in _begun(known.get(path, []), head)]


def _trials(folder: Path) -> list[str]:
    try:
        with (folder / JOURNAL).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            last = max((int(one) for one in _NUMBER.findall(file.read())), default=-1)
    except OSError:
        return []
    return ["best", *(str(number) for number in range(min(last, _MOST) + 1))]


def _folders(above: Path) -> list[Path]:
    try:
        return [one for one in sorted(above.iterdir())[:_MOST] if one.is_dir() and not one.name.startswith(".")]
    except OSError:
        return []


def _entries(incomplete: str, wanted: Callable[[Path], bool]) -> list[str]:
    """Folders to go on with, and files that are wanted, where the typed path leads."""
    typed = Path(incomplete).expanduser()
    above = typed if incomplete.endswith("/") or not incomplete else typed.parent
    found: list[str] = []
    try:
        for path in sorted(above.iterdir())[:_MOST]:
            if path.name.startswith("."):
                continue
            if path.is_dir():
                found.append(f"{path}/")
            elif wanted(path):
                found.append(str(path))
    except OSError:
        pass
    return [name for name in found if name.startswith(incomplete)]


def _begun(known: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in known if word.startswith(incomplete)][:_MOST]
