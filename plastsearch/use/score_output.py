"""Scores of clips as lines: a table for people, CSV, JSON lines, or a score file of an ASVspoof edition."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from plastsearch.data.windows import starts
from plastsearch.scores.files import HEADER, Edition
from plastsearch.scores.keys import Key
from plastsearch.use.inputs import name_of
from plastsearch.use.model import ClipScore, Model, Verdict, Window
from plastsearch.use.scoring import Heard
from plastsearch.use.windows import Aggregation, aggregate
from plastsearch.words import shown

Format = Literal["table", "csv", "json-lines", "asvspoof"]
ENDINGS: dict[str, Format] = {".csv": "csv", ".jsonl": "json-lines", ".ndjson": "json-lines", ".txt": "asvspoof"}
COLUMNS = ("path", "score", "probability", "decision", "seconds", "windows", "error")
PARTS = ("path", "part", "start_s", "end_s", *COLUMNS[1:4], "error")  # with a timeline


@dataclass(frozen=True)
class Judge:
    """How plain scores of windows become what is said of a clip."""

    verdict: Verdict
    aggregation: Aggregation
    hop: int  # samples
    window: int
    rate_hz: int
    slope: float = 1.0
    offset: float = 0.0

    def of(self, heard: Heard) -> ClipScore:
        """The clip's score, with its windows."""
        scores = self.slope * np.array(heard.scores) + self.offset
        at = starts(heard.samples, self.window, self.hop)
        windows = [
            Window(start / self.rate_hz, min(start + self.window, heard.samples) / self.rate_hz, float(score))
            for start, score in zip(at, scores, strict=False)  # of `first` there is one score alone
        ]
        return self.verdict.of(aggregate(scores, self.aggregation), windows)


def judge_of(
    model: Model, prior: float, threshold: float | None, aggregation: Aggregation, hop_s: float, plain: bool
) -> Judge:
    """As a model judges by itself; `plain` leaves its calibration out."""
    facts = model.facts.model_copy(update={"calibration": None}) if plain else model.facts
    of = Model(model.detector, facts, model.device)
    chosen = of.threshold(prior) if threshold is None else threshold
    hop = min(max(1, round(hop_s * model.rate_hz)), model.window_samples)
    calibration = facts.calibration
    affine = (1.0, 0.0) if calibration is None else (calibration.slope, calibration.offset)
    return Judge(Verdict(prior, chosen), aggregation, hop, model.window_samples, model.rate_hz, *affine)


def written(number: float) -> str:
    """Nine digits, which give a float32 back exactly."""
    return f"{number:.9g}"


def decision(bona_fide: bool) -> str:
    """In one word, as protocols have it."""
    return "bonafide" if bona_fide else "spoof"


class Lines:
    """What each clip adds to the output; `safe` escapes what a terminal should not be given."""

    def __init__(self, judge: Judge, timeline: bool, safe: bool) -> None:
        self.judge = judge
        self.timeline = timeline
        self.name: Callable[[str], str] = shown if safe else str

    def head(self) -> str:
        """What stands above the first clip."""
        return ""

    def of(self, heard: Heard) -> str:
        """The lines of one clip, each with its end."""
        return "".join(f"{line}\n" for line in self._lines(heard))

    def _lines(self, heard: Heard) -> Iterator[str]:
        raise NotImplementedError


class TableLines(Lines):
    """Numbers first and the name last: a column of names needs no width, and lines can be shown as they come."""

    def head(self) -> str:
        """Names of the columns."""
        return f"{'score':>10}  {'p(bona fide)':>12}  {'decision':<8}  file\n"

    def _lines(self, heard: Heard) -> Iterator[str]:
        if heard.error is not None:
            yield f"{'-':>10}  {'-':>12}  {'-':<8}  {shown(heard.path)}  (not scored: {shown(heard.error)})"
            return
        clip = self.judge.of(heard)
        yield f"{self._numbers(clip)}  {shown(heard.path)}"
        if self.timeline:
            for window in clip.windows:
                part = self.judge.verdict.of(window.score, ())
                yield f"{self._numbers(part)}    {window.start_s:.2f} – {window.end_s:.2f} s"

    @staticmethod
    def _numbers(clip: ClipScore) -> str:
        return f"{clip.score:>10.4f}  {clip.probability:>12.4f}  {decision(clip.bona_fide):<8}"


class CsvLines(Lines):
    """A row for each clip; with a timeline also one for each of its windows."""

    def head(self) -> str:
        """Names of the columns."""
        return _row(PARTS if self.timeline else COLUMNS) + "\n"

    def _lines(self, heard: Heard) -> Iterator[str]:
        name = self.name(heard.path)
        if heard.error is not None:
            filled = ("clip", "", "", "", "", "") if self.timeline else ("",) * 5
            yield _row((name, *filled, self.name(heard.error)))
            return
        clip = self.judge.of(heard)
        length_s = written(heard.samples / self.judge.rate_hz)
        if not self.timeline:
            yield _row((name, *self._numbers(clip), length_s, str(len(clip.windows)), ""))
            return
        yield _row((name, "clip", "0", length_s, *self._numbers(clip), ""))
        for window in clip.windows:
            part = self.judge.verdict.of(window.score, ())
            yield _row((name, "window", written(window.start_s), written(window.end_s), *self._numbers(part), ""))

    @staticmethod
    def _numbers(clip: ClipScore) -> tuple[str, str, str]:
        return written(clip.score), written(clip.probability), decision(clip.bona_fide)


def _row(cells: tuple[str, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


class JsonLines(Lines):
    """An object for each clip; JSON itself escapes what is no plain text."""

    def _lines(self, heard: Heard) -> Iterator[str]:
        if heard.error is not None:
            yield json.dumps({"path": heard.path, "error": heard.error})
            return
        clip = self.judge.of(heard)
        plain: dict[str, object] = {
            "path": heard.path, "score": _short(clip.score), "probability": _short(clip.probability),
            "decision": decision(clip.bona_fide), "seconds": _short(heard.samples / self.judge.rate_hz),
            "windows": len(clip.windows),
        }  # fmt: skip
        if self.timeline:
            plain["timeline"] = [
                {"start_s": _short(one.start_s), "end_s": _short(one.end_s), "score": _short(one.score)}
                for one in clip.windows
            ]
        yield json.dumps(plain)


class AsvspoofLines(Lines):
    """A score file of 2021 (clip, score), 5 (with a header) or 2019 (with attack and class, out of a protocol)."""

    def __init__(self, judge: Judge, edition: Edition, key: Key | None, names: dict[str, str]) -> None:
        super().__init__(judge, timeline=False, safe=True)
        self.edition = edition
        self.names = names
        attacks = () if key is None else key.attacks or ("-",) * len(key.ids)
        classes = () if key is None else map(decision, key.is_bona.tolist())
        ids = () if key is None else key.ids
        self.known = {one: f"{attack} {word}" for one, attack, word in zip(ids, attacks, classes, strict=True)}

    def head(self) -> str:
        """Only ASVspoof 5 has one."""
        return f"{HEADER}\n" if self.edition == "5" else ""

    def _lines(self, heard: Heard) -> Iterator[str]:
        if heard.error is not None:  # such a file has no word for it; the command lists it
            return
        name = self.names.get(heard.path) or name_of(heard.path)
        score = written(self.judge.of(heard).score)
        match self.edition:
            case "2021":
                yield f"{name} {score}"
            case "5":
                yield f"{name}\t{score}"
            case "2019":
                yield f"{name} {self.known[name]} {score}"


def _short(number: float) -> float:
    return float(written(number))
