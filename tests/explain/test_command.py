"""`plastsearch explain` as its user types it: what is left on the disk, and what is said of mistakes."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from plastsearch import load_model
from plastsearch.audio import write_audio
from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.use.folder import write_folder

FEW = ["--most", "8", "--device", "cpu"]


def typed(*words):
    return CliRunner().invoke(app, ["explain", *map(str, words)])


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "a clip.wav"
    write_audio(path, 0.1 * np.random.default_rng(0).standard_normal(20_000), 16_000)
    return path


def files_below(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_pruned_trial_leaves_pictures_a_page_and_json_and_nothing_else(found_root, tmp_path, clip):
    before = files_below(found_root)
    out = tmp_path / "out"
    done = typed(f"{found_root / 'resnet18'}:2", clip, "--neurons", "--method", "grad-cam", "--out", out, *FEW)
    assert done.exit_code == 0, done.output
    changed = {path for path, time in files_below(found_root).items() if before.get(path) != time}
    assert not {path for path in changed if path.parts[0] != "cache"}
    assert sorted(path.name for path in out.iterdir()) == [
        "a_clip.png", "evidence.png", "explain.json", "index.html", "neurons.png",
    ]  # fmt: skip
    found = json.loads((out / "explain.json").read_text())
    assert found["stages"] == ["baseline", "grown", "pruned"]
    shown = [(one["method"], one["stage"]) for one in found["clips"][0]["relevance"]]
    assert shown == [("grad-cam", stage) for stage in ("baseline", "grown", "pruned")]
    assert [one["method"] for one in found["evidence"]["deletion"]] == ["grad-cam"]
    assert found["evidence"]["splice"][0]["pairs"] == 4
    assert len(found["neurons"]["neurons"]) == 4
    assert found["neurons"]["turnover"][0]["removed"] == 4
    assert all(one["survived"] in (True, False) for one in found["neurons"]["neurons"])
    page = (out / "index.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("data:image/png;base64,") == 3
    for words in ("Evidence", "New neurons", "turnover", "pruned?"):
        assert words in done.output


def test_an_exported_folder_without_classes_is_drawn_and_said_to_prove_nothing(found_root, tmp_path, clip):
    model = load_model(f"{found_root / 'grnn'}:1")
    write_folder(tmp_path / "model", model.detector, model.facts)
    done = typed(tmp_path / "model", clip, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "a lone heat map proves nothing" in done.output
    assert (tmp_path / "explain" / "model" / "index.html").is_file()
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]


def test_a_protocol_puts_an_exported_encoder_to_the_test(found_root, tmp_path):
    model = load_model(f"{found_root / 'wav2vec2'}:1")
    write_folder(tmp_path / "model", model.detector, model.facts)
    rng = np.random.default_rng(0)
    lines = []
    (tmp_path / "clips").mkdir()
    for n in range(8):
        write_audio(tmp_path / "clips" / f"X_{n}.flac", 0.1 * rng.standard_normal(9000), 16_000)
        lines.append(f"S{n % 2} X_{n} - {'A09 spoof' if n % 2 else '- bonafide'}\n")
    (tmp_path / "key.txt").write_text("".join(lines))
    done = typed(
        tmp_path / "model", "--protocol", tmp_path / "key.txt", "--audio", tmp_path / "clips", "--method", "attention",
        "--out", tmp_path / "out", "--json", *FEW,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["evidence"]["clips"].endswith("4 bona fide, 4 spoofed")
    assert [one["method"] for one in found["evidence"]["splice"]] == ["attention"]
    assert found["clips"] == []


def test_clips_that_cannot_be_read_are_listed_and_the_rest_goes_on(found_root, tmp_path, clip):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio")
    done = typed(f"{found_root / 'grnn'}:1", bad, clip, "--no-evidence", "--out", tmp_path / "out", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert [one["name"] for one in found["clips"]] == ["a clip.wav"]
    assert len(found["bad"]) == 1
    assert "bad.wav" in found["bad"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{root}/grnn:0", "--neurons"], "grew no neurons"),
        (["{root}/grnn:1", "--method", "lime"], "unknown; known: grad-cam"),
        (["{root}/grnn:1", "--method", "attention"], "has no attention"),
        (["{root}/resnet18:1", "--layer", "layer9"], "no such block"),
        (["{root}/grnn:1", "--protocol", "key.txt"], "give both or neither"),
        (["{root}/grnn:1", "--no-evidence"], "nothing to explain"),
        (["{root}/grnn:1", "{clip}", "--at", "99", "--no-evidence"], "lasts 1.25 s"),
        (["{root}/grnn:1", "{clip}", "--no-evidence", "--out", "{clip}"], "cannot be written"),
        (["{root}/grnn:1", "{root}", "--no-evidence"], "a folder; name the clips in it"),
        (["{root}/grnn:1", "/dev/null", "--no-evidence"], "no regular file"),
        (["{root}/grnn:9"], "no trial 9"),
    ],
)
def test_mistakes_are_told_in_a_sentence(found_root, clip, words, said):
    done = typed(*(word.format(root=found_root, clip=clip) for word in words))
    assert isinstance(done.exception, PlastsearchError), done.output
    assert said in str(done.exception)
