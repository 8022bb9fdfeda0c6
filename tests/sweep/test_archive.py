"""A sweep kept as objects, against a real server process: whole or not at all, gone on with after a kill."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from plastsearch.analysis.results import load_results
from plastsearch.errors import PlastsearchError
from plastsearch.report.publish import report_json
from plastsearch.store.objects import Objects, Place
from plastsearch.store.records import StageRecord
from plastsearch.sweep.archive import pull, push
from tests.made_sweep import make_sweep

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # botocore's own
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # its pool of connections
]
KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "a-secret-of-theirs"}


@pytest.fixture(scope="module")
def server():
    """The address of moto's server, a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    quiet = subprocess.DEVNULL
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env={**os.environ, **KEYS})
    until = time.monotonic() + 60
    with socket.socket() as asked:
        while asked.connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
def objects(server, monkeypatch, request):
    """An empty prefix in a bucket."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    found = Objects(Place("attic", request.node.name.strip("[]")), server)
    found._client.create_bucket(Bucket="attic")
    return found


@pytest.fixture
def sweep(tmp_path):
    """A finished sweep with its store beside it: scores, and a stage that holds a tensor of another."""
    folder = make_sweep(tmp_path / "here" / "night")
    store = folder.parent / "store"
    shutil.move(folder / "kept", store)
    for key, holder in (("5e1f", "c0de"), ("c0de", "c0de"), ("dead", "dead")):
        stage = store / "stages" / key
        stage.mkdir(parents=True)
        record = StageRecord(key, "train", None, {}, tensors={"w": {"digest": "0", "key": holder, "name": "w"}})
        (stage / "stage.json").write_text(json.dumps(asdict(record)))
        (stage / "weights.safetensors").write_bytes(key.encode() * 50_000)
    (folder / "optuna.log").write_text("a driver's own")
    return folder


def tables(folder):
    """What a report says, wherever the folder lies."""
    return {key: value for key, value in report_json(load_results(folder)).items() if key != "folder"}


def names(objects):
    answer = objects._client.list_objects_v2(Bucket="attic", Prefix=objects.place.prefix + "/")
    return [one["Key"].removeprefix(objects.place.prefix + "/") for one in answer.get("Contents", ())]


@pytest.mark.slow
def test_a_push_that_was_killed_is_gone_on_with_and_pulled_elsewhere(sweep, objects, server, tmp_path):
    before = tables(sweep)
    assert before["comparisons"]
    command = [sys.executable, "-m", "plastsearch", "store", "push", str(sweep), str(objects.place)]
    command += ["--endpoint", server]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        for _ in range(3):
            assert first.stderr.readline().startswith("sent ")
        first.send_signal(signal.SIGKILL)
    assert len(names(objects)) >= 3
    assert "manifest.json" not in names(objects)
    with pytest.raises(PlastsearchError, match=r"no sweep was pushed there whole \(manifest.json is missing\)"):
        pull(objects, tmp_path / "there")
    second = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert 0 < second["sent"] <= second["files"] - 3  # what the first one sent stays
    assert push(sweep, sweep.parent / "store", objects, everything=False).sent == 0
    shutil.rmtree(sweep.parent)
    done = subprocess.run(
        [sys.executable, "-m", "plastsearch", "store", "pull", str(objects.place), str(tmp_path / "there"),
         "--endpoint", server], capture_output=True, text=True, check=True,
    )  # fmt: skip
    there = tmp_path / "there" / "night"
    assert f"plastsearch report {there}" in done.stdout.replace("\n", "")
    assert "a-secret" not in done.stdout + done.stderr
    assert tables(there) == before
    assert sorted(path.name for path in (tmp_path / "there/store/stages").iterdir()) == ["5e1f", "c0de"]
    assert not (there / "optuna.log").exists()
    assert not list((tmp_path / "there").glob(".*"))


def test_a_running_sweep_is_pushed_as_it_stands_and_again_when_it_has_grown(sweep, objects, tmp_path):
    journal = sweep / "trials.jsonl"
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:40]) + lines[40][:20])  # a driver in the middle of a line
    push(sweep, sweep.parent / "store", objects, everything=False)
    pull(objects, tmp_path / "early")
    assert (tmp_path / "early/night/trials.jsonl").read_bytes() == b"".join(lines[:40])
    journal.write_bytes(whole)
    assert push(sweep, sweep.parent / "store", objects, everything=True).sent >= 1
    pull(objects, tmp_path / "late")
    assert (tmp_path / "late/night/trials.jsonl").read_bytes() == whole


def test_of_two_pushes_at_once_one_is_told_that_the_other_stands(sweep, objects):
    said = []

    def say(text):
        if not said:
            said.append(text)
            push(sweep, sweep.parent / "store", objects, everything=False)

    with pytest.raises(PlastsearchError, match="another push has finished meanwhile, and its manifest stands"):
        push(sweep, sweep.parent / "store", objects, everything=False, say=say)
    push(sweep, sweep.parent / "store", objects, everything=False)  # over an older one of its own


def test_a_damaged_object_is_refused_by_name_and_nothing_is_put_in_place(sweep, objects, tmp_path):
    push(sweep, sweep.parent / "store", objects, everything=False)
    manifest = json.loads(objects.read("manifest.json")[0])
    weights = next(one for one in manifest["files"] if one["path"] == "store/stages/c0de/weights.safetensors")
    key = f"{objects.place.prefix}/objects/{weights['digest']}"
    objects._client.put_object(Bucket="attic", Key=key, Body=b"x" * weights["size"])
    with pytest.raises(PlastsearchError, match=r"store/stages/c0de/weights.safetensors\) is damaged: its checksum"):
        pull(objects, tmp_path / "there")
    assert not (tmp_path / "there" / "night").exists()
    assert not (tmp_path / "there" / "store").exists()
    objects._client.delete_object(Bucket="attic", Key=key)
    with pytest.raises(PlastsearchError, match=r"weights.safetensors\) is missing; nothing was put in place"):
        pull(objects, tmp_path / "there")
    assert push(sweep, sweep.parent / "store", objects, everything=False).sent == 1
    got = []
    pull(objects, tmp_path / "there", got.append)
    assert 0 < len(got) < len(manifest["files"])  # what was whole is not fetched again


def test_a_manifest_cannot_write_beside_the_folder_it_is_pulled_into(objects, tmp_path):
    for path in ("store/../../out", "/etc/out", "elsewhere/out"):
        plain = {"version": 1, "id": "1", "name": "night", "files": [{"path": path, "size": 1, "digest": "0"}]}
        objects._client.put_object(
            Bucket="attic", Key=f"{objects.place.prefix}/manifest.json", Body=json.dumps(plain).encode()
        )
        with pytest.raises(PlastsearchError, match="which no push writes"):
            pull(objects, tmp_path / "there")


def test_what_cannot_be_done_is_said_in_a_sentence(sweep, objects, server, monkeypatch, tmp_path):
    store = sweep.parent / "store"
    push(sweep, store, objects, everything=False)
    other = make_sweep(tmp_path / "other" / "day")
    with pytest.raises(PlastsearchError, match="holds another sweep, 'night'; choose another prefix"):
        push(other, store, objects, everything=False)
    with pytest.raises(PlastsearchError, match="has no bucket 'cellar'; correct the address or create it"):
        push(sweep, store, Objects(Place.of("s3://cellar/night"), server), everything=False)
    with pytest.raises(PlastsearchError, match=r"no S3 server answers at http://127.0.0.1:9 \(EndpointConnectionErr"):
        push(sweep, store, Objects(Place.of("s3://attic/night"), "http://127.0.0.1:9"), everything=False)
    with pytest.raises(PlastsearchError, match="write s3://BUCKET/PREFIX"):
        Place.of("s3://attic")
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(PlastsearchError, match="no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        push(sweep, store, Objects(Place.of("s3://attic/night"), server), everything=False)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(PlastsearchError, match=r"pip install 'plastsearch\[s3\]'"):
        Objects(Place.of("s3://attic/night"), server)


def test_files_that_grow_or_go_while_they_are_pushed_are_pulled_as_they_were(sweep, objects, tmp_path, monkeypatch):
    """A log has one more line between its checksum and its way to the server, and a worker tidies up."""
    (sweep / "log").mkdir()
    log, gone = sweep / "log/driver.log", sweep / "log/trial-3-attempt-1.txt"
    log.write_text("one\n")
    gone.write_text("a word")
    (sweep / "mlflow").mkdir()
    (sweep / "mlflow/mlflow.db").write_text("made from the journal")
    (sweep / "driver.lease").write_text("{}")
    upload = objects.upload

    def growing(name, path, digest):
        log.open("a").write("more\n")
        gone.unlink(missing_ok=True)
        upload(name, path, digest)

    monkeypatch.setattr(objects, "upload", growing)
    push(sweep, sweep.parent / "store", objects, everything=False)
    pull(objects, tmp_path / "there")
    there = tmp_path / "there/night"
    assert (there / "log/driver.log").read_text().startswith("one\n")
    assert not (there / "log/trial-3-attempt-1.txt").exists()
    assert not (there / "mlflow").exists()
    assert not (there / "driver.lease").exists()
