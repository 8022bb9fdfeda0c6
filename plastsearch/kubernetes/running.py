"""A sweep on a cluster as kubectl shows it: its RayJob, the Pod through which its folder is read, its last events."""

import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from plastsearch.errors import PlastsearchError
from plastsearch.kubernetes import kubectl
from plastsearch.kubernetes.manifests import Tree, dig, rows, table, text
from plastsearch.kubernetes.pods import SWEEP
from plastsearch.kubernetes.sweep_rules import Command, Reader

TOOLBOX = "app.kubernetes.io/name=toolbox"
ROOT = "/results"  # of all sweeps, as the overlays mount it
NAMESPACE = "plastsearch"


@dataclass(frozen=True)
class Place:
    """A running container that sees the sweep's folder."""

    pod: str
    container: str
    namespace: str

    def words(self, *command: str) -> list[str]:
        """How kubectl runs a command there."""
        return ["exec", self.pod, "--container", self.container, "--", *command]

    def ask(self, script: str, timeout_s: float = kubectl.ANSWER_S) -> bytes:
        """What a shell there prints."""
        return kubectl.raw(self.words("sh", "-c", script), self.namespace, timeout_s)


@dataclass(frozen=True)
class Status:
    """What KubeRay says of a job."""

    tree: Tree

    @property
    def job(self) -> str:
        """PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED; empty before the driver was submitted."""
        return text(dig(self.tree, "status", "jobStatus"))

    @property
    def deployment(self) -> str:
        """Initializing, Running, Retrying, Complete, Failed, …"""
        return text(dig(self.tree, "status", "jobDeploymentStatus"))

    @property
    def ended(self) -> bool:
        """Whether no further attempt comes."""
        return self.deployment in ("Complete", "Failed", "ValidationFailed")

    @property
    def why(self) -> str:
        """What KubeRay says besides."""
        parts = [text(dig(self.tree, "status", field)) for field in ("reason", "message")]
        return ": ".join(part.strip() for part in parts if part.strip())

    @property
    def attempts(self) -> tuple[int, int]:
        """Which attempt this is, of how many."""
        failed, limit = dig(self.tree, "status", "failed"), dig(self.tree, "spec", "backoffLimit")
        most = limit + 1 if isinstance(limit, int) else 1
        return min(failed + 1 if isinstance(failed, int) else 1, most), most

    @property
    def workers(self) -> tuple[int, int] | None:
        """Ready and wanted ones; None before there is a cluster."""
        cluster = table(dig(self.tree, "status", "rayClusterStatus"))
        wanted = cluster.get("desiredWorkerReplicas")
        if not cluster.get("state") and wanted is None:
            return None
        ready = cluster.get("readyWorkerReplicas", 0)
        return (ready if isinstance(ready, int) else 0, wanted if isinstance(wanted, int) else 0)

    def folder(self, read: Reader) -> PurePosixPath | None:
        """Where the sweep writes, as its command says."""
        try:
            said = shlex.split(text(dig(self.tree, "spec", "entrypoint")))
        except ValueError:
            return None
        understood = read(said[1:]) if said[:1] == ["plastsearch"] else ""
        if not isinstance(understood, Command) or understood.name != "sweep":
            return None
        values = understood.values
        name = values.get("name") or PurePosixPath(str(values["space"])).stem
        return PurePosixPath(str(values["out"])) / str(name)


def job(name: str, namespace: str, timeout_s: float = kubectl.ANSWER_S) -> Status:
    """The RayJob of that name."""
    return Status(kubectl.get(["rayjobs.ray.io", name], namespace, timeout_s))


def place(name: str, namespace: str) -> Place | None:
    """A container that sees the folder: the head's while it runs, else the toolbox's."""
    for selector in (f"{SWEEP}={name},ray.io/node-type=head", TOOLBOX):
        for pod in rows(kubectl.get(["pods", "--selector", selector], namespace).get("items")):
            ready = {
                text(one.get("name"))
                for one in rows(dig(pod, "status", "containerStatuses"))
                if one.get("ready") is True
            }
            going = dig(pod, "metadata", "deletionTimestamp") is None
            first = text(dig(pod, "spec", "containers", 0, "name"))
            if going and first in ready:
                return Place(text(dig(pod, "metadata", "name")), first, namespace)
    return None


def some_place(name: str, namespace: str) -> Place:
    """The same, or what to do about it."""
    found = place(name, namespace)
    if found is None:
        start = f"kubectl scale deployment toolbox --replicas=1 --namespace {shlex.quote(namespace)}"
        raise PlastsearchError(
            f"nothing in namespace {namespace} sees the folder of {name}: its head has gone and no toolbox is ready; "
            f"start the toolbox ({start}) and try again"
        )
    return found


@dataclass(frozen=True)
class Happening:
    """An event of Kubernetes."""

    at: str
    kind: str
    about: str
    said: str

    def line(self, now: datetime) -> str:
        """One line, with how long ago it was."""
        return f"{_ago(self.at, now):>7}  {self.kind}  {self.about}: {self.said}"


def happenings(name: str, namespace: str, most: int = 5) -> list[Happening]:
    """The last events about a sweep's objects, the newest last."""
    found = []
    for event in rows(kubectl.get(["events"], namespace).get("items")):
        about = text(dig(event, "involvedObject", "name"))
        if about == name or about.startswith(f"{name}-"):
            at = text(event.get("lastTimestamp")) or text(event.get("eventTime")) or text(
                dig(event, "metadata", "creationTimestamp")
            )  # fmt: skip
            kind = f"{dig(event, 'involvedObject', 'kind')}/{about}"
            said = " ".join(text(event.get("message")).split())
            found.append(Happening(at, text(event.get("reason")), kind, said[:160]))
    return sorted(found, key=lambda one: one.at)[-most:]


def _ago(at: str, now: datetime) -> str:
    try:
        seconds = (now - datetime.fromisoformat(at.replace("Z", "+00:00"))).total_seconds()
    except (ValueError, TypeError):
        return ""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
