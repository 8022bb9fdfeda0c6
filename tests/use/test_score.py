"""`plastsearch score`: any files in, one line each out, in their order; what was scored once is not scored again."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from plastsearch import load_model
from plastsearch.audio import write_audio
from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.scores.files import judge, read_scores
from plastsearch.scores.keys import read_key
from plastsearch.use import scoring
from plastsearch.use.score_journal import journal_of


@pytest.fixture(scope="module")
def model(found_root):
    return f"{found_root / 'grnn'}:1"


def score(*arguments, stdin=None):
    return CliRunner().invoke(app, ["score", *map(str, arguments)], input=stdin)


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_file_is_scored_as_the_model_scores_it_in_python(model, clips):
    paths = sorted(clips.glob("LA_D*"))[:6]
    found = rows(score(model, *paths, "--csv").stdout)
    loaded = load_model(model)
    for row, path in zip(found, paths, strict=True):
        one = loaded.score(path)
        assert row["path"] == str(path)
        assert float(row["score"]) == pytest.approx(one.score, abs=1e-6)
        assert float(row["probability"]) == pytest.approx(one.probability, abs=1e-6)
        assert (row["decision"] == "bonafide") == one.bona_fide
        assert int(row["windows"]) == len(one.windows)


def test_order_is_that_of_the_inputs_and_bad_files_are_listed_with_status_1(model, clips):
    words = [clips / "zero.wav", clips / "LA_D_0000007.flac", clips / "gone.wav", clips / "LA_D_0000002.wav"]
    found = score(model, *words, clips, "--csv", "--batch", 3)
    assert found.exit_code == 1
    table = rows(found.stdout)
    assert [row["path"] for row in table[:4]] == [str(word) for word in words]
    assert [row["path"] for row in table[4:]] == [str(path) for path in sorted(clips.iterdir())]
    bad = {row["path"].rsplit("/", 1)[1]: row["error"] for row in table if row["error"]}
    assert set(bad) == {"zero.wav", "gone.wav", "text.wav", "nothing.flac"}
    assert all(row["score"] == "" for row in table if row["error"])
    for name, why in bad.items():
        assert f"{name}: {why}" in found.stderr
    assert "42 clips scored" in found.stderr


def test_patterns_and_lists_on_standard_input_mean_their_files(model, clips):
    pattern = rows(score(model, f"{clips}/LA_D_000000*", "--csv").stdout)
    named = [row["path"] for row in pattern]
    assert named == [str(path) for path in sorted(clips.glob("LA_D_000000*"))]
    for joined in ("\n".join(named) + "\n", "\0".join(named) + "\0", "\r\n".join(named)):
        assert rows(score(model, "-", "--csv", stdin=joined).stdout) == pattern


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{clips}/none*"], "no file matches"),
        (["{folder}"], "no audio in that folder"),
        (["-"], "list on standard input is empty"),
        (["-", "-"], "once only"),
        (["{clip}", "--csv", "--json-lines"], "one format at a time"),
        (["{clip}", "--out", "{folder}/x.xyz"], "say in which format"),
        (["{clip}", "--csv", "--out", "{folder}"], "is a folder"),
        (["{clip}", "--csv", "--out", "{folder}/a/b.csv"], "is no folder"),
        (["{clip}", "--asvspoof", "--timeline"], "no place for windows"),
        (["{clip}", "--asvspoof", "--edition", "2019"], "give the protocol"),
        (["{clip}", "--edition", "7"], "known: 2019, 2021, 5"),
        (["{clip}", "--aggregation", "sum"], "known: mean, median"),
        (["{clip}", "--prior", "1"], "a prior is a probability"),
        (["{clip}", "--threshold", "nan"], "a finite score"),
        (["{clip}", "--window", "0.001"], "between"),
        (["{clip}", "--device", "tpu"], "known: auto, cpu"),
        (["{clip}", "--protocol", "{folder}/none.txt"], "no such file"),
        (["a b.wav", "--asvspoof"], "has blanks"),
        (["{clip}", "{clip}", "--asvspoof"], "has the same name"),
    ],
)
def test_mistakes_are_told_in_a_sentence(model, clips, tmp_path, words, told):
    filled = [word.format(clips=clips, clip=clips / "LA_D_0000001.flac", folder=tmp_path) for word in words]
    found = score(model, *filled)
    assert isinstance(found.exception, PlastsearchError), found.output
    assert told in str(found.exception)
    assert list(tmp_path.iterdir()) == []


def test_probability_prior_threshold_and_aggregation_are_what_they_say(model, clips):
    path = clips / "LA_D_0000001.flac"
    timeline = json.loads(score(model, path, "--json-lines", "--timeline").stdout)
    values = [one["score"] for one in timeline["timeline"]]
    assert len(values) > 2
    assert timeline["score"] == pytest.approx(np.mean(values), abs=1e-6)
    for how, expected in (("min", min(values)), ("max", max(values)), ("median", np.median(values)),
                          ("first", values[0])):  # fmt: skip
        one = json.loads(score(model, path, "--json-lines", "--aggregation", how, "--prior", 0.1).stdout)
        assert one["score"] == pytest.approx(expected, abs=1e-6)
        assert one["probability"] == pytest.approx(1 / (1 + 9 * np.exp(-expected)), abs=1e-6)
    decided = [json.loads(score(model, path, "--json-lines", "--threshold", at).stdout)["decision"]
               for at in (timeline["score"] - 0.01, timeline["score"] + 0.01)]  # fmt: skip
    assert decided == ["bonafide", "spoof"]


def test_windows_reach_the_end_and_leave_no_gap(model, clips):
    loaded = load_model(model)
    for line in score(model, clips, "--json-lines", "--timeline", "--hop", 2).stdout.splitlines():
        one = json.loads(line)
        if "error" in one:
            continue
        ends = [window["end_s"] for window in one["timeline"]]
        assert ends[-1] == pytest.approx(one["seconds"])
        starts = [window["start_s"] for window in one["timeline"]]
        assert starts[0] == 0
        assert all(start <= end for start, end in zip(starts[1:], ends, strict=False))
        assert max(np.subtract(ends, starts)) <= loaded.window_samples / loaded.rate_hz + 1e-9


def test_another_window_is_taken_and_warned_of(model, clips):
    path = clips / "LA_D_0000001.flac"
    found = score(model, path, "--json-lines", "--timeline", "--window", 0.25)
    assert "warning: windows of 0.25 s; threshold and calibration were learnt at 0.5 s" in found.stderr
    window = json.loads(found.stdout)["timeline"][0]
    assert window["end_s"] == 0.25


def test_names_reach_a_terminal_without_their_control_characters(model, clips, tmp_path):
    rude = tmp_path / "\x1b[31mred\n\x07.wav"
    rude.write_bytes((clips / "LA_D_0000002.wav").read_bytes())
    raw = os.fsencode(tmp_path) + b"/b\xff.wav"
    with open(raw, "wb") as file:  # noqa: PTH123 - a name that is no text
        file.write((clips / "LA_D_0000002.wav").read_bytes())
    broken = tmp_path / "\x1b]0;title\x07.wav"
    broken.write_text("no audio")
    for form in ([], ["--json-lines"]):
        found = score(model, tmp_path, *form)
        assert found.exit_code == 1
        assert "\x1b" not in found.output
        assert "\x07" not in found.output
    assert r"\x1b[31mred\n\x07.wav" in score(model, tmp_path).stdout
    table = score(model, tmp_path, "--csv").stdout_bytes
    assert os.fsencode(rude) in table  # exact where a program reads it
    assert raw in table


def test_score_files_of_every_edition_are_read_again_as_they_were_judged(model, clips, protocol, tmp_path):
    key = read_key(protocol)
    judged = score(model, clips, "--protocol", protocol)
    assert judged.exit_code == 0, judged.stderr  # the broken files are not in the protocol
    assert "3 files are not in the protocol: left out" in judged.stderr
    for edition in ("2019", "2021", "5"):
        out = tmp_path / f"{edition}.txt"
        found = score(model, clips, "-p", protocol, "--asvspoof", "--edition", edition, "--out", out)
        assert found.exit_code == 0
        again = judge(read_scores(out), key)
        assert f"{again.summary.eer:.4f}" in judged.stdout
        assert f"{again.summary.cllr:.4f}" in found.stdout
    assert out.read_text().startswith("filename\tcm-score\n")


def test_a_protocol_whose_clips_are_not_all_there_is_not_judged(model, clips, protocol):
    found = score(model, clips / "LA_D_0000001.flac", "-p", protocol)
    assert found.exit_code == 1
    assert "not judged: 39 of the 40 clips of the protocol have no score: LA_D_0000000" in found.stderr
    assert "EER" not in found.stdout


def test_a_stopped_run_goes_on_scores_nothing_twice_and_ends_in_the_same_bytes(model, clips, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole.csv", tmp_path / "cut.csv"
    assert score(model, clips, "--out", whole, "--batch", 4).exit_code == 1
    heard = []
    judged = scoring._heard

    def counted(block, futures):
        if len(heard) >= 20 and not journal_stopped:
            raise KeyboardInterrupt
        found = judged(block, futures)
        heard.extend(one.path for one in found if one.error is None)
        return found

    monkeypatch.setattr(scoring, "_heard", counted)
    journal_stopped = False
    stopped = score(model, clips, "--out", cut, "--batch", 4)
    assert stopped.exit_code == 130
    assert f"stopped: {len(heard)} of 43 clips are kept" in stopped.stderr
    assert not cut.exists()
    # As a kill in the midst of writing leaves it.
    with journal_of(cut).open("ab") as file:
        file.write(b'[["half a li')
    journal_stopped = True
    going_on = score(model, clips, "--out", cut, "--batch", 4)
    assert going_on.exit_code == 1
    assert cut.read_bytes() == whole.read_bytes()
    assert sorted(heard) == [str(path) for path in sorted(clips.glob("LA_D*"))]
    assert score(model, clips, "--out", cut, "--batch", 4).exit_code == 1
    assert len(heard) == 40
    assert cut.read_bytes() == whole.read_bytes()


def test_what_changes_is_scored_again_and_what_only_looks_otherwise_is_not(model, clips, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("LA_D_0000001.flac", "LA_D_0000002.wav"):
        (folder / name).write_bytes((clips / name).read_bytes())
    out = tmp_path / "scores.csv"
    assert score(model, folder, "--out", out).exit_code == 0
    heard = []
    judged = scoring._heard
    monkeypatch.setattr(scoring, "_heard", lambda block, futures: heard.append([one.path for one in block])
                        or judged(block, futures))  # fmt: skip
    before = rows(out.read_text())
    assert score(model, folder, "--out", out, "--prior", 0.1, "--aggregation", "max").exit_code == 0
    assert heard == []
    assert rows(out.read_text())[0]["probability"] != before[0]["probability"]
    write_audio(folder / "LA_D_0000001.flac", 0.1 * np.random.default_rng(9).standard_normal(9000), 16_000)
    write_audio(folder / "LA_D_0000000.flac", 0.1 * np.random.default_rng(8).standard_normal(9000), 16_000)
    assert score(model, folder, "--out", out).exit_code == 0
    assert heard == [[str(folder / f"LA_D_000000{n}.flac") for n in (0, 1)]]
    after = rows(out.read_text())
    assert [row["path"] for row in after] == [str(path) for path in sorted(folder.iterdir())]
    assert after[2] == before[1]


def test_an_output_of_another_job_or_of_somebody_else_is_left_alone(model, found_root, clips, tmp_path):
    path, out = clips / "LA_D_0000001.flac", tmp_path / "scores.csv"
    out.write_text("mine\n")
    refused = score(model, path, "--out", out)
    assert "is there already" in str(refused.exception)
    assert out.read_text() == "mine\n"
    assert score(model, path, "--out", out, "--overwrite").exit_code == 0
    other = score(f"{found_root / 'grnn'}:2", path, "--out", out)
    assert "holds scores of grnn:1 by other weights" in str(other.exception)
    assert "another hop" in str(score(model, path, "--out", out, "--hop", 0.1).exception)
    journal_of(out).write_text("[1]\n")
    assert "no journal of a run" in str(score(model, path, "--out", out).exception)


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_the_number_of_cores_and_of_reading_threads_changes_no_digit(model, clips, cores, monkeypatch):
    loaded = load_model(model)
    paths = [str(path) for path in sorted(clips.iterdir())]
    expected = [one for block in scoring.hear_all(loaded, paths, scoring.How(threads=1)) for one in block]
    monkeypatch.setattr(scoring, "usable_cores", lambda: cores)
    before = torch.get_num_threads()
    found = [one for block in scoring.hear_all(loaded, paths, scoring.How(threads=cores)) for one in block]
    assert found == expected
    assert [one.path for one in found] == paths
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_a_killed_process_leaves_what_it_scored(model, clips, tmp_path):
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    many = [str(clips)] * 12
    command = [sys.executable, "-m", "plastsearch", "score", model, *many, "--quiet", "--batch", "2", "--out"]
    subprocess.run([*command, str(whole)], check=False, capture_output=True)
    with subprocess.Popen([*command, str(cut)], stderr=subprocess.DEVNULL) as process:
        while not journal_of(cut).exists() or journal_of(cut).read_bytes().count(b"\n") < 3:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not cut.exists()
    subprocess.run([*command, str(cut)], check=False, capture_output=True)
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("network", ["resnet18", "wav2vec2"])
def test_every_kind_of_network_scores(found_root, clips, network):
    found = score(f"{found_root / network}:2", clips / "LA_D_0000001.flac", "--json-lines")
    assert found.exit_code == 0, found.output
    assert np.isfinite(json.loads(found.stdout)["score"])
