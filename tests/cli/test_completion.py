"""At a Tab a shell offers what can stand there, soon, and bash's breaks at `:` and `=` lose nothing."""

import os
import pty
import resource
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plastsearch.cli import completing, completion_words
from plastsearch.cli.main import PANELS, app
from plastsearch.cli.start.completion import VARIABLE
from plastsearch.spec.constraints import METRICS
from plastsearch.spec.vocabulary import Criterion

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "yaml", "rich", "ray", "mlflow", "numpy")  # pydantic reads command lines for Typer


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A person's folder: two sweeps, a space, an exported model."""
    monkeypatch.chdir(tmp_path)
    for name, last, age in (("night", 12, 100), ("smoke", 3, 0)):
        folder = tmp_path / "plastsearch-runs" / name
        folder.mkdir(parents=True)
        (folder / "trials.jsonl").write_text(f'{{"event":"sweep","name":"x"}}\n{{"event":"end","trial":{last}}}\n')
        os.utime(folder / "trials.jsonl", (time.time() - age,) * 2)
    (tmp_path / "mine.yaml").write_text("space: {}\n")
    (tmp_path / "search_spaces").mkdir()
    shutil.copy(ROOT / "search_spaces/smoke.yaml", tmp_path / "search_spaces")
    return tmp_path


def offered(line):
    """What bash would be offered at the end of a line, by the program's own protocol."""
    words = line.split()
    environment = {
        VARIABLE: "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - (not line.endswith(" "))),
    }  # fmt: skip
    from typer.completion import completion_init

    completion_init()
    result = CliRunner().invoke(app, [], prog_name="plastsearch", env=environment)
    return result.stdout.split()


def test_the_words_in_the_file_are_those_of_the_models():
    said = "python -m plastsearch.cli.completion_words"
    assert completion_words.FILE.read_text() == completion_words.as_text(), said


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("plastsearch swe", ["sweep"]),
        ("plastsearch k8s w", ["watch"]),
        ("plastsearch sweep m", ["mine.yaml"]),
        ("plastsearch check search_spaces/", ["search_spaces/smoke.yaml"]),
        ("plastsearch report ", ["plastsearch-runs/smoke", "plastsearch-runs/night"]),  # newest first
        ("plastsearch report nig", ["plastsearch-runs/night"]),  # by its name alone
        ("plastsearch ablate plastsearch-runs/smoke ", ["best", "0", "1", "2", "3"]),
        ("plastsearch ablate x best --metric dev_eer_", [f"dev_eer_{x}" for x in (
            "low", "high", "smooth", "baseline", "grown", "pruned")]),
        ("plastsearch report x --under params_to", ["params_total="]),
        ("plastsearch score plastsearch-runs/smoke:b", ["plastsearch-runs/smoke:best"]),
        ("plastsearch export smo", ["plastsearch-runs/smoke:"]),
        ("plastsearch data inspect asvspoof2019_", ["asvspoof2019_la", "asvspoof2019_pa"]),
        ("plastsearch sites ", ["wav2vec2", "resnet18", "grnn", "cnn", "lcnn"]),
        ("plastsearch sites grnn --preset ", ["tiny", "small", "base", "large"]),
        ("plastsearch sweep mine.yaml --set base.cri", ["base.criterion="]),
        ("plastsearch sweep mine.yaml --set base.model.na", ["base.model.name="]),
        ("plastsearch sweep mine.yaml --set base.criterion=gradient_", [
            "base.criterion=gradient_norm", "base.criterion=gradient_entropy"]),
        ("plastsearch trial mine.yaml --set layers=[gru.0,gru.", [
            f"layers=[gru.0,gru.{n}" for n in range(4)]),
        ("plastsearch trial mine.yaml --set model.preset=b", ["model.preset=base"]),
        ("plastsearch sweep mine.yaml --executor i", ["inline"]),
        ("plastsearch pretrain x --corpus in", ["in_the_wild"]),
        ("plastsearch completion z", ["zsh"]),
    ],
)  # fmt: skip
def test_what_is_offered(place, line, wanted):
    found = [word for word in offered(line) if not word.endswith("/")]
    assert found == wanted


def test_folders_are_offered_to_go_on_with(place):
    assert "plastsearch-runs/" in offered("plastsearch sweep p")
    assert completing.sweeps("plastsearch-runs/") == ["plastsearch-runs/smoke", "plastsearch-runs/night"]
    assert completing.trials_of.__doc__
    assert completing.metrics("") == list(METRICS)
    assert set(completing.words("trial")["criterion"]) == set(Criterion.__args__)
    assert completing.sweeps("no/such/place/") == []


def test_a_tab_imports_nothing_heavy_and_takes_little(place):
    code = (
        "import sys\nfrom plastsearch.cli.main import main\nsys.argv[0] = 'plastsearch'\ntry:\n    main()\n"
        f"finally:\n    print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {
        **os.environ, VARIABLE: "complete_bash", "COMP_WORDS": "plastsearch sweep m", "COMP_CWORD": "2",
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "mine.yaml" in done.stdout
    assert done.stderr.strip() == ""
    # About 0.2 s of a core; wall time here would be that of whoever else computes.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.6


@pytest.fixture
def on_path(place):
    """A PATH with the command under its own name, as an installed one has it: the name is part of the protocol."""
    command = place / "bin" / "plastsearch"
    command.parent.mkdir()
    path = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
    command.write_text(f"#!{sys.executable}\n{path}from plastsearch.cli.main import main\nmain()\n")
    command.chmod(0o755)
    return f"{command.parent}:{os.environ['PATH']}"


@pytest.fixture
def terminal(place, on_path):
    """Starts an interactive shell in a terminal, with the completion script sourced as a person would."""
    environment = {"PATH": on_path, "PS1": "$ ", "TERM": "dumb", "HOME": str(place)}
    ours, theirs = pty.openpty()
    shells = []

    def typed(keys, until, wait_s=30.0):
        os.write(ours, keys.encode())
        shown, end = "", time.monotonic() + wait_s
        while until not in shown and time.monotonic() < end:
            if select.select([ours], [], [], 0.2)[0]:
                shown += os.read(ours, 4096).decode()
        assert until in shown, shown
        return shown

    def started(words, first):
        shells.append(
            subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, cwd=place, env=environment,
                             start_new_session=True)
        )  # fmt: skip
        typed(f"{first}; source <(plastsearch completion {words[0]}); echo re''ady\n", "\nready")
        return typed

    yield started
    os.write(ours, b"\x03\x04")
    os.close(theirs)
    os.close(ours)
    for shell in shells:
        shell.wait(30)


def test_a_real_bash_completes(terminal):
    bash = terminal(["bash", "--norc", "--noprofile", "-i"], "bind 'set enable-bracketed-paste off'")
    assert "sweep mine.yaml " in bash("plastsearch swe\tmi\t", "mine.yaml ")
    bash("\x15", "")
    # breaks at `=` and `:` are not lost and not doubled
    bash("plastsearch sweep mine.yaml --set base.criterion=magn\tX\x15", "--set base.criterion=magnitude X")
    bash("plastsearch report smo\tX\x15", "\bplastsearch-runs/smoke X")
    bash("plastsearch score plastsearch-runs/smoke:be\tX\x15", "score plastsearch-runs/smoke:best X")
    listed = bash("plastsearch sites grnn --preset \t\t", "large")
    assert all(word in listed for word in ("tiny", "small", "base"))


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_a_real_zsh_completes(terminal):
    zsh = terminal(["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u")
    zsh("plastsearch swe\t", "sweep ")
    zsh("mi\t", "mine.yaml ")
    zsh("--set base.criterion=magn\t", "--set base.criterion=magnitude")
    listed = zsh("\x15plastsearch sites grnn --preset \t\t", "tiny")
    assert all(word in listed for word in ("base", "large", "small"))


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("plastsearch sweep mi", ["mine.yaml"]),
        ("plastsearch sites grnn --preset ", ["base", "large", "small", "tiny"]),
        ("plastsearch sweep mine.yaml --set base.criterion=gradient_", [
            "base.criterion=gradient_entropy", "base.criterion=gradient_norm"]),
    ],
)  # fmt: skip
def test_a_real_fish_completes(place, on_path, line, wanted):
    asked = f"plastsearch completion fish | source; complete -C {line!r}"
    environment = {"PATH": on_path, "HOME": str(place), "TERM": "dumb"}
    done = subprocess.run(["fish", "-c", asked], capture_output=True, text=True, cwd=place, env=environment, timeout=60)
    assert done.stdout.split() == wanted, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_of_all_shells(shell, tmp_path):
    script = CliRunner().invoke(app, ["completion", shell]).stdout
    assert VARIABLE in script
    assert "plastsearch" in script
    (tmp_path / "script").write_text(script)
    if shutil.which(shell) is not None:  # bash is always there; the others where somebody installed them
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, timeout=30)


@pytest.mark.parametrize(("shell", "line"), [("zsh", "plastsearch swe"), ("fish", "plastsearch swe")])
def test_other_shells_are_answered(shell, line):
    from typer.completion import completion_init

    completion_init()
    environment = {
        VARIABLE: f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    assert "sweep" in CliRunner().invoke(app, [], prog_name="plastsearch", env=environment).stdout


def test_the_version_is_told():
    from plastsearch.version import __version__

    assert CliRunner().invoke(app, ["--version"]).stdout == f"plastsearch {__version__}\n"
    assert "completion" in PANELS["start"][1]
