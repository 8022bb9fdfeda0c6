"""A container's share of the processors is a limit, whichever way it is written down."""

import os

import pytest

from plastsearch.cores import usable_cores

V2 = "0::{path}\n"
V1 = "4:cpu,cpuacct:{path}\n1:name=systemd:/\n0::/\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A process of a made-up machine with 16 cores: its groups, where they are mounted, and the limits in them."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))

    def made(groups, mounts, limits):
        proc, mounted = tmp_path / "self", tmp_path / "cgroup"
        proc.mkdir()
        (proc / "cgroup").write_text(groups)
        lines = [f"31 23 0:28 {root} {mounted / where} rw,relatime - {kind}\n" for root, where, kind in mounts]
        (proc / "mountinfo").write_text("21 1 0:19 / / rw - overlay overlay rw\n" + "".join(lines))
        for path, text in limits.items():
            (mounted / path).parent.mkdir(parents=True, exist_ok=True)
            (mounted / path).write_text(text)
        return proc

    return made


@pytest.mark.parametrize(
    ("path", "limits", "cores"),
    [
        ("/", {"cpu.max": "200000 100000\n"}, 2),  # a container that sees its own group as the root
        ("/", {"cpu.max": "max 100000\n"}, 16),
        ("/", {}, 16),  # the host's root group has no such file
        ("/", {"cpu.max": "150000 100000\n"}, 2),
        ("/", {"cpu.max": "20000 100000\n"}, 1),
        ("/", {"cpu.max": "9900000 100000\n"}, 16),
        ("/pod/box", {"pod/box/cpu.max": "max 100000", "pod/cpu.max": "300000 100000"}, 3),  # the pod's limit counts
        ("/pod/box", {"pod/box/cpu.max": "100000 100000", "pod/cpu.max": "300000 100000"}, 1),
    ],
)
def test_version_2(path, limits, cores, machine):
    assert usable_cores(machine(V2.format(path=path), [("/", "", "cgroup2 cgroup2 rw")], limits)) == cores


@pytest.mark.parametrize(
    ("root", "path", "inside", "quota", "cores"),
    [
        ("/", "/", "", "-1", 16),
        ("/", "/docker/abc", "docker/abc/", "400000", 4),
        ("/docker/abc", "/docker/abc", "", "400000", 4),  # only its own part is mounted in the container
        ("/docker/abc", "/elsewhere", "", "400000", 4),
    ],
)
def test_version_1(root, path, inside, quota, cores, machine):
    limits = {f"cpu/{inside}cpu.cfs_quota_us": quota, f"cpu/{inside}cpu.cfs_period_us": "100000"}
    mounts = [(root, "cpu", "cgroup cgroup rw,cpu,cpuacct"), ("/", "unified", "cgroup2 cgroup2 rw")]
    assert usable_cores(machine(V1.format(path=path), mounts, limits)) == cores


def test_a_machine_without_control_groups_has_the_cores_it_may_run_on(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert usable_cores(tmp_path / "nowhere") == 3
