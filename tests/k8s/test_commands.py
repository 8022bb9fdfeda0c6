"""`k8s watch` and `k8s fetch` before a kubectl that answers as a cluster would: all endings, and what may go wrong."""

import io
import json
import re
import tarfile

import pytest
from typer.testing import CliRunner

from plastsearch.cli.cluster.k8s import read_command
from plastsearch.cli.main import app
from plastsearch.errors import ClusterError, PlastsearchError
from plastsearch.kubernetes import fetching, kubectl, watching
from plastsearch.kubernetes.watching import Watch, follow
from plastsearch.tracking.journal import read
from plastsearch.tracking.records import trials
from tests.k8s.fake_kubectl import FORBIDDEN, GONE, REFUSED, FakeKubectl, event, listed, pod, rayjob
from tests.made_sweep import make_sweep

HEAD = "get pods --selector plastsearch.io/sweep=w2v,ray.io/node-type=head"
TOOLBOX = "get pods --selector app.kubernetes.io/name=toolbox"
JOB = "get rayjobs.ray.io w2v"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster with a running sweep, whose head sees a folder on this machine."""
    fake = FakeKubectl(tmp_path / "bin")
    monkeypatch.setenv("PATH", fake.path)
    fake.answer(JOB, {"out": rayjob(tmp_path / "results")})
    fake.answer(HEAD, {"out": listed(pod("w2v-9dkfm-head", "ray-head"))})
    fake.answer(TOOLBOX, {"out": listed()})
    fake.answer("get events", {"out": listed()})
    fake.answer("exec", {"run": True})
    return fake


@pytest.fixture
def sweep(tmp_path):
    """The sweep's folder, as its driver left it."""
    make_sweep(tmp_path / "results" / "w2v")
    return tmp_path / "results" / "w2v"


def followed(**more):
    """Follow to the end without pauses: exit status, last words, and every screen."""
    screens = []
    status, said = follow(Watch("w2v", "plastsearch", read_command), screens.append, sleep=lambda _: None, **more)
    return status, said, screens


def typed(*words):
    return CliRunner().invoke(app, ["k8s", *words])


def refused(*words):
    result = typed(*words)
    assert isinstance(result.exception, PlastsearchError), result.output
    return str(result.exception)


def test_one_look_shows_job_workers_attempts_trials_and_events(cluster, sweep, tmp_path):
    cluster.answer(JOB, {"out": rayjob(tmp_path / "results", failed=1)})
    at = "2026-01-01T00:00:00Z"
    cluster.answer("get events", {"out": listed(
        event("2026-01-01T00:05:00Z", "w2v-9dkfm-gpu-worker-abc", "FailedScheduling", "0/3 nodes\nare available"),
        event(at, "w2v-9dkfm-head", "Pulled", "image is there"), event(at, "other-head", "Pulled", "not ours"),
    )})  # fmt: skip
    result = typed("watch", "w2v", "--once")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:4] == [
        "w2v in namespace plastsearch", "job       RUNNING, cluster Running", "attempt   2 of 3",
        "workers   2 ready of 4 wanted",
    ]  # fmt: skip
    records = trials(read(sweep)).values()
    done = sum(record.state == "done" for record in records if record.role == "search")
    ended = sum(record.ended for record in records if record.role == "search")
    assert lines[4].startswith(f"trials    {ended} of 24 ended ({done} done, ")
    others = sum(record.role != "search" for record in records)
    assert lines[4].endswith(f"; {others} controls and finalists; session ended: done")
    assert [line.split(" d  ")[1] for line in lines[-2:]] == [
        "Pulled  Pod/w2v-9dkfm-head: image is there",
        "FailedScheduling  Pod/w2v-9dkfm-gpu-worker-abc: 0/3 nodes are available",
    ]


def test_only_what_has_grown_is_read_again(cluster, sweep):
    watch = Watch("w2v", "plastsearch", read_command)
    whole = (sweep / "trials.jsonl").read_bytes()
    half = whole.index(b"\n", len(whole) // 2) + 1
    (sweep / "trials.jsonl").write_bytes(whole[: half + 7])  # the driver is in the middle of a line
    watch.look()
    assert watch.progress.offset == half
    (sweep / "trials.jsonl").write_bytes(whole)
    watch.look()
    assert watch.progress.offset == len(whole)
    assert watch.progress.finished is not None
    (sweep / "trials.jsonl").write_bytes(whole[:half])  # restored from a copy
    watch.look()
    assert (watch.progress.offset, watch.progress.finished) == (half, None)


def test_a_sweep_is_followed_until_it_has_ended_well(cluster, sweep, tmp_path):
    root = tmp_path / "results"
    course = [("", "Initializing"), ("RUNNING", "Running"), ("FAILED", "Retrying"), ("SUCCEEDED", "Complete")]
    cluster.answer(JOB, *({"out": rayjob(root, *both)} for both in course))
    status, said, screens = followed()
    assert (status, said) == (0, "w2v has ended well")
    assert [screen[1] for screen in screens] == [
        f"job       {job or 'not submitted yet'}, cluster {deployment}" for job, deployment in course
    ]


@pytest.mark.parametrize(("code", "message"), [(2, "space.neurons.stepp: unknown key"), (3, "asks for 2 GPUs")])
def test_a_verdict_of_the_driver_is_the_exit_status(cluster, sweep, tmp_path, code, message):
    (sweep / "verdict.json").write_text(json.dumps({"exit_code": code, "message": message, "submission": "w2v"}))
    cluster.answer(JOB, {"out": rayjob(tmp_path / "results", "FAILED", "Failed", reason="AppFailed")})
    result = typed("watch", "w2v")
    assert result.exit_code == code
    assert f"error: w2v has failed for good: {message}" in result.stderr
    assert "plastsearch k8s fetch w2v DIR" in result.stderr


def test_without_a_verdict_the_journal_tells_how_it_ended(cluster, sweep, tmp_path):
    journal = (sweep / "trials.jsonl").read_text().splitlines()
    last = json.loads(journal[-1]) | {"event": "finish", "status": "failures", "reason": "9 of 12 trials failed"}
    (sweep / "trials.jsonl").write_text("\n".join([*journal[:-1], json.dumps(last)]) + "\n")
    cluster.answer(JOB, {"out": rayjob(tmp_path / "results", "FAILED", "Failed")})
    assert followed()[:2] == (4, "w2v has ended: failures (9 of 12 trials failed)")


def test_what_the_cluster_ended_is_told_as_such(cluster, tmp_path):
    """The head is gone for too long: there is neither a verdict nor anybody who sees the folder."""
    cluster.answer(HEAD, {"out": listed()})
    ended = rayjob(tmp_path, "RUNNING", "Failed", reason="JobStatusCheckTimeoutExceeded", message="no answer for 300s")
    cluster.answer(JOB, {"out": ended})
    status, said, screens = followed()
    assert status == 3
    assert said == "w2v was ended by the cluster, not by its driver: JobStatusCheckTimeoutExceeded: no answer for 300s"
    assert "trials    not to be read yet: neither a head nor a toolbox is ready" in screens[0]


def test_a_job_that_is_deleted_while_it_is_watched(cluster, sweep, tmp_path):
    half = (sweep / "trials.jsonl").read_text().splitlines(keepends=True)[:5]
    (sweep / "trials.jsonl").write_text("".join(half))
    cluster.answer(JOB, {"out": rayjob(tmp_path / "results")}, {"err": GONE, "rc": 1})
    with pytest.raises(ClusterError, match=r"was deleted while it was watched; .* plastsearch k8s fetch w2v DIR"):
        followed()


def test_a_job_whose_time_after_the_end_is_over_has_ended_as_its_journal_says(cluster, sweep, tmp_path):
    cluster.answer(JOB, {"out": rayjob(tmp_path / "results")}, {"err": GONE, "rc": 1})
    assert followed()[0] == 0


def test_a_head_that_goes_is_said_on_its_line_and_the_watch_goes_on(cluster, sweep, tmp_path):
    cluster.answer(
        JOB, {"out": rayjob(tmp_path / "results")}, {"out": rayjob(tmp_path / "results", "SUCCEEDED", "Complete")}
    )
    cluster.answer(
        "exec", {"err": 'Error from server (NotFound): pods "w2v-9dkfm-head" not found', "rc": 1}, {"run": True}
    )
    status, _, screens = followed()
    assert status == 0
    assert "not to be read now (" in screens[0][4]
    assert " ended (" in screens[1][4]


def test_a_silent_cluster_is_asked_again_for_a_while(cluster, tmp_path):
    fine = {"out": rayjob(tmp_path / "results")}
    cluster.answer(JOB, fine, {"err": REFUSED, "rc": 1}, fine, {"err": REFUSED, "rc": 1})
    now = iter(range(0, 100_000, 250))
    screens = []
    with pytest.raises(kubectl.UnreachableError, match=r"the cluster does not answer: .*refused"):
        follow(Watch("w2v", "plastsearch", read_command), screens.append, sleep=lambda _: None, clock=lambda: next(now))
    assert [screen[-1].startswith("no answer: ") for screen in screens] == [False, True, False, True, True]


def test_an_answer_that_does_not_come_is_not_waited_for(cluster):
    cluster.answer(JOB, {"sleep": 20})
    with pytest.raises(kubectl.UnreachableError, match=r"kubectl get had no answer within 0\.3 s"):
        kubectl.get(["rayjobs.ray.io", "w2v"], "plastsearch", 0.3)


@pytest.mark.parametrize(
    ("complaint", "told"),
    [
        (GONE, "not found; name another with --namespace"),
        (FORBIDDEN, "not allowed: .*; ask for that permission"),
        (REFUSED, "the cluster does not answer: .*; see `kubectl cluster-info`"),
        ('error: the server doesn\'t have a resource type "rayjobs"', "install the KubeRay operator, 1.7 or later"),
        ("error: You must be logged in to the server (Unauthorized)", "log in to the cluster again"),
        ("", "failed without a word"),
    ],
)
def test_complaints_of_kubectl_say_what_to_do(cluster, complaint, told):
    cluster.fail(JOB, complaint)
    said = refused("watch", "w2v", "--namespace", "team")
    assert "in namespace team" in said
    assert re.search(told, said), said


def test_without_kubectl_there_is_a_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert "kubectl is not on PATH; install it" in refused("watch", "w2v")


def test_a_folder_is_fetched_and_can_be_reported(cluster, sweep, tmp_path):
    target = tmp_path / "here" / "w2v"
    result = typed("fetch", "w2v", str(target))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == f"next: plastsearch report {target}"
    assert {path.relative_to(target) for path in target.rglob("*")} == {
        path.relative_to(sweep) for path in sweep.rglob("*")
    }
    assert (target / "trials.jsonl").read_bytes() == (sweep / "trials.jsonl").read_bytes()
    assert typed("fetch", "w2v", str(target)).exit_code != 0
    assert f"{target}: is there already" in refused("fetch", "w2v", str(target))


def test_a_sweep_whose_job_has_gone_is_fetched_through_the_toolbox(cluster, sweep, tmp_path):
    cluster.fail(JOB, GONE)
    cluster.answer(HEAD, {"out": listed()})
    cluster.answer(TOOLBOX, {"out": listed(pod("toolbox-5f6", "toolbox", ready=False), pod("toolbox-7d8", "toolbox"))})
    result = typed("fetch", "w2v", str(tmp_path / "copy"), "--out", str(tmp_path / "results"), "--json")
    assert json.loads(result.stdout)["pod"] == "toolbox-7d8"
    assert (tmp_path / "copy" / "trials.jsonl").is_file()


def test_a_place_that_cannot_be_written_is_named(cluster, tmp_path):
    cluster.answer(HEAD, {"out": listed(pod("w2v-head", "ray-head"))})
    (tmp_path / "file").write_text("x")
    said = refused("fetch", "w2v", str(tmp_path / "file" / "below"))
    assert "/file" in said
    assert ": cannot be written (" in said


def test_where_nobody_sees_the_folder_the_toolbox_is_named(cluster, tmp_path):
    cluster.answer(HEAD, {"out": listed(pod("w2v-head", "ray-head", ready=False))})
    assert "kubectl scale deployment toolbox --replicas=1 --namespace plastsearch" in refused(
        "fetch", "w2v", str(tmp_path / "copy")
    )


def archive(*members: tuple[str, bytes, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/passwd" if kind != tarfile.REGTYPE else ""
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


JOURNAL = ("./trials.jsonl", tarfile.REGTYPE, b"{}\n")


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil"])
def test_an_archive_cannot_write_outside(cluster, tmp_path, name):
    (tmp_path / "evil.tar").write_bytes(archive(JOURNAL, (name, tarfile.REGTYPE, b"x")))
    cluster.answer("exec", {"file": str(tmp_path / "evil.tar")})
    assert "outside of its folder; nothing was kept" in refused("fetch", "w2v", str(tmp_path / "copy"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "evil.tar"]


def test_links_are_left_out(cluster, tmp_path):
    linked = archive(
        JOURNAL, ("log", tarfile.SYMTYPE, b""), ("log2", tarfile.LNKTYPE, b""), ("log/x", tarfile.REGTYPE, b"y")
    )
    (tmp_path / "some.tar").write_bytes(linked)
    cluster.answer("exec", {"file": str(tmp_path / "some.tar")})
    result = typed("fetch", "w2v", str(tmp_path / "copy"))
    assert "2 links were left out" in result.stderr
    assert not (tmp_path / "copy" / "log").is_symlink()
    assert (tmp_path / "copy" / "log" / "x").read_bytes() == b"y"


@pytest.mark.parametrize("cut", [700, 1536, 2048, 2600])
def test_a_connection_that_is_cut_leaves_nothing(cluster, tmp_path, cut):
    """Even where the part that came looks whole: kubectl may end with 0 then."""
    whole = archive(JOURNAL, ("./report.md", tarfile.REGTYPE, b"z" * 600))
    (tmp_path / "cut.tar").write_bytes(whole[:cut])
    cluster.answer("exec", {"file": str(tmp_path / "cut.tar")})
    assert "nothing was kept, try again" in refused("fetch", "w2v", str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


def test_what_tar_or_kubectl_complain_of_is_told(cluster, tmp_path):
    said = refused("fetch", "w2v", str(tmp_path / "copy"))
    assert "No such file or directory" in said
    cluster.answer(
        "exec", {"err": 'Error from server (Forbidden): pods "x" is forbidden: cannot create pods/exec', "rc": 1}
    )
    assert "not allowed" in refused("fetch", "w2v", str(tmp_path / "copy"))


def test_a_folder_without_a_sweep_is_not_kept(cluster, tmp_path):
    (tmp_path / "results" / "w2v").mkdir(parents=True)
    assert "no sweep there (trials.jsonl is missing)" in refused("fetch", "w2v", str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


def test_a_stream_that_stalls_is_given_up(cluster, sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "STALLED_S", 0.2)
    monkeypatch.setattr(fetching, "_GRACE_S", 0.1)
    cluster.answer("exec", {"sleep": 20})
    assert "nothing came for 0.2 s" in refused("fetch", "w2v", str(tmp_path / "copy"))


def test_the_namespace_reaches_every_call(cluster, sweep, tmp_path):
    typed("watch", "w2v", "--once", "-n", "team")
    typed("fetch", "w2v", str(tmp_path / "copy"), "--namespace", "team")
    assert {call[0] for call in cluster.asked()} == {"team"}


def test_watching_pauses_between_looks():
    assert watching.EVERY_S >= 2, "an API server is shared"
