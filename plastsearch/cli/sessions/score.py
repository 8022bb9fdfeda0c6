"""Once `plastsearch score` runs: what to score, in which words to tell it, and what is left of it after a stop."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

import numpy as np
import typer

from plastsearch.cli.look.evaluate import print_judgement
from plastsearch.cli.output import console
from plastsearch.errors import DataError, PlastsearchError
from plastsearch.files import told, whole_file
from plastsearch.scores.files import Edition, Scores, judge
from plastsearch.scores.keys import Key, read_key
from plastsearch.use.inputs import check_names, inputs, of_protocol
from plastsearch.use.load import load
from plastsearch.use.model import Model, checked_prior
from plastsearch.use.score_journal import ScoreJournal, job_of, journal_of, opened
from plastsearch.use.score_output import (
    ENDINGS,
    AsvspoofLines,
    CsvLines,
    Format,
    JsonLines,
    Judge,
    Lines,
    TableLines,
    judge_of,
)
from plastsearch.use.scoring import Heard, How, hear_all
from plastsearch.use.windows import AGGREGATIONS, Aggregation
from plastsearch.words import shown

MOST_LISTED = 50  # files that could not be scored, by name
SHORTEST_WINDOW = 400  # samples; below it no network here hears anything
LONGEST_WINDOW_S = 600.0


@dataclass(frozen=True)
class Request:
    """The command line."""

    model: str
    paths: Sequence[str]
    wanted: Sequence[str]
    edition: str
    out: Path | None
    overwrite: bool
    timeline: bool
    prior: float
    threshold: float | None
    plain: bool
    window_s: float | None
    hop_s: float
    aggregation: str
    protocol: Path | None
    subset: str | None
    batch: int | None
    threads: int | None
    device: str
    quiet: bool


@dataclass
class FileCounts:
    """What happened to the files."""

    scored: int = 0
    bona_fide: int = 0
    kept: int = 0  # of an earlier run
    bad: list[Heard] = field(default_factory=list)

    def add(self, heard: Heard, of: Judge) -> None:
        """Count one."""
        if heard.error is None:
            self.scored += 1
            self.bona_fide += of.of(heard).bona_fide
        else:
            self.bad.append(heard)


def run(asked: Request) -> None:
    """Score, tell, judge; exit status 1 if a file could not be scored."""
    form, edition = _format(asked)
    aggregation = _aggregation(asked)
    checked_prior(asked.prior)
    if asked.threshold is not None and not np.isfinite(asked.threshold):
        raise PlastsearchError(f"--threshold {asked.threshold}: a finite score is wanted")
    key = None if asked.protocol is None else read_key(asked.protocol, asked.subset)
    paths = inputs(asked.paths)
    names: dict[str, str] = {}
    if key is not None:
        names = of_protocol(paths, key)
        _say(asked, f"{len(paths) - len(names):,} files are not in the protocol: left out", len(names) < len(paths))
        paths = list(names)
    elif form == "asvspoof":
        check_names(paths, "a score file")
    model = _with_window(load(asked.model, asked.device), asked)
    how = How(asked.hop_s, aggregation == "first", asked.batch, asked.threads)
    of = judge_of(model, asked.prior, asked.threshold, aggregation, asked.hop_s, asked.plain)
    lines = _lines(form, edition, of, asked, key, names)
    _say(asked, _opening(model, of, len(paths), asked))
    tally = FileCounts()
    found: dict[str, float] = {}

    def note(heard: Heard) -> None:
        tally.add(heard, of)
        if key is not None and heard.error is None:
            found[names[heard.path]] = of.of(heard).score

    if asked.out is None:
        _to_screen(model, paths, how, lines, form, asked, note)
    else:
        _to_file(model, paths, how, lines, asked.out, asked, note, tally)
    _list_bad(tally)
    judged = key is None or _judge(key, found, asked, form)
    _say(asked, _ending(tally, asked))
    if tally.bad or not judged:
        raise typer.Exit(1)


def _to_screen(
    model: Model, paths: Sequence[str], how: How, lines: Lines, form: Format, asked: Request,
    note: Callable[[Heard], None],
) -> None:  # fmt: skip
    """Lines on standard output as they come; those of a protocol's clips only if a format was asked for."""
    silent = asked.protocol is not None and not asked.wanted
    with _bar(len(paths), asked.quiet) as (advance, write):
        if not silent:
            write(lines.head())
        for block in hear_all(model, paths, how):
            for heard in block:
                note(heard)
                if not silent:
                    write(lines.of(heard))
            advance(len(block))


def _to_file(
    model: Model, paths: Sequence[str], how: How, lines: Lines, out: Path, asked: Request,
    note: Callable[[Heard], None], tally: FileCounts,
) -> None:  # fmt: skip
    """What is missing is scored and kept block by block; then the whole file appears at once, in the files' order."""
    with opened(out, job_of(model, how), asked.overwrite) as journal, _bar(len(paths), asked.quiet) as (advance, _):
        missing = [path for path in paths if journal.get(path) is None]
        tally.kept = len(paths) - len(missing)
        advance(tally.kept)
        try:
            bad = _score_missing(journal, model, missing, how, advance)
        except KeyboardInterrupt:
            kept = sum(journal.get(path) is not None for path in paths)
            console(stderr=True).print(
                f"stopped: {kept:,} of {len(paths):,} clips are kept in {shown(journal_of(out))}; "
                "the same command goes on",
                markup=False,
            )
            raise typer.Exit(130) from None
        with told(out), whole_file(out) as draft, draft.open("w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(lines.head())
            for path in paths:
                heard = bad.get(path) or journal.get(path)
                if heard is None:
                    heard = Heard(path, error="it changed while it was being scored")
                note(heard)
                file.write(lines.of(heard))


def _score_missing(
    journal: ScoreJournal, model: Model, missing: Sequence[str], how: How, advance: Callable[[int], None]
) -> dict[str, Heard]:
    """Score and keep; what cannot be scored comes back."""
    bad: dict[str, Heard] = {}
    for block in hear_all(model, missing, how):
        journal.add(block)
        bad.update((heard.path, heard) for heard in block if heard.error is not None)
        advance(len(block))
    return bad


def _format(asked: Request) -> tuple[Format, Edition]:
    """The format that was asked for, by an option or by the output's ending; contradictions are refused."""
    if len(asked.wanted) > 1:
        raise PlastsearchError(f"--{' and --'.join(asked.wanted)}: one format at a time")
    form: Format = "table"
    if asked.wanted:
        form = cast("Format", asked.wanted[0])
    elif asked.out is not None:
        ending = asked.out.suffix.lower()
        if ending not in ENDINGS:
            raise PlastsearchError(f"{asked.out}: say in which format: --csv, --json-lines or --asvspoof")
        form = ENDINGS[ending]
    if asked.out is not None and asked.out.is_dir():
        raise PlastsearchError(f"{asked.out}: is a folder; name a file in it")
    if asked.edition not in get_args(Edition):
        raise PlastsearchError(f"--edition {asked.edition}: known: {', '.join(get_args(Edition))}")
    if form == "asvspoof" and asked.timeline:
        raise PlastsearchError("--timeline: a score file has no place for windows; take --csv or --json-lines")
    if form == "asvspoof" and asked.edition == "2019" and asked.protocol is None:
        raise PlastsearchError("--edition 2019: such lines also hold attack and class; give the protocol (--protocol)")
    return form, cast("Edition", asked.edition)


def _aggregation(asked: Request) -> Aggregation:
    if asked.aggregation not in AGGREGATIONS:
        raise PlastsearchError(f"--aggregation {asked.aggregation}: known: {', '.join(AGGREGATIONS)}")
    return asked.aggregation


def _with_window(model: Model, asked: Request) -> Model:
    """The model with another window, where one was asked for."""
    if asked.window_s is None:
        return model
    if not SHORTEST_WINDOW / model.rate_hz <= asked.window_s <= LONGEST_WINDOW_S:
        raise PlastsearchError(
            f"--window {asked.window_s}: between {SHORTEST_WINDOW / model.rate_hz} and {LONGEST_WINDOW_S:.0f} s"
        )
    samples = round(asked.window_s * model.rate_hz)
    if samples == model.window_samples:
        return model
    own = model.window_samples / model.rate_hz
    _say(asked, f"warning: windows of {asked.window_s:g} s; threshold and calibration were learnt at {own:.4g} s")
    return Model(model.detector, model.facts.model_copy(update={"length_samples": samples}), model.device)


def _lines(form: Format, edition: Edition, of: Judge, asked: Request, key: Key | None, names: dict[str, str]) -> Lines:
    safe = asked.out is None and sys.stdout.isatty()
    match form:
        case "table":
            return TableLines(of, asked.timeline, safe=True)
        case "csv":
            return CsvLines(of, asked.timeline, safe)
        case "json-lines":
            return JsonLines(of, asked.timeline, safe)
        case "asvspoof":
            return AsvspoofLines(of, edition, key, names)


def _judge(key: Key, found: dict[str, float], asked: Request, form: Format) -> bool:
    """Every metric of the scores; False where a clip of the protocol has none, for then there is nothing to judge."""
    err = console(stderr=True)
    lacking = [name for name in key.ids if name not in found]
    if lacking:
        first = ", ".join(shown(name) for name in lacking[:5])
        err.print(f"not judged: {len(lacking):,} of the {len(key.ids):,} clips of the protocol have no score: {first}"
                  f"{', …' if len(lacking) > 5 else ''}", markup=False)  # fmt: skip
        return False
    values = np.array([found[name] for name in key.ids])
    source = asked.out or Path("these scores")
    try:
        judged = judge(Scores(source, key.ids, key.lines, values), key).plain()
    except DataError as error:
        err.print(f"not judged: {error}", markup=False)
        return False
    machine = asked.out is None and form != "table"  # standard output is theirs
    print_judgement(console(stderr=machine), judged)
    return True


def _opening(model: Model, of: Judge, clips: int, asked: Request) -> str:
    window, hop = of.window / of.rate_hz, of.hop / of.rate_hz
    calibrated = model.calibrated and not asked.plain
    what = "log-likelihood ratios" if calibrated else "logit differences (not calibrated)"
    return (
        f"{shown(model.facts.name)}: {_counted(clips, 'clip')}, {what}; windows of {window:.4g} s every {hop:.4g} s, "
        f"{of.aggregation}; bona fide from {of.verdict.threshold:.4g} on, prior {of.verdict.prior:g}"
    )


def _ending(tally: FileCounts, asked: Request) -> str:
    bad = len(tally.bad)
    spoofed = tally.scored - tally.bona_fide
    kept = f" ({tally.kept:,} by an earlier run)" if tally.kept else ""
    failed = f"; {bad:,} could not be scored" if bad else ""
    where = f"; {shown(asked.out)}" if asked.out is not None else ""
    scored = f"{_counted(tally.scored, 'clip')} scored{kept}"
    return f"{scored}: {tally.bona_fide:,} bona fide, {spoofed:,} spoofed{failed}{where}"


def _list_bad(tally: FileCounts) -> None:
    bad = tally.bad
    if not bad:
        return
    lines = [f"{_counted(len(bad), 'file')} could not be scored:"]
    lines += [f"  {shown(heard.path)}: {shown(heard.error)}" for heard in bad[:MOST_LISTED]]
    if len(bad) > MOST_LISTED:
        lines.append(f"  … and {len(bad) - MOST_LISTED:,} more")
    sys.stderr.write("\n".join(lines) + "\n")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _say(asked: Request, text: str, if_so: bool = True) -> None:
    if if_so and not asked.quiet:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


@contextlib.contextmanager
def _bar(total: int, quiet: bool) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """How far it is, on standard error: a bar on a terminal, lines elsewhere; and how to write results beside it."""
    out = sys.stdout

    def write(text: str) -> None:
        # A name that is no valid text leaves as the bytes that it came in.
        out.flush()
        out.buffer.write(text.encode("utf-8", "surrogateescape"))
        out.buffer.flush()

    err = console(stderr=True)
    if quiet:
        yield lambda _done: None, write
    elif not err.is_terminal:
        from plastsearch.data.preparing import progress_lines

        lines, done = progress_lines(), 0

        def count(more: int) -> None:
            nonlocal done
            done += more
            lines("scoring", max(done, 1), total)

        yield count, write
    else:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # Not redirected: what is printed goes where the user sent it. Two terminals are one screen, kept by rich.
        with Progress(*columns, console=err, redirect_stdout=False, redirect_stderr=False) as shown_bar:
            task = shown_bar.add_task("scoring", total=total)
            above = (lambda text: err.print(text, end="", markup=False)) if out.isatty() else write
            yield lambda more: shown_bar.advance(task, more), above
