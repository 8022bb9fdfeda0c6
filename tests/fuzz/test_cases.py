"""What fuzzing found, one row each: the input as small as it can be, and the words that it must lead to."""

import errno
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch  # noqa: F401 - in the parent: what it takes of addresses is not a child's

# Imported here once, so that each child need not.
import plastsearch.cli.main
import plastsearch.cli.sessions.corpora
import plastsearch.cli.sessions.space
import plastsearch.cli.sessions.sweep
import plastsearch.preflight.checks
from plastsearch.errors import PlastsearchError
from plastsearch.files import new_folder
from plastsearch.use.story import check_story
from tests.fuzz.children import run
from tests.fuzz.verdicts import of_outcome

HEAD = "base: {model: {name: grnn}, method: plasticity}\nspace:\n"
NEURONS = "  neurons: {kind: choice, of: [8]}\n"
LAYERS = '  layers: {kind: subset, of: "gru.*"}\n'
SPACE = HEAD + NEURONS + LAYERS
LONG = "a" * 300
GRNN = {"model_type": "grnn", "hidden": [8, 8], "bidirectional": False, "front_end": "lfcc", "rate_hz": 16_000}
SPEECH = {"model_type": "wav2vec2", "hidden_size": 48, "num_attention_heads": 4}

SPACES = [
    (SPACE + "search: {trials: " + "9" * 5000 + "}", "space.yaml:5: search.trials: a whole number of 5000 digits"),
    (SPACE + "search: {trials: 1000000000000000}", "space.yaml:5: search.trials: "),
    (SPACE + "search: {seed: -1}", "space.yaml:5: search.seed: "),
    (SPACE + "finalists: {top: 99999999999}", "space.yaml:5: finalists.top: "),
    (SPACE.replace("grnn}", "grnn}, data: {length_samples: 1000000000000}"), "base.data.length_samples: "),
    (SPACE.replace("grnn}", "grnn}, data: {clips: 1000000000000}"), "base.data.clips: "),
    (SPACE.replace("grnn}", "grnn}, data: {seed: -1}"), "base.data.seed: should be greater than or equal to 0"),
    (SPACE.replace("grnn}", "grnn}, train: {steps: 99999999999999999}"), "base.train.steps: "),
    (SPACE.replace("grnn}", "grnn}, train: {shares: {train: -1, retrain: 1, consolidate: 1}}"), "train.shares.train: "),
    (SPACE.replace("grnn}", "grnn}, train: {shares: {train: 0, retrain: 0, consolidate: 0}}"), "train.shares: all"),
    (SPACE.replace("grnn}", "grnn}, train: {lr_ratios: {train: 1, retrain: -2, consolidate: 1}}"), "lr_ratios.retra"),
    (SPACE.replace("grnn}", "grnn}, train: {batch_size: 2, accumulate: 4}"), "train.accumulate: 4 parts of a batch"),
    (SPACE + "  seed: {kind: int, low: 0, high: 1000000000000}", "space.yaml:5: space.seed: a range of 1e+12 values"),
    (SPACE + "  train.lr: {kind: float, low: 0, high: 1, step: 1e-12}", "space.train.lr: a range of 1e+12 values"),
    (SPACE + "  train.lr: {kind: float, low: -1e308, high: 1e308}", "space.yaml:5: space.train.lr.low: "),
    (SPACE + "  train.steps: {kind: choice, of: [30]}\n  train.epochs: {kind: choice, of: [1]}", "not both"),
    (SPACE.replace("gru.*", "gru.{0..99999999}"), "gru.{0..99999999}': 0..99999999 are 100,000,000 numbers"),
    (SPACE.replace("gru.*", "{a,b}" * 300), "site pattern"),
    (SPACE + "".join(f"key{n}: 1\n" for n in range(20_000)), "more such mistakes"),
    (SPACE + "".join(f"key{n}: 1\n" for n in range(60_000)), "more than 50,000 values, aliases unfolded"),
    ("base: {model: {name: grnn}, method: plasticity}\nspace:\n  neurons: {kind: choice, of: [8]}\n",
     "error: in/space.yaml:2: space: method plasticity grows, but no sites are named; add 'layers' here or in base"),
    ("a: " + "[" * 300 + "]" * 300, "deep"),
    ("[" * 20_000, "not YAML"),
    (SPACE + 'question: "\\ud800"', "space.yaml:5: question: holds half a character"),
    (SPACE.replace("grnn}", "grnn, from: ~nobody-here/x}"), "nobody-here/x does not exist"),
    (SPACE.replace("grnn}", "grnn, from: ./" + LONG + "}"), "cannot be used as a path: File name too long"),
    (SPACE.replace("grnn}", 'grnn}, data: {corpus: in_the_wild, root: "/a\\0b"}'), "cannot be used as a path"),
    ("x" * (2 << 20), "space.yaml: longer than 1 MB"),
]  # fmt: skip
MODELS = [
    ("grnn", {**GRNN, "hidden": [8] * 2000}, "config.json: hidden: "),
    ("grnn", {**GRNN, "hidden": True}, "config.json: hidden: "),
    ("grnn", {**GRNN, "front_end": {}}, "config.json: front_end: "),
    ("grnn", {**GRNN, "blocks": None}, "config.json: blocks: "),
    ("wav2vec2", {**SPEECH, "num_hidden_layers": 10**9}, "config.json: num_hidden_layers: "),
    ("wav2vec2", {**SPEECH, "num_attention_heads": 0}, "config.json: num_attention_heads: "),
    ("wav2vec2", {**SPEECH, "num_attention_heads": 5}, "hidden_size 48 is no multiple of 5 attention heads"),
    ("wav2vec2", [SPEECH], "config.json: no model's config"),
]  # fmt: skip
WORDS = [
    (["check", LONG], "File name too long"),
    (["check", "in/space.yaml", "--set", "space.neurons.of.²=4"], "count its items from 0"),
    (["check", "in/space.yaml", "--set", f"space.neurons.of.{'9' * 5000}=4"], "count its items from 0"),
    (["evaluate", "in/space.yaml", "--seed", "-1"], "'--seed'"),
    (["evaluate", "in/space.yaml", "--replicates", "100000000000"], "'--replicates'"),
    (["evaluate", "in"], "in: is a folder; name the file"),
    (["score", "in/model", "in/clips", "--hop", "inf"], "'--hop'"),
    (["evaluate", "in/pipe"], "in/pipe: no scores in it"),
    (["check", "in/pipe"], "in/pipe: the file is empty"),
    (["evaluate", "in/loop"], "in/loop: cannot be read (Too many levels of symbolic links)"),
    (["pretrain", "in/space.yaml/x"], "in/space.yaml"),
    (["pretrain", "in"], "in exists and is not empty: name a new folder"),
    (["pretrain", LONG], "File name too long"),
    (["pretrain", "out/p", "--lr", "nan"], "'--lr'"),
    (["noise", "in/space.yaml", "--detect", "nan"], "--detect nan: a difference above 0"),
    (["sweep", "in/space.yaml", "--dry-run", "--set", "space.layers.of=none.*"], "=none.*: space.layers.of: no site"),
    (["data", "inspect", "in_the_wild", "--root", "~nobody-of-that-name"], "cannot be used as a path"),
]  # fmt: skip


def box(folder: Path, **files: str) -> Path:
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    (folder / "in" / "loop").symlink_to("loop")
    os.mkfifo(folder / "in" / "pipe")
    for name, text in files.items():
        (folder / "in" / name.replace("__", ".")).write_text(text)
    return folder


def told(words: list[str], folder: Path) -> str:
    """What a command says that must end with status 2 and no traceback."""
    outcome = run(words, folder)
    assert of_outcome(outcome) is None, (of_outcome(outcome), outcome.text[-2000:])
    assert outcome.status == 2, outcome.text
    return " ".join(outcome.err.decode().replace("│", " ").split())


@pytest.mark.parametrize(("text", "words"), SPACES, ids=lambda value: value[-40:])
def test_spaces_that_cannot_be_meant(tmp_path, text, words):
    assert words in told(["check", "in/space.yaml"], box(tmp_path, space__yaml=text))


@pytest.mark.parametrize(("name", "config", "words"), MODELS, ids=[words for _, _, words in MODELS])
def test_model_folders_that_cannot_be_meant(tmp_path, name, config, words):
    assert words in told(["sites", name, "--from", "in"], box(tmp_path, config__json=json.dumps(config)))


@pytest.mark.parametrize(("words", "said"), WORDS, ids=[" ".join(words)[-50:] for words, _ in WORDS])
def test_command_lines_that_cannot_be_meant(tmp_path, words, said):
    assert said in told(words, box(tmp_path, space__yaml=SPACE))


@pytest.mark.parametrize(
    ("head", "row", "words"),
    [
        (b"path,label,split,path\n", b"a.wav,spoof,train,b.wav\n", "column 'path' is there 2 times"),
        (b"path,label,split\n", b"\xff\xfe.wav,spoof,train\n", "clips.csv:2: not text in UTF-8"),
        (b"", b"", "clips.csv: cannot be read as a table"),
        (b"\0\0\0", b"\0", "clips.csv"),
    ],
)
def test_tables_that_cannot_be_meant(tmp_path, head, row, words):
    folder = box(tmp_path)
    (folder / "in" / "clips.csv").write_bytes(head + row)
    assert words in told(["data", "inspect", "manifest", "--manifest", "in/clips.csv", "--cache", "out"], folder)


def test_a_nested_column_is_named(tmp_path):
    folder = box(tmp_path)
    table = pa.table({"path": [["a.wav"]], "label": ["spoof"], "split": ["train"]})
    pq.write_table(table, folder / "in" / "clips.parquet")
    said = told(["data", "inspect", "manifest", "--manifest", "in/clips.parquet", "--cache", "out"], folder)
    assert "clips.parquet: column path holds list" in said


@pytest.mark.parametrize("rate_hz", [0, 1, 2**31 - 1])
def test_a_sample_rate_that_cannot_be(tmp_path, rate_hz):
    import numpy as np

    from plastsearch.audio import BadAudioError, decode, write_audio

    path = tmp_path / "a.wav"
    write_audio(path, 0.1 * np.ones(100), 16_000)
    whole = bytearray(path.read_bytes())
    whole[24:28] = rate_hz.to_bytes(4, "little")
    path.write_bytes(whole)
    with pytest.raises(BadAudioError, match=r"sample rate|not audio"):
        decode(path, 16_000)


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "out/x"),
            "error: out/x: No space left on device; the disk is",
        ),
        (OSError(errno.EROFS, "Read-only file system", "out"), "out: Read-only file system; it lies on a file system"),
        (PermissionError(errno.EACCES, "Permission denied", "a", None, "b"), "error: a → b: Permission denied; choose"),
        (OSError(errno.EMFILE, "Too many open files"), "error: Too many open files; allow this process more of them"),
        (OSError(), "error: OSError"),
        (MemoryError(), "error: not enough memory: what was asked for does not fit"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "error: not enough memory: DefaultCPUAllocator"),
    ],
)
def test_what_the_system_refuses_is_a_sentence(monkeypatch, capsys, raised, words):
    def refuse():
        raise raised

    monkeypatch.setattr(plastsearch.cli.main, "app", refuse)
    monkeypatch.setattr("sys.orig_argv", ["plastsearch"])
    with pytest.raises(SystemExit) as end:
        plastsearch.cli.main.main()
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fail():
        raise RuntimeError("a bug")

    monkeypatch.setattr(plastsearch.cli.main, "app", fail)
    monkeypatch.setattr("sys.orig_argv", ["plastsearch"])
    with pytest.raises(RuntimeError, match="a bug"):
        plastsearch.cli.main.main()


def test_a_place_for_a_new_folder_is_tried_and_left_as_it_was(tmp_path):
    (tmp_path / "file").write_text("")
    for name, words in [("file", "is a file"), ("file/x", "cannot be written"), ("a" * 240, "cannot be written")]:
        with pytest.raises(PlastsearchError, match=words):
            new_folder(tmp_path / name)
    new_folder(tmp_path / "deep" / "er" / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"metrics": {"dev_eer": 10**400}}, "found.metrics.dev_eer"),
        ({"metrics": {"dev_eer": None}}, "found.metrics: dev_eer and eval_eer are numbers"),
        ({"per_attack": {"A01": "low"}}, "found.per_attack.A01"),
        ({"stages": [{"sites": {"gru.0": "x"}}]}, "found.stages.0.sites.gru.0"),
        ({"finalists": [{}]}, "found.finalists: each has its eval_eer"),
        ({"attack_intervals": {"search_dev": {"A01": [1.0]}}}, "found.attack_intervals.search_dev.A01"),
    ],
)
def test_a_story_that_no_card_can_tell(found, words):
    with pytest.raises(ValueError, match="found") as told:
        check_story(found)
    assert words in str(told.value)
