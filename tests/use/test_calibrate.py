"""`plastsearch calibrate`: learnt, kept where the model finds it, and never from what finalists were judged on."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from plastsearch import load_model
from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.scores.clip_scores import read_clip_scores
from plastsearch.scores.files import write_scores
from plastsearch.scores.metrics import cllr
from plastsearch.use.folder import write_folder
from plastsearch.use.opened import KEPT, known_to, sample_of


@pytest.fixture
def sweep(found_root, tmp_path):
    """A copy of the sweep of GRNNs with its store, for what is kept changes how its models speak."""
    for name in ("grnn", "store"):
        shutil.copytree(found_root / name, tmp_path / "root" / name)
    return tmp_path / "root" / "grnn"


def calibrate(*arguments):
    return CliRunner().invoke(app, ["calibrate", *map(str, arguments)])


@pytest.fixture
def told(sweep):
    """Scores of the sweep's dev clips that tell the classes a little apart, in place of those of twelve steps."""
    key = load_model(f"{sweep}:1").facts.found["model_key"]
    path = sweep.parent / "store" / "scores" / f"{key}.search_dev.tsv"
    kept = read_clip_scores(path)
    scores = np.random.default_rng(0).normal(0.3 * kept.is_bona, 0.2)
    lines = path.read_text().splitlines()
    changed = [
        f"{line.rsplit(chr(9), 1)[0]}\t{value!r}" for line, value in zip(lines[1:], scores.tolist(), strict=True)
    ]
    path.write_text("\n".join([lines[0], *changed]) + "\n")
    return scores[kept.is_bona], scores[~kept.is_bona]


def test_dev_scores_become_ratios_that_the_model_speaks_from_then_on(sweep, told, clips):
    path = clips / "LA_D_0000001.flac"
    before = load_model(f"{sweep}:1").score(path)
    found = calibrate(f"{sweep}:1", "--on", "dev", "--json")
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    model = load_model(f"{sweep}:1")
    kept = model.facts.calibration
    assert kept is not None
    assert (kept.slope, kept.offset) == (said["slope"], said["offset"])
    assert said["cllr_before"] == cllr(*told)
    assert said["min_cllr"] < said["cllr_after"] < said["cllr_before"]
    assert said["cllr_after"] == pytest.approx(cllr(*(kept.slope * values + kept.offset for values in told)))
    assert model.score(path).score == pytest.approx(kept.slope * before.score + kept.offset, abs=1e-6)
    assert model.threshold() == 0
    for name in (*said["calibration"], said["picture"]):
        assert name.startswith(str(sweep / "calibration"))
    with open(said["picture"], "rb") as file:  # noqa: PTH123
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    line = CliRunner().invoke(app, ["score", f"{sweep}:1", str(path), "--json-lines"])
    assert "log-likelihood ratios" in line.stderr
    assert json.loads(line.stdout)["score"] == pytest.approx(model.score(path).score, abs=1e-5)
    plain = CliRunner().invoke(app, ["score", f"{sweep}:1", str(path), "--json-lines", "--plain"])
    assert json.loads(plain.stdout)["score"] == pytest.approx(before.score, abs=1e-6)


def test_an_exported_folder_keeps_its_own_and_takes_that_of_its_sweep(sweep, told, tmp_path, clips):
    model = load_model(f"{sweep}:1")
    folder, other = tmp_path / "exported", tmp_path / "other"
    write_folder(folder, model.detector, model.facts)
    second = load_model(f"{sweep}:2")
    write_folder(other, second.detector, second.facts)
    assert "only a sweep keeps the scores" in str(calibrate(folder, "--on", "dev").exception)
    assert "another network" in str(calibrate(f"{sweep}:1", "--on", "dev", "--into", other).exception)
    assert calibrate(f"{sweep}:1", "--on", "dev", "--into", folder).exit_code == 0
    assert load_model(str(folder)).facts.calibration == load_model(f"{sweep}:1").facts.calibration
    (folder / "calibration.json").unlink()
    # Labels that these scores tell a little: every fifth is wrong.
    paths = sorted(clips.glob("LA_D*"))
    scores = [load_model(str(folder)).score(path).score for path in paths]
    bona = [(score > np.median(scores)) != (n % 5 == 0) for n, score in enumerate(scores)]
    lines = [f"LA_0001 {path.stem} - {'-' if one else 'A01'} {'bonafide' if one else 'spoof'}"
             for path, one in zip(paths, bona, strict=True)]  # fmt: skip
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(lines) + "\n")
    found = calibrate(folder, "--on", clips, "--protocol", labels, "--json")
    assert found.exit_code == 0, found.output
    kept = load_model(str(folder)).facts.calibration
    assert kept.learnt_on == "40 clips of labels.txt"
    assert kept.cllr_before == pytest.approx(cllr(*([s for s, b in zip(scores, bona, strict=True) if b == of]
                                                    for of in (True, False))), abs=1e-6)  # fmt: skip
    assert (folder / "calibration.png").is_file()


def test_a_score_file_of_a_calibrated_model_says_which_scores_it_holds(sweep, told, tmp_path):
    bona, spoof = told
    ids = [f"c{n}" for n in range(len(bona) + len(spoof))]
    path = tmp_path / "scores.txt"
    both, is_bona = np.concatenate(told), np.arange(len(ids)) < len(bona)
    attacks = ["-" if one else "A01" for one in is_bona]
    write_scores(path, ids, both, "2019", is_bona, attacks)
    first = json.loads(calibrate(f"{sweep}:1", "--on", path, "--json").stdout)
    assert "is calibrated already" in str(calibrate(f"{sweep}:1", "--on", path).exception)
    again = json.loads(calibrate(f"{sweep}:1", "--on", path, "--scale", "plain", "--json").stdout)
    assert again["slope"] == first["slope"]
    write_scores(path, ids, first["slope"] * both + first["offset"], "2019", is_bona, attacks)
    back = json.loads(calibrate(f"{sweep}:1", "--on", path, "--scale", "llr", "--json").stdout)
    assert back["slope"] == pytest.approx(first["slope"], rel=1e-6)


def test_a_dry_run_keeps_nothing(sweep, told):
    assert calibrate(f"{sweep}:1", "--on", "dev", "--dry-run").exit_code == 0
    assert not (sweep / "calibration").exists()
    assert load_model(f"{sweep}:1").facts.calibration is None


def opened(sweep, names):
    """As after finalists: the ledger, and the score file that a finalist writes."""
    line = {"at": "2026-01-01T00:00:00Z", "corpus": "synthetic", "clips": "0" * 32, "trial": "abc123"}
    (sweep.parent / "evaluations.jsonl").write_text(json.dumps(line) + "\n")
    (sweep.parent / "store" / "scores" / "abc123.txt").write_text("".join(f"{name} - bonafide 1\n" for name in names))


def test_clips_that_finalists_were_judged_on_are_refused_unless_told_so(sweep, told, tmp_path):
    bona, spoof = told
    ids = [f"LA_E_{n}" for n in range(len(bona) + len(spoof))]
    opened(sweep, ids[3:4])
    path = tmp_path / "scores.txt"
    is_bona = np.arange(len(ids)) < len(bona)
    write_scores(path, ids, np.concatenate(told), "2019", is_bona, ["-" if one else "A01" for one in is_bona])
    refused = calibrate(f"{sweep}:1", "--on", path)
    assert isinstance(refused.exception, PlastsearchError)
    assert "1 of these" in str(refused.exception)
    assert "LA_E_3" in str(refused.exception)
    assert not (sweep / "calibration").exists()
    folder = tmp_path / "exported"
    model = load_model(f"{sweep}:1")
    write_folder(folder, model.detector, model.facts)  # takes the names along
    assert "LA_E_3" in str(calibrate(folder, "--on", path).exception)
    assert calibrate(folder, "--on", path, "--even-evaluation").exit_code == 0
    assert calibrate(f"{sweep}:1", "--on", path, "--even-evaluation").exit_code == 0


def test_renamed_copies_of_such_clips_are_known_by_their_samples(sweep, clips, protocol):
    from plastsearch.data.shards import Job, write_shard

    opened(sweep, ["LA_E_1"])
    folder = sweep.parent / "cache" / "clips" / "synthetic-eval-0123abcd"
    folder.mkdir(parents=True)
    job = Job(str(folder), str(clips), ["LA_D_0000001.flac"], [bytes(16)], 16_000, "int16")
    assert list(write_shard(job)) == [1]
    refused = calibrate(f"{sweep}:1", "--on", clips, "--protocol", protocol)
    assert "1 of these 40 clips are evaluation data" in str(refused.exception)
    assert "LA_D_0000001.flac" in str(refused.exception)


def test_a_sample_of_many_names_knows_a_good_part_of_them_and_no_others(sweep):
    names = [f"LA_E_{n}" for n in range(20_000)]
    facts = load_model(f"{sweep}:1").facts
    sampled = facts.model_copy(update={"found": {"evaluation_names": sample_of(names)}})
    assert len(known_to(sampled, names)) == KEPT
    assert len(known_to(sampled, names[:2000])) > 20
    assert known_to(sampled, [f"LA_D_{n}" for n in range(20_000)]) == []


@pytest.mark.parametrize(
    ("words", "told_so"),
    [
        (["--on", "dev", "--protocol", "{protocol}"], "leave out --protocol"),
        (["--on", "{clips}"], "give the protocol"),
        (["--on", "dev", "--scale", "x"], "known: plain, llr"),
        (["--on", "{protocol}"], "columns"),
        (["--on", "{clips}/LA_D_000000*", "--protocol", "{protocol}"], "have no score"),
    ],
)
def test_mistakes_are_told_in_a_sentence(sweep, clips, protocol, words, told_so):
    found = calibrate(f"{sweep}:1", *(word.format(clips=clips, protocol=protocol) for word in words))
    assert isinstance(found.exception, PlastsearchError), found.output
    assert told_so in str(found.exception)
