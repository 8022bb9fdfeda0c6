"""What fuzzing found in sweeps, stores and surroundings, one row each; test_cases.py holds spaces and models."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

# Imported here once, so that each child need not.
import plastsearch.analysis.results
import plastsearch.report.sections
import plastsearch.use.load  # noqa: F401
from plastsearch.audio import write_audio
from plastsearch.models.build import build, save_pretrained
from plastsearch.store.records import StageRecords
from tests.fuzz.boxes import clear
from tests.fuzz.children import Outcome, run
from tests.fuzz.verdicts import of_outcome
from tests.made_sweep import make_sweep

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_sweep(tmp_path_factory.mktemp("made") / "sweep", search=6)


@pytest.fixture
def box(tmp_path, made):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    shutil.copytree(made, tmp_path / "in" / "sweep")
    yield tmp_path
    clear(tmp_path)


def ended(words: list[str], box: Path, around: str = "plain") -> Outcome:
    outcome = run(words, box, limit_s=30, around=around)
    assert of_outcome(outcome, around) is None, (of_outcome(outcome, around), outcome.text[-2000:])
    return outcome


def said(outcome: Outcome) -> str:
    return " ".join(outcome.text.replace("│", " ").split())


def without(key: str) -> Callable[[Lines, int], None]:
    def change(lines: Lines, at: int) -> None:
        del lines[at][key]

    return change


def putting(key: str, value: Any) -> Callable[[Lines, int], None]:
    def change(lines: Lines, at: int) -> None:
        lines[at][key] = value

    return change


def twice(lines: Lines, at: int) -> None:
    lines.insert(at + 1, lines[at])


def swapped(lines: Lines, at: int) -> None:
    lines[at], lines[at + 1] = lines[at + 1], lines[at]


# What is changed, at the first line of which event, in which line it shows (after that one), and what is said of it.
JOURNALS = [
    (without("trial"), "propose", 0, "trial: Field required"),
    (without("config"), "propose", 0, "config"),
    (without("metrics"), "end", 0, "metrics"),
    (without("event"), "report", 0, "event"),
    (without("at"), "start", 0, "at"),
    (putting("trial", "x"), "propose", 0, "trial"),
    (putting("trial", -1), "end", 0, "trial"),
    (putting("trial", 10**30), "start", 0, "trial"),
    (putting("metrics", []), "end", 0, "metrics"),
    (putting("metrics", {"dev_eer": "low"}), "end", 0, "metrics"),
    (putting("details", None), "end", 0, "details"),
    (putting("state", 3), "end", 0, "state"),
    (putting("params", "none"), "propose", 0, "params"),
    (putting("at", "yesterday"), "end", 0, "at"),
    (putting("event", {}), "start", 0, "event"),
    (twice, "propose", 1, "is proposed a second time"),
    (twice, "end", 1, "ended in line"),
    (twice, "start", 1, "attempt"),
    (swapped, "propose", 0, "no line before it proposes trial"),
]
RAW = [
    (b"[" * 5_000, "deep"),
    (b'{"event": "propose", "trial": ' + b"9" * 5_000 + b"}", "trials.jsonl:"),
    (b'{"event": "report", "trial": 0, "at": 1, "stage": "\\ud800"}', "trials.jsonl:"),
    (b"\xff\xfe\xfd", "trials.jsonl:"),
    (b"null", "trials.jsonl:"),
    (b'{"event": "end", "trial": 0', "trials.jsonl:"),
    (b'{"event": "\x1b[31m"}', "trials.jsonl:"),
]


def damage(box: Path, change: Callable[[Lines, int], None], event: str, after: int) -> int:
    """The number of the line that is wrong then."""
    path = box / "in" / "sweep" / "trials.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    at = next(number for number, line in enumerate(lines) if line["event"] == event)
    change(lines, at)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return at + after + 1


@pytest.mark.parametrize(
    ("change", "event", "after", "words"), JOURNALS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_a_damaged_line_is_named_and_repair_says_what_goes(box, change, event, after, words):
    number = damage(box, change, event, after)
    outcome = ended(["report", "in/sweep"], box)
    assert outcome.status == 2
    assert f"in/sweep/trials.jsonl:{number}: a damaged line" in said(outcome)
    assert words in said(outcome)
    assert "plastsearch journal repair in/sweep" in said(outcome)
    assert not (box / "in" / "sweep" / "report").exists()
    repaired = ended(["journal", "repair", "in/sweep"], box)
    assert repaired.status == 0
    assert str(number) in said(repaired)


def test_what_is_left_out_is_said_and_what_is_repaired_serves(box):
    number = damage(box, without("metrics"), "end", 0)
    sound = ended(["report", "in/sweep", "--skip-bad-lines", "--out", "out"], box)
    assert sound.status == 0
    assert f"line {number}" in said(sound) or f"trials.jsonl:{number}" in said(sound)
    assert ended(["journal", "repair", "in/sweep"], box).status == 0
    assert ended(["report", "in/sweep"], box).status == 0


@pytest.mark.parametrize(("raw", "words"), RAW, ids=[raw[:30] for raw, _ in RAW])
def test_a_line_that_is_no_event(box, raw, words):
    path = box / "in" / "sweep" / "trials.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:4], raw, *lines[4:]]) + b"\n")
    outcome = ended(["report", "in/sweep"], box)
    assert outcome.status == 2
    assert "in/sweep/trials.jsonl:5: a damaged line" in said(outcome)
    assert words in said(outcome)
    assert ended(["journal", "repair", "in/sweep"], box).status == 0
    assert path.read_bytes() == b"\n".join(lines) + b"\n"


def nowhere(box: Path) -> None:
    (box / "in" / "sweep" / "report").symlink_to("nowhere/below")


def looped(box: Path) -> None:
    (box / "in" / "sweep" / "report").symlink_to("report")


def filed(box: Path) -> None:
    (box / "in" / "sweep" / "report").write_text("")


def shut(box: Path) -> None:
    (box / "in" / "sweep" / "report").mkdir(mode=0)


@pytest.mark.parametrize("place", [nowhere, looped, filed, shut])
def test_a_report_that_cannot_be_written_is_shown_and_says_so(box, place):
    place(box)
    outcome = ended(["report", "in/sweep"], box)
    assert outcome.status == 0
    assert b"Pareto" in outcome.out
    assert "in/sweep/report" in outcome.err.decode()
    assert "no file of the report was written. With --out FOLDER it goes there" in outcome.err.decode()


def test_a_report_behind_a_link_of_its_owner(box):
    (box / "elsewhere").mkdir()
    (box / "in" / "sweep" / "report").symlink_to(box / "elsewhere")
    assert ended(["report", "in/sweep"], box).status == 0
    assert (box / "elsewhere" / "report.md").is_file()
    assert (box / "in" / "sweep" / "report").is_symlink()


def stage(store: Path) -> Path:
    folder = StageRecords(store).folder("a" * 24)
    folder.mkdir(parents=True)
    return folder


STAGES: list[tuple[str, str]] = [
    ("", "not JSON"), ("[]", "stage.json"), ("null", "stage.json"), ("{}", "stage.json"),
    ('{"format": 99}', "stage.json"), ("[" * 20_000, "deep"), ("\x00", "stage.json"),
    ('{"key": "' + "a" * 24 + '", "stage": 3, "extra": {}}', "stage.json"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), STAGES, ids=[text[:12] for text, _ in STAGES])
@pytest.mark.parametrize("command", [["ls"], ["ls", "--json"], ["gc", "--max-gb", "0"]])
def test_stages_that_are_none_are_told_and_left_alone(box, text, words, command):
    folder = stage(box / "in" / "store")
    (folder / "stage.json").write_text(text)
    (box / "in" / "store" / "stages" / "\x1b[31mforeign").mkdir()
    (box / "in" / "store" / "stages" / "file").write_text("mine")
    outcome = ended(["store", *command, "--store", "in/store"], box)
    assert outcome.status == 0
    if command[0] == "ls":
        assert words in said(outcome) or "stage.json" in said(outcome) or "aaaa" in said(outcome)
        assert "\\x1b[31mforeign" in outcome.text
    assert (folder / "stage.json").read_text() == text
    assert (box / "in" / "store" / "stages" / "file").read_text() == "mine"


WORDS = [
    (["store", "gc", "--store", "in/store", "--max-gb", "1e300"], 0, "0 stages dropped"),
    (["store", "gc", "--store", "in/store", "--max-gb", "nan"], 2, "max-gb"),
    (["store", "gc", "--store", "in/store", "--unused-days", "1e300"], 0, "0 stages dropped"),
    (["store", "ls", "--store", "in/a.wav"], 2, "in/a.wav"),
    (["store", "ls", "--store", "~nobody-of-that-name"], 2, "nobody-of-that-name"),
    (["evaluate", "in/a.wav", "--seed", "9" * 5000], 2, "'--seed'"),
    (["evaluate", "in/\udcff"], 2, "in/\\udcff"),
    (["report", "in/\udcff"], 2, "in/\\udcff"),
    (["check", "in/\udcff"], 2, "in/\\udcff"),
    (["report", "a" * 300], 2, "File name too long"),
    (["report", "in/a.wav"], 2, "in/a.wav"),
    (["report", "in/loop"], 2, "in/loop"),
    (["check", "in/loop"], 2, "in/loop"),
    (["check", "in"], 2, "in: is a folder"),
    (["score", "in/weights", "in/a.wav"], 2, "config.json"),
    (["sites", "grnn", "--from", "in/a.wav"], 2, "in/a.wav"),
    (["sweep", "in/space.yaml", "--dry-run", "--out", "out/\udcff"], 2, "'out/\\udcff': the name is not in UTF-8"),
    (["schema", "trial", "--out", ""], 2, "Is a directory"),
    (["export", "in/a", "out/b", "x\u202ey"], 2, "x\\u202ey"),
    (["trial", "--out", "out/\udcff"], 2, "'out/\\udcff': the name is not in UTF-8"),
    (["schema", "--out", "out/\u202e"], 0, "out/\\u202e: name it"),
    (["check", "in/\u202e.yaml"], 0, "in/\\u202e.yaml: no mistakes"),
    (["check", "in/\u202e.yaml", "--json"], 0, "{"),
    (["ablate", "in/sweep", "--dry-run", "--seeds", "1000000000"], 2, "'--seeds'"),
    (["data", "inspect", "manifest", "--manifest", "in/raw.parquet", "--cache", "out"], 2, "in/raw.parquet: cannot be"),
    (["sweep", "in/space.yaml", "--dry-run", "--name", "../x"], 2, "--name '../x': the name of a folder"),
    (["sweep", "in/space.yaml", "--dry-run", "--name", "\x1b[31m"], 2, "--name '\\x1b[31m'"),
    (["pretrain", "out/p", "--model", "grnn", "--device", "cuda:99", "--steps", "1"], 2, "cuda:99"),
    (["trial", "--set", "method=baseline", "--device", "cuda:99", "--out", "out/t"], 2, "cuda:99"),
    (["data", "prepare", "manifest", "--manifest", "in/rate.csv", "--cache", "out/c", "--workers", "1"], 2, "rate.wav"),
    (["store", "push", "in/broken", "s3://b/p", "--endpoint", "http://127.0.0.1:1"], 2, "in/broken/trials.jsonl:1: "),
    (["k8s", "check", "in/kind.yaml"], 2, "in/kind.yaml: RayJob x: apiVersion: is 'aaaa"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "status", "told"), WORDS, ids=[" ".join(words)[-60:] for words, _, _ in WORDS])
def test_words_that_cannot_be_meant(box, words, status, told):
    inside = box / "in"
    (inside / "loop").symlink_to("loop")
    (inside / "store" / "stages").mkdir(parents=True)
    (inside / "broken").mkdir()
    (inside / "broken" / "trials.jsonl").write_text('{"event": "end", "at": -1}\n')
    (inside / "space.yaml").write_text((Path(__file__).parents[2] / "search_spaces" / "smoke.yaml").read_text())
    (inside / "kind.yaml").write_text(
        json.dumps({"apiVersion": "a" * 300, "kind": "RayJob", "metadata": {"name": "x"}})
    )
    save_pretrained(build("grnn"), inside / "weights")
    write_audio(inside / "a.wav", [0.1] * 900, 16_000)
    raw = bytearray((inside / "a.wav").read_bytes())
    raw[24:28] = bytes(4)  # a sample rate of 0
    (inside / "rate.wav").write_bytes(raw)
    (inside / "rate.csv").write_text("path,label,split\nrate.wav,spoof,train\na.wav,bonafide,train\n")
    shutil.copy(inside / "space.yaml", inside / "\u202e.yaml")
    raw_words = pa.array([b"a.wav\x80", b"b.wav"], pa.binary()).view(pa.string())
    split = pa.array(["train", "train"])
    pq.write_table(
        pa.table([raw_words, pa.array(["spoof", "bonafide"]), split], ["path", "label", "split"]),
        inside / "raw.parquet",
    )
    outcome = ended(words, box)
    assert outcome.status == status, outcome.text
    assert "".join(told.split()) in "".join(said(outcome).split())


@pytest.mark.parametrize(
    ("words", "around", "status"),
    [
        (["report", "in/sweep"], "C locale", 0),
        (["noise", "in/sweep", "--json"], "C locale", 0),
        (["check", "in/nothing ü 漢"], "C locale", 2),
        (["report", "in/sweep"], "read-only", 0),
        (["report", "in/sweep", "--out", "out/r"], "read-only", 0),
        (["noise", "in/sweep"], "HOME unset", 0),
        (["noise", "in/sweep"], "HOME missing", 0),
        (["noise", "in/sweep"], "TMPDIR missing", 0),
        (["noise", "in/sweep"], "stdin closed", 0),
        (["noise", "in/sweep"], "stdout closed", 0),
        (["check", "in/nothing"], "stdout closed", 2),
        (["noise", "in/sweep"], "| head", 1),
        (["noise", "in/sweep"], "> /dev/full", 2),
    ],
)
def test_surroundings_that_are_not_as_usual(box, words, around, status):
    assert ended(words, box, around).status == status


@pytest.mark.parametrize(("words", "number"), [(["--version"], 1), (["check", "in/nothing"], 2)])
def test_streams_that_nobody_opened(tmp_path, words, number):
    """In a process of its own: what the interpreter itself does of it belongs to it."""
    line = f"{sys.executable} -m plastsearch {' '.join(words)} {number}>&-"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == (2 if words[0] == "check" else 0), done.stderr
    assert "Traceback" not in done.stderr
