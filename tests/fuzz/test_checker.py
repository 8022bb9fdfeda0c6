"""The fuzzer finds what it looks for: a command with a planted fault of each kind is convicted of just that."""

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

import plastsearch.cli.main
from plastsearch.errors import PlastsearchError
from tests.fuzz.boxes import Recipe, Tally, counted, new_box
from tests.fuzz.children import SURROUNDINGS, run
from tests.fuzz.verdicts import KINDS, Watched, of_outcome, of_words

LINE = '{"event": "end"}\n'
ORDERLY = "in/scores.txt:3: a score should be a number; write one, or leave the line out"


def hang() -> None:
    time.sleep(60)


def wait_for_input_that_never_comes() -> None:
    reading, _ = os.pipe()
    os.read(reading, 1)


def trace() -> None:
    raise KeyError("layers")


def end_otherwise() -> None:
    sys.exit(3)


def die() -> None:
    os.abort()


def say(text: str, status: int = 0) -> None:
    sys.stdout.write(text)
    sys.exit(status)


def say_bytes(found: bytes) -> None:
    sys.stdout.buffer.write(found)


def refuse(text: str) -> None:
    raise PlastsearchError(text)


def write(path: str, text: str = "x") -> None:
    Path(path).write_text(text)


def take_away(path: str) -> None:
    Path(path).unlink()


def leave_somebody() -> None:
    subprocess.Popen(["sleep", "30"])


def leave_somebody_elsewhere() -> None:
    subprocess.Popen(["sh", "-c", "sleep 30 & exec sleep 30"], start_new_session=True)


PLANTED = {
    "hang": [hang, wait_for_input_that_never_comes],
    "traceback": [trace],
    "warning": [lambda: warnings.warn("divide by zero", RuntimeWarning, stacklevel=1)],
    "status": [end_otherwise, die],
    "control": [
        lambda: say("\x1b[31mred"), lambda: say("a\rb"), lambda: say("\x7f"), lambda: say("\x9b31m"),
        lambda: say("\u202etxt.exe"), lambda: say_bytes(b"\xff"),
        lambda: say_bytes("\ud800".encode("utf-8", "surrogatepass")),
    ],
    "silent": [lambda: sys.exit(2), lambda: say("  \n", 2)],
    "unnamed": [lambda: refuse("a score should be a number; write one, or leave the line out")],
    "bare": [lambda: refuse("in/scores.txt: bad")],
    "outside": [
        lambda: write("in/scores.txt"), lambda: write("in/new"), lambda: write("new"), lambda: write("home/.cache"),
        lambda: write("tmp/left"), lambda: take_away("in/scores.txt"), lambda: Path("in/folder").mkdir(),
        lambda: write("in/trials.jsonl", LINE),
    ],
    "lost": [
        lambda: write("in/sweep/trials.jsonl", LINE), lambda: take_away("in/sweep/trials.jsonl"),
        lambda: write("in/sweep/trials.jsonl", LINE + LINE.replace("end", "eng")),
    ],
    "left": [leave_somebody, leave_somebody_elsewhere],
}  # fmt: skip
ORDER = [
    lambda: say("fine\n"), lambda: sys.exit(1), lambda: refuse(ORDERLY), lambda: write("out/x"),
    lambda: write("in/sweep/trials.jsonl", LINE * 2 + '{"event": "finish"}\n'), lambda: say("tab\tand üñ 漢\n"),
]  # fmt: skip


@pytest.fixture
def convicted(tmp_path, monkeypatch):
    """What a command that does this is convicted of, and where it did it."""
    whole = tmp_path / "whole"
    (whole / "sweep").mkdir(parents=True)
    (whole / "scores.txt").write_text("a 1\nb 2\nc x\n")
    (whole / "sweep" / "trials.jsonl").write_text(LINE * 2)
    box = tmp_path / "box"

    def judge(does, limit_s=0.5):
        monkeypatch.setattr(plastsearch.cli.main, "app", does)
        new_box(Recipe(["evaluate"], grows=["in/sweep/trials.jsonl"]), whole, box)
        watched = Watched(box, grows=["in/sweep/trials.jsonl"])
        outcome = run(["evaluate"], box, limit_s=limit_s)
        return of_outcome(outcome) or watched.fault() or of_words(outcome, ["scores.txt"])

    return judge


def test_each_kind_has_its_plant():
    assert set(PLANTED) == set(KINDS)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "does"), [(kind, does) for kind, each in PLANTED.items() for does in each])
def test_a_planted_fault_is_found(convicted, kind, does):
    found = convicted(does)
    assert found is not None
    assert found.kind == kind, found


def test_a_device_that_was_replaced_is_found(convicted, tmp_path, monkeypatch):
    device = tmp_path / "device"
    os.mkfifo(device)
    monkeypatch.setattr("tests.fuzz.verdicts.MACHINE", [device])
    assert convicted(lambda: Path("out/x").write_text("")) is None

    def replace():
        Path("out/x").write_text("")
        Path("out/x").replace(device)

    found = convicted(replace)
    assert (found.kind, str(device) in found.words) == ("outside", True)


@pytest.mark.parametrize("does", ORDER)
def test_what_is_in_order_is_not_convicted(convicted, does):
    assert convicted(does) is None


def test_limits_hold_inside_a_child(convicted):
    def take_memory():
        held = bytearray(64 << 30)
        raise AssertionError(len(held))

    def take_files():
        handles = [Path("/dev/null").open() for _ in range(2000)]  # noqa: SIM115
        raise AssertionError(len(handles))

    def write_much():
        with Path("out/x").open("wb") as file:
            for _ in range(600):
                file.write(bytes(1 << 20))
        raise AssertionError

    for does in (take_memory, take_files, write_much):
        found = convicted(does, limit_s=20)
        assert found.kind == "unnamed", found  # refused in a sentence, by the system: it knows nothing of scores.txt


def test_surroundings_are_as_they_say(tmp_path, monkeypatch):
    """Each of them changes what a program can see."""

    def look():
        def closed(number):
            try:
                os.fstat(number)
            except OSError:
                return True
            return False

        said = [
            os.environ.get(name, "-").replace(str(tmp_path), "") for name in ("HOME", "TMPDIR", "LC_ALL", "COLUMNS")
        ]
        try:
            Path("new").write_text("")
            Path("new").unlink()
            said.append("written")
        except PermissionError:
            said.append("refused")
        try:
            sys.stdout.write("x")
            sys.stdout.flush()
        except OSError as error:
            said.append(type(error).__name__)
        said += [str(closed(0)), str(sys.stdout.encoding)]
        Path("out/seen").write_text(" ".join(said))

    monkeypatch.setattr(plastsearch.cli.main, "app", look)
    monkeypatch.setattr(plastsearch.cli.main, "_open_what_is_closed", lambda: None)
    seen = {}
    for around in SURROUNDINGS:
        new_box(Recipe(["evaluate"]), Path(__file__).parent, tmp_path / "box")
        run(["evaluate"], tmp_path / "box", around=around)
        found = tmp_path / "box" / "out" / "seen"
        seen[around] = found.read_text() if found.exists() else "nothing written"  # its output was closed
    assert len(set(seen.values())) == len(SURROUNDINGS), seen


def test_ctrl_c_is_no_hang_where_work_was_asked_for(tmp_path, monkeypatch):
    def work():
        try:
            time.sleep(30)
        except KeyboardInterrupt:
            sys.exit(130)

    monkeypatch.setattr(plastsearch.cli.main, "app", work)
    new_box(Recipe(["trial"]), Path(__file__).parent, tmp_path / "box")
    outcome = run(["trial"], tmp_path / "box", interrupt_s=0.1, limit_s=2)
    assert of_outcome(outcome, interrupted=True) is None
    assert of_outcome(outcome).kind == "status"


def test_a_seed_says_it_all(tmp_path, monkeypatch):
    """The same inputs come of the same seed, others of another, and the table counts them."""
    monkeypatch.setattr(plastsearch.cli.main, "app", lambda: sys.exit(0))
    (tmp_path / "whole").mkdir()
    recipes = [Recipe(["evaluate", "in/x", "--seed", "3"], share=2), Recipe(["check", "in/y", "--json"])]

    def told(seed: int) -> list[str]:
        monkeypatch.setattr(
            "tests.fuzz.boxes.run", lambda words, *_: said.append(words) or run(["-"], tmp_path / "box")
        )
        said: list[list[str]] = []
        tally = counted(recipes, tmp_path / "whole", tmp_path, seed, 9)
        assert isinstance(tally, Tally)
        assert sum(count.inputs for count in tally.counts.values()) == 9
        assert tally.text().splitlines()[-1].split()[:2] == ["all", "9"]
        return [" ".join(words) for words in said]

    assert told(1) == told(1)
    assert told(1) != told(2)
