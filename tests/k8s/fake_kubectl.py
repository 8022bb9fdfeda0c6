"""A kubectl of answers written beforehand: Kubernetes cannot run here. `exec` runs its command on this machine."""

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

PROGRAM = f"""#!{sys.executable} -S
import json, os, sys, time
folder = os.path.dirname(os.path.abspath(__file__))
words = sys.argv[1:]
assert words[:1] == ["--namespace"], words
namespace, words = words[1], words[2:]
with open(folder + "/asked.jsonl", "a") as log:
    log.write(json.dumps([namespace, *words]) + "\\n")
asked = " ".join(words)
answers = json.load(open(folder + "/answers.json"))
for n, (begin, series) in enumerate(answers):
    if asked.startswith(begin):
        break
else:
    sys.exit("error: nobody wrote an answer to: " + asked)
counter = folder + "/count%d" % n
count = int(open(counter).read()) if os.path.exists(counter) else 0
open(counter, "w").write(str(count + 1))
answer = series[min(count, len(series) - 1)]
time.sleep(answer.get("sleep", 0))
if answer.get("run"):
    command = words[words.index("--") + 1:]
    os.execvp(command[0], command)
if "file" in answer:
    sys.stdout.buffer.write(open(answer["file"], "rb").read())
sys.stdout.write(json.dumps(answer["out"]) if "out" in answer else "")
sys.stderr.write(answer.get("err", ""))
sys.exit(answer.get("rc", 0))
"""

GONE = 'Error from server (NotFound): rayjobs.ray.io "w2v" not found'
FORBIDDEN = (
    'Error from server (Forbidden): rayjobs.ray.io "w2v" is forbidden: User "sam" cannot get resource "rayjobs" '
    'in API group "ray.io" in the namespace "plastsearch"'
)
REFUSED = "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?"


class FakeKubectl:
    """A folder for PATH; `answer` says what is printed for commands that begin so, call after call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._answers: list[tuple[str, list[dict[str, Any]]]] = []
        folder.mkdir()
        program = folder / "kubectl"
        program.write_text(PROGRAM)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def answer(self, begin: str, *series: dict[str, Any]) -> None:
        """The last of a series is said again and again; an earlier answer to the same beginning goes."""
        self._answers = [one for one in self._answers if one[0] != begin]
        self._answers.append((begin, list(series)))
        (self.folder / "answers.json").write_text(json.dumps(self._answers))

    def fail(self, begin: str, said: str, rc: int = 1) -> None:
        """A complaint."""
        self.answer(begin, {"err": said, "rc": rc})

    def asked(self) -> list[list[str]]:
        """Every call: the namespace, then the words."""
        return [json.loads(line) for line in (self.folder / "asked.jsonl").read_text().splitlines()]

    @property
    def path(self) -> str:
        """PATH with this kubectl first."""
        return f"{self.folder}{os.pathsep}{os.environ['PATH']}"


def rayjob(out: Path, job: str = "RUNNING", deployment: str = "Running", **status: Any) -> dict[str, Any]:
    """A RayJob as the API server shows it."""
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "w2v", "namespace": "plastsearch", "labels": {"plastsearch.io/sweep": "w2v"}},
        "spec": {
            "backoffLimit": 2,
            "entrypoint": f"plastsearch sweep /spaces/w2v_layers.yaml --name w2v --out {out} --resume --address auto",
        },
        "status": {
            "jobId": "w2v-x7k2p",
            "jobStatus": job,
            "jobDeploymentStatus": deployment,
            "rayClusterName": "w2v-9dkfm",
            "rayClusterStatus": {
                "state": "ready", "desiredWorkerReplicas": 4, "readyWorkerReplicas": 2, "maxWorkerReplicas": 8,
            },
            **status,
        },
    }  # fmt: skip


def pod(name: str, container: str, ready: bool = True) -> dict[str, Any]:
    """A Pod in a list."""
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": container}, {"name": "autoscaler"}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "autoscaler", "ready": True}, {"name": container, "ready": ready}],
        },
    }


def listed(*items: dict[str, Any]) -> dict[str, Any]:
    """A list as the API server gives it."""
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def event(at: str, about: str, reason: str, said: str) -> dict[str, Any]:
    """An event of a Pod."""
    return {
        "metadata": {"creationTimestamp": at}, "lastTimestamp": at, "reason": reason, "message": said,
        "involvedObject": {"kind": "Pod", "name": about},
    }  # fmt: skip
