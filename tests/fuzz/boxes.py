"""What a fuzzed command finds: a folder `in` of whole inputs, one of which is then broken, and one for output."""

import os
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.fuzz import mutations
from tests.fuzz.breaking import Change, as_it_was, as_place
from tests.fuzz.children import LIMIT_S, SURROUNDINGS, Outcome, run
from tests.fuzz.journals import as_shuffled, as_swapped
from tests.fuzz.verdicts import Fault, Watched, of_outcome, of_words

AROUND = [name for name in SURROUNDINGS if name != "plain"]


@dataclass(frozen=True)
class Recipe:
    """A command line over `in/…` and `out/…`, and which of its inputs may be broken how."""

    words: Sequence[str]
    breakable: Sequence[tuple[str, Change]] = ()
    stdin: bytes = b""
    writes: Sequence[str] = ()  # what it may change beside `out`, such as the report in a sweep's folder
    grows: Sequence[str] = ()  # files that it may only add to, as finished work
    limit_s: float = LIMIT_S  # more for what may train
    share: int = 4  # how often it comes in a round; 1 for what takes seconds
    interrupt_s: float | None = None  # when Ctrl-C comes, for what may rightly have work for days
    whole: int = 0  # the status with unbroken inputs

    @property
    def command(self) -> str:
        groups = ("data", "store", "journal", "k8s")
        return " ".join(self.words[: 2 if self.words[0] in groups else 1])

    def words_for(self, rng: random.Random) -> list[str]:
        """The command line of one input; a recipe may draw more words for each."""
        del rng
        return list(self.words)


@dataclass
class Count:
    """What came of many inputs of one command."""

    inputs: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: float = 0.0


@dataclass(frozen=True)
class Tried:
    """One input, and what came of it."""

    command: str
    told: str
    outcome: Outcome
    fault: Fault | None

    def __str__(self) -> str:
        tail = "\n    ".join(self.outcome.text.strip().splitlines()[-6:])
        fault = self.fault or Fault("-", "in order")
        return f"{self.told}: {fault.kind}: {fault.words}\n    {tail}"


@dataclass
class Tally:
    """What came of many of them, by command."""

    counts: dict[str, Count] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def note(self, tried: Tried) -> None:
        count = self.counts.setdefault(tried.command, Count())
        count.inputs += 1
        status = "killed" if tried.outcome.status is None else str(tried.outcome.status)
        count.statuses[status] = count.statuses.get(status, 0) + 1
        count.seconds += tried.outcome.seconds
        count.slowest = max(count.slowest, tried.outcome.seconds)
        if tried.fault:
            count.kinds[tried.fault.kind] = count.kinds.get(tried.fault.kind, 0) + 1
            self.faults.append(str(tried))

    def add(self, other: "Tally") -> None:
        self.faults += other.faults
        for command, more in other.counts.items():
            count = self.counts.setdefault(command, Count())
            count.inputs += more.inputs
            count.seconds += more.seconds
            count.slowest = max(count.slowest, more.slowest)
            for mine, theirs in ((count.statuses, more.statuses), (count.kinds, more.kinds)):
                for name, number in theirs.items():
                    mine[name] = mine.get(name, 0) + number

    def text(self) -> str:
        """A table, one row for each command."""
        head = ["command", "inputs", "0", "1", "2", "other", "tracebacks", "hangs", "other faults", "mean s", "slowest"]
        whole = Tally()
        for count in self.counts.values():
            whole.add(Tally({"all": count}))
        rows = [
            head,
            *(_row(name, self.counts[name]) for name in sorted(self.counts)),
            _row("all", whole.counts["all"]),
        ]
        widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if at == 0 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )


def _row(name: str, count: Count) -> list[str]:
    known = [count.statuses.get(status, 0) for status in ("0", "1", "2")]
    others = sum(number for kind, number in count.kinds.items() if kind not in ("traceback", "hang"))
    numbers = [count.inputs, *known, count.inputs - sum(known)]
    faults = [count.kinds.get("traceback", 0), count.kinds.get("hang", 0), others]
    return [name, *(f"{number:,}" for number in (*numbers, *faults)), f"{count.seconds / count.inputs:.2f}",
            f"{count.slowest:.1f}"]  # fmt: skip


def in_turn(recipes: Sequence[Recipe]) -> list[Recipe]:
    """A round over all recipes: each once, then the cheaper ones again, as their shares say."""
    most = max(recipe.share for recipe in recipes)
    return [recipe for time in range(most) for recipe in recipes if recipe.share > time]


def fuzz(recipes: Sequence[Recipe], whole: Path, folder: Path, seed: int, numbers: Sequence[int]) -> Iterator[Tried]:
    """The inputs of those numbers, drawn in turn over the recipes: each depends on seed and number alone."""
    turn = in_turn(recipes)
    for number in numbers:
        yield _tried(turn[number % len(turn)], whole, folder / "box", seed, number)


def counted(recipes: Sequence[Recipe], whole: Path, folder: Path, seed: int, count: int) -> Tally:
    tally = Tally()
    for tried in fuzz(recipes, whole, folder, seed, range(count)):
        tally.note(tried)
    return tally


def new_box(recipe: Recipe, whole: Path, box: Path) -> None:
    """Whole inputs under second names, but copies of what the command writes in place."""
    clear(box)
    for name in ("out", "home", "tmp"):
        (box / name).mkdir(parents=True)
    shutil.copytree(whole, box / "in", copy_function=os.link, symlinks=True)
    for place in (*recipe.writes, *recipe.grows):
        for path in (box / place).rglob("*") if (box / place).is_dir() else [box / place]:
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                path.unlink()
                path.write_bytes(content)


def clear(box: Path) -> None:
    """Remove it, also where folders let nobody in."""
    if box.exists():
        box.chmod(0o700)
        for folder, folders, _ in os.walk(box):
            for path in (Path(folder, name) for name in folders):
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(box)


def _tried(recipe: Recipe, whole: Path, box: Path, seed: int, number: int) -> Tried:
    rng = random.Random(f"{seed}/{number}")
    new_box(recipe, whole, box)
    words, told, broken = recipe.words_for(rng), [], []
    around = rng.choice(AROUND) if rng.random() < 0.1 else "plain"
    if not recipe.breakable or rng.random() < 0.25:
        words = mutations.arguments(rng, words)
    else:
        name, change = rng.choice(list(recipe.breakable))
        change = as_place if change is not as_it_was and rng.random() < 0.05 else change
        if change is not as_it_was:
            change(rng, box / name)
            told.append(f"{change.__name__} {name}")
            broken = [] if recipe.whole == 2 else [name.rsplit("/", 1)[-1]]  # else refused for another reason
            if change in (as_shuffled, as_swapped):  # lines in order, of which one may be wrong: of the sweep is enough
                broken.append(name.rsplit("/", 1)[0])
    watched = Watched(box, (*recipe.writes, *_named(words)), recipe.grows)
    outcome = run(words, box, recipe.stdin, recipe.limit_s, around, recipe.interrupt_s)
    fault = of_outcome(outcome, around, recipe.interrupt_s is not None) or watched.fault()
    if around == "plain":
        fault = fault or of_words(outcome, broken)
    shown = " ".join(words)
    place = "" if around == "plain" else f" [{around}]"
    return Tried(recipe.command, f"#{seed}/{number} {shown[:200]!r} {' '.join(told)}{place}", outcome, fault)


WRITTEN = {
    "--out",
    "-o",
    "--cache",
    "--store",
    "--clips",
    "--into",
    "--picture",
    "--mlflow",
    "--name",
    "--out=",
    "--all",
}


def _named(words: Sequence[str]) -> list[str]:
    """Places that the command line itself may have asked for: all beside `in`, and what a flag of output names."""
    firsts = [Path(word.rpartition("=")[2]).parts[:1] for word in words[1:]]
    found = [first[0] for first in firsts if first and first[0] not in ("in", "/", "..")]
    for before, word in pairwise(words):
        if before in WRITTEN:
            found.append(os.path.normpath(word or "."))
    return found
