"""One scenario: a sweep of fake trials on a head and two workers, something of which breaks. Arguments: folder, name.

Run within NAMESPACES; prints what became of it as one JSON object.
"""

import json
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from plastsearch.tracking.journal import FILE
from tests.faults.nodes import PORT, Cluster, Machine, listens, wait_until

TRIAL = "Trainable."  # in the titles that Ray gives to processes of trials


@dataclass
class Session:
    """A driver's process, and the events that it prints."""

    process: subprocess.Popen[str]
    events: list[dict[str, object]] = field(default_factory=list)
    outcome: dict[str, object] = field(default_factory=dict)
    error: str = ""

    def __post_init__(self) -> None:
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            said = json.loads(line)
            if "event" in said:
                self.events.append({**said, "heard": time.monotonic()})
            else:
                self.outcome = said

    def _read_errors(self) -> None:
        for line in self.process.stderr or ():
            self.error += line

    def wait_for(self, kind: str, number: int = 1, seconds: float = 120.0) -> dict[str, object]:
        """The so-manieth event of a kind."""

        def there() -> bool:
            assert self.process.poll() is None or self._count(kind) >= number, self.error
            return self._count(kind) >= number

        wait_until(there, seconds, f"{number} x {kind}; {self.error}")
        return [event for event in self.events if event["event"] == kind][number - 1]

    def _count(self, kind: str) -> int:
        return sum(event["event"] == kind for event in self.events)

    def end(self, seconds: float = 240.0) -> int:
        """Its exit status, once it has ended by itself."""
        status = self.process.wait(seconds)
        for thread in self._threads:
            thread.join(10)
        return status


class Scene:
    """The cluster of a scenario, and what is measured."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = Cluster(folder)
        self.found: dict[str, object] = {}
        self.began = time.monotonic()

    def start(self, seconds: float, workers: int = 2, **environment: str) -> tuple[Machine, list[Machine]]:
        """A head and workers, whose trials last so long."""
        environment = {"FAKE_TRIAL_S": str(seconds), **environment}
        head = self.cluster.machine("head", **environment)
        self.cluster.head(head)
        nodes = [self.cluster.machine(f"worker{n}", **environment) for n in range(1, workers + 1)]
        for node in nodes:
            self.cluster.worker(node, head)
        for node in nodes:
            self.cluster.joined(node)
        return head, nodes

    def drive(self, on: Machine, head: Machine, *overrides: str, resume: bool = False, **environment: str) -> Session:
        """A session on a machine of the cluster."""
        words = [sys.executable, "-m", "tests.sweep.session_process", str(self.folder / "runs"),
                 "resume" if resume else "", "tune", "search.trials=5", "resources.cpu=1", "search.parallel=2",
                 "finalists.top=1", "finalists.seeds=1", *overrides]  # fmt: skip
        environment = {"PLASTSEARCH_TEST_ADDRESS": f"{head.address}:{PORT}", **environment}
        return Session(on.run(words, environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE))

    def tell(self, session: Session) -> None:
        """What the journal holds in the end."""
        status = session.end()
        lines = [json.loads(line) for line in (self.folder / "runs/fake" / FILE).read_text().splitlines()]
        ends = [line["trial"] for line in lines if line["event"] == "end"]
        proposed = [line["trial"] for line in lines if line["event"] == "propose"]
        self.found |= {
            "exit": status, "error": session.error[-3000:], "outcome": session.outcome.get("outcome"),
            "once": sorted(ends) == sorted(proposed), "trials": len(proposed),
            "states": Counter(line["state"] for line in lines if line["event"] == "end"),
            "retries": [[line["trial"], line["reason"], line.get("failure"), line.get("lost")]
                        for line in lines if line["event"] == "retry"],
            "began_at": [line["details"]["began_at"] for line in lines
                         if line["event"] == "end" and "began_at" in line.get("details", {})],
            "nodes": sorted({str(line["node"]).partition(":")[0] for line in lines if line.get("node")}),
            "seconds": round(time.monotonic() - self.began, 1),
        }  # fmt: skip


def node_of(event: dict[str, object], machines: list[Machine]) -> Machine:
    """Where a report comes from."""
    return next(machine for machine in machines if str(event["node"]).startswith(f"{machine.name}:"))


def again_after(session: Session, retry: int, began: float) -> float:
    """Seconds from a fault to the moment that a trial it hit has started again."""
    lost = session.wait_for("retry", retry, 200)
    trial = lost["trial"]

    def back() -> bool:
        return any(e["event"] == "start" and e["trial"] == trial and e["heard"] > lost["heard"] for e in session.events)

    wait_until(back, 120, f"trial {trial} again")
    found = next(
        e for e in session.events if e["event"] == "start" and e["trial"] == trial and e["heard"] > lost["heard"]
    )
    return round(float(str(found["heard"])) - began, 1)


def worker_killed(scene: Scene) -> None:
    """A trial's process."""
    head, nodes = scene.start(3.0)
    session = scene.drive(head, head)
    report = session.wait_for("report", 3)
    began = time.monotonic()
    node_of(report, nodes).signal(signal.SIGKILL, TRIAL)
    scene.found["again_s"] = again_after(session, 1, began)
    scene.tell(session)


def node_killed(scene: Scene) -> None:
    """The power of a machine."""
    head, nodes = scene.start(5.0)
    session = scene.drive(head, head)
    report = session.wait_for("report", 3)
    began = time.monotonic()
    node_of(report, nodes).power_off()
    scene.found["again_s"] = again_after(session, 1, began)
    scene.tell(session)


def node_late(scene: Scene) -> None:
    """A machine that joins in the middle."""
    head, _ = scene.start(6.0, workers=1)
    session = scene.drive(head, head)
    session.wait_for("report", 1)
    late = scene.cluster.machine("late", FAKE_TRIAL_S="6")
    began = time.monotonic()
    scene.cluster.worker(late, head)
    wait_until(lambda: any("late:" in str(e.get("node")) for e in session.events), 120, "a trial on the late node")
    scene.found["at_work_s"] = round(time.monotonic() - began, 1)
    scene.tell(session)


def partition(scene: Scene) -> None:
    """A link that is cut and never mended."""
    head, nodes = scene.start(6.0)
    session = scene.drive(head, head, "trial_timeout_s=40")
    report = session.wait_for("report", 3)
    began = time.monotonic()
    node_of(report, nodes).cut()
    scene.found["again_s"] = again_after(session, 1, began)
    scene.tell(session)


def partition_that_heals(scene: Scene) -> None:
    """A link that is down for a while, shorter than it takes Ray to give a node up."""
    head, nodes = scene.start(6.0)
    session = scene.drive(head, head, "trial_timeout_s=40")
    cut = node_of(session.wait_for("report", 3), nodes)
    cut.cut()
    time.sleep(5)
    cut.mend()
    scene.tell(session)


def spot(scene: Scene) -> None:
    """A notice to a machine, and its end after 30 s: what KubeRay's containers get, first process first."""
    head, nodes = scene.start(60.0)
    function = {"PLASTSEARCH_TEST_TRIAL": "tests.faults.checkpointing:trial"}
    session = scene.drive(head, head, "search.trials=1", "controls=[]", **function)
    taken = node_of(session.wait_for("report", 1), nodes)
    began = time.monotonic()
    taken.signal(signal.SIGTERM, "bin/ray\0start")
    deadline = threading.Timer(30, taken.power_off)
    deadline.start()
    scene.found["again_s"] = again_after(session, 1, began)
    scene.tell(session)
    deadline.cancel()


def skew(scene: Scene) -> None:
    """A machine whose clock is five minutes fast, and one whose clock is as slow."""
    head = scene.cluster.machine("head", FAKE_TRIAL_S="3")
    scene.cluster.head(head)
    nodes = []
    library = scene.folder / "skewed_clock.so"
    source = Path(__file__).with_name("skewed_clock.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"], check=True)
    for name, offset in (("worker1", "300"), ("worker2", "-300")):
        preload = {"LD_PRELOAD": str(library), "SKEW_S": offset}
        nodes.append(scene.cluster.machine(name, FAKE_TRIAL_S="3", **preload))
        scene.cluster.worker(nodes[-1], head)
        scene.cluster.joined(nodes[-1])
    session = scene.drive(head, head, "trial_timeout_s=60")
    node_of(session.wait_for("report", 3), nodes).signal(signal.SIGKILL, TRIAL)
    scene.tell(session)


def driver_elsewhere(scene: Scene) -> None:
    """A driver on a machine of its own, which loses its power; the next session is the head's."""
    head, _ = scene.start(5.0)
    desk = scene.cluster.machine("desk", PLASTSEARCH_DRIVER_LEASE_S="12")
    scene.cluster.worker(desk, head, cpus=0)
    scene.cluster.joined(desk)
    first = scene.drive(desk, head)
    first.wait_for("end", 2)
    desk.power_off()
    began = time.monotonic()
    session = scene.drive(head, head, resume=True, PLASTSEARCH_DRIVER_LEASE_S="12")
    session.wait_for("session", 1)
    scene.found["resumed_s"] = round(time.monotonic() - began, 1)
    scene.found["said"] = session.error
    scene.tell(session)


LEASE = {"PLASTSEARCH_DRIVER_LEASE_S": "12"}


def head_restarted(scene: Scene) -> None:
    """Everything on the head is killed, the driver too; Ray starts there again, and the command is given again."""
    head, nodes = scene.start(4.0)
    first = scene.drive(head, head, **LEASE)
    first.wait_for("end", 2)
    head.signal(signal.SIGKILL)
    wait_until(lambda: not listens(head.address), 30, "the old head is gone")
    began = time.monotonic()
    for node in nodes:
        node.signal(signal.SIGKILL)  # what KubeRay does with workers that have lost their head
    scene.cluster.head(head)
    # KubeRay submits at once where the head answers, before any worker is back: of a fixed size, too (Kueue).
    groups = json.dumps([{"name": "worker", "resources": {"CPU": 1}, "max": 2}])
    session = scene.drive(head, head, resume=True, PLASTSEARCH_WORKER_GROUPS=groups, **LEASE)
    session.wait_for("session", 1)
    scene.found["workers_at_resume"] = sum(scene.cluster.joins(node) for node in nodes) - len(nodes)
    for node in nodes:
        scene.cluster.worker(node, head)
    session.wait_for("start", 1)
    scene.found["resumed_s"] = round(time.monotonic() - began, 1)
    scene.tell(session)


def new_cluster(scene: Scene) -> None:
    """All machines lose their power; the next attempt has others, and the same folder."""
    head, nodes = scene.start(4.0)
    first = scene.drive(head, head, **LEASE)
    first.wait_for("end", 2)
    for machine in (head, *nodes):
        machine.power_off()
    began = time.monotonic()
    other, worker = scene.cluster.machine("head2", FAKE_TRIAL_S="4"), scene.cluster.machine("worker3", FAKE_TRIAL_S="4")
    scene.cluster.head(other)
    scene.cluster.worker(worker, other, cpus=2)
    scene.cluster.joined(worker)
    session = scene.drive(other, other, resume=True, **LEASE)
    session.wait_for("start", 1)
    scene.found["resumed_s"] = round(time.monotonic() - began, 1)
    scene.found["said"] = session.error
    scene.tell(session)


def two_attempts(scene: Scene) -> None:
    """The command is given twice: the second waits for the first, and finds nothing left to do."""
    head, nodes = scene.start(6.0)
    first = scene.drive(head, head)
    first.wait_for("report", 1)
    second = scene.drive(nodes[0], head, resume=True)
    scene.found["second"] = [second.end(120), second.error]
    scene.tell(first)


SCENARIOS: dict[str, Callable[[Scene], None]] = {
    one.__name__: one
    for one in (
        worker_killed,
        node_killed,
        node_late,
        partition,
        partition_that_heals,
        spot,
        skew,
        driver_elsewhere,
        head_restarted,
        new_cluster,
        two_attempts,
    )
}


def main() -> None:
    """Run one."""
    scene = Scene(Path(sys.argv[1]))
    try:
        SCENARIOS[sys.argv[2]](scene)
    except Exception:  # noqa: BLE001 - whatever it is, the test prints it beside what was found so far
        scene.found |= {"exit": None, "error": traceback.format_exc()}
    print(json.dumps(scene.found))


if __name__ == "__main__":
    main()
