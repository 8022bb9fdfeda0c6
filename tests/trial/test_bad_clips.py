"""Clips that cannot be used: a trial refuses them, or leaves them out and says how many in its result."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.data.cache import Decoder
from plastsearch.data.sources import Source, generate
from plastsearch.errors import DataError
from plastsearch.training import fit
from plastsearch.trial.finalist import run_finalist
from plastsearch.trial.run import run_trial
from tests.trial.conftest import MakeSettings, make_config


@pytest.fixture
def damaged(cache: Path, tmp_path: Path) -> Path:
    """LA on disk with a truncated training clip, a dev clip that is text, and two empty evaluation clips."""
    made = generate(Source("synthetic", clips=48), "la", Decoder(cache))
    root = tmp_path / "LA"
    shutil.copytree(made / "LA", root)
    train, dev, last = (
        sorted((root / f"ASVspoof2019_LA_{split}" / "flac").iterdir()) for split in ("train", "dev", "eval")
    )
    (tmp_path / "sound").mkdir()
    for path in (train[3], dev[5]):
        shutil.copy(path, tmp_path / "sound")
    train[3].write_bytes(train[3].read_bytes()[:3000])
    dev[5].write_text("not audio")
    for path in last[:2]:
        path.write_bytes(b"")
    return root


@pytest.mark.slow
def test_bad_clips_are_counted_in_every_result(damaged: Path, settings: MakeSettings) -> None:
    data = {"corpus": "asvspoof2019_la", "root": str(damaged), "clips": None}
    with pytest.raises(DataError, match=r"2 clip\(s\) or line\(s\) cannot be used(.|\n)*data\.on_bad: skip"):
        list(run_trial(make_config(data=data), settings()))
    *_, final = run_finalist(make_config(data=data | {"on_bad": "skip"}), settings())
    assert (final.metrics["bad_clips"], final.metrics["eval_bad_clips"]) == (2, 2)


def test_a_trial_says_on_the_terminal_what_it_left_out(damaged: Path, tmp_path: Path) -> None:
    sets = [
        "model.name=grnn", "layers=[gru.1]", "neurons=4", "train.steps=4", "train.batch_size=8", "timing_batch=2",
        "timing_steps=3", "data.length_samples=8000", "data.corpus=asvspoof2019_la", f"data.root={damaged}",
    ]  # fmt: skip
    words = ["trial", "--out", str(tmp_path / "out"), *(word for text in sets for word in ("--set", text))]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, DataError)
    done = CliRunner().invoke(app, [*words, "--set", "data.on_bad=skip"], catch_exceptions=False)
    assert "warning: 2 train and search-dev clips could not be used and were left out" in done.stderr
    assert "bad_clips" in done.stdout
    again = CliRunner().invoke(app, [*words, "--set", "data.on_bad=skip", "--json"], catch_exceptions=False)
    assert json.loads(again.stdout)["metrics"]["bad_clips"] == 2


def test_damaged_evaluation_clips_are_found_before_training(damaged: Path, settings: MakeSettings, monkeypatch) -> None:
    """By `trial --final`, and by every worker of a cluster's sweep that will have finalists."""
    for path in (damaged.parent / "sound").iterdir():  # in place of the damaged ones that are trained or searched on
        shutil.copy(path, next(damaged.glob(f"*/flac/{path.name}")))
    monkeypatch.setattr(fit, "_train_step", lambda *_: pytest.fail("trained"))
    config = make_config(data={"corpus": "asvspoof2019_la", "root": str(damaged), "clips": None})
    for run, where in ((run_finalist, settings()), (run_trial, settings(check_evaluation=True))):
        with pytest.raises(DataError, match=r"looked at before training(.|\n)*2 clip\(s\)(.|\n)*empty file"):
            list(run(config, where))
