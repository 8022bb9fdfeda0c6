"""What is wrong with the clips of a corpus: file, line and reason, counted in full and listed up to a cap."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from plastsearch.errors import DataError

KEPT = 1000  # entries kept in detail; a corpus with a million missing files must not make a million objects
SHOWN = 20  # entries an error message prints
ANY_SPLIT = "?"  # of a line whose split cannot be read
IN_TWO_SPLITS = "in two splits"
SAME_AUDIO = "same audio in two splits"


@dataclass(frozen=True)
class Problem:
    """One unusable clip or line; `kind` is the reason without its particulars, for counting."""

    split: str
    source: str  # the protocol, table or folder that names the clip
    line: int  # 0: not from a line
    file: str
    kind: str
    detail: str = ""

    @property
    def reason(self) -> str:
        """Kind and particulars in one phrase."""
        return f"{self.kind}: {self.detail}" if self.detail else self.kind

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        return f"{place}: {self.file}: {self.reason}" if self.file else f"{place}: {self.reason}"


@dataclass
class Problems:
    """Every problem counted, the first ones kept."""

    entries: list[Problem] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # (split, kind)

    def add(self, problem: Problem) -> None:
        """Count one problem and keep it while there is room."""
        self.counts[problem.split, problem.kind] += 1
        if len(self.entries) < KEPT:
            self.entries.append(problem)

    def count_more(self, split: str, kind: str, n: int) -> None:
        """Count problems that were not worth an object each."""
        if n:
            self.counts[split, kind] += n

    def keep_splits(self, splits: Collection[str]) -> None:
        """Forget what is wrong in splits that nobody asked for, except for clips that they share with others."""
        wanted = {*splits, ANY_SPLIT}
        self.entries = [entry for entry in self.entries if entry.split in wanted or entry.kind == IN_TWO_SPLITS]
        self.counts = Counter({(split, kind): n for (split, kind), n in self.counts.items()
                               if split in wanted or kind == IN_TWO_SPLITS})  # fmt: skip

    @property
    def kinds(self) -> Counter[str]:
        """How many of each kind, over all splits."""
        sums: Counter[str] = Counter()
        for (_, kind), n in self.counts.items():
            sums[kind] += n
        return sums

    def extend(self, other: "Problems") -> None:
        """Take over another list, its uncounted tail included."""
        self.counts.update(other.counts)
        self.entries.extend(other.entries[: KEPT - len(self.entries)])

    def __len__(self) -> int:
        return sum(self.counts.values())

    def text(self, limit: int = SHOWN) -> str:
        """The first problems, one per line, and the sums by kind."""
        lines = [f"  {problem}" for problem in self.entries[:limit]]
        if len(self) > limit:
            sums = ", ".join(f"{n:,} × {kind}" for kind, n in self.kinds.most_common())
            lines.append(f"  … {len(self):,} in all: {sums}")
        return "\n".join(lines)

    def refuse(self, corpus: str, switch: str = "set `data.on_bad: skip`") -> None:
        """Raise when there is any problem, and say how to go on without the clips concerned."""
        if len(self):
            raise DataError(
                f"{corpus}: {len(self):,} clip(s) or line(s) cannot be used:\n{self.text()}\n"
                f"mend them, or {switch} to go on without them (their count goes into every result)"
            )
