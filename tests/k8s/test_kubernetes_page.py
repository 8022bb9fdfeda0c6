"""What docs/kubernetes.md tells people to write and to type leads to objects that exist."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.rendering import COMPONENTS, K8S, OVERLAYS, ROOT, SWEEP, of_kind, one, render, selects

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
FILES = dict(re.findall(r"```yaml\n# (\S+\.yaml).*\n((?:.+\n)+?)```", PAGE))
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
SHORT = {"sa": "ServiceAccount", "netpol": "NetworkPolicy", "cm": "ConfigMap"}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A checkout in which somebody wrote what the page shows."""
    shutil.copytree(K8S, tmp_path / "k8s")
    shutil.copytree(ROOT / "search_spaces", tmp_path / "search_spaces")
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_clusters_own_values_reach_the_platform(folders: Path) -> None:
    documents = render(folders / "cluster")
    claims = {d["metadata"]["name"]: d["spec"] for d in of_kind(documents, "PersistentVolumeClaim")}
    assert {name: spec["storageClassName"] for name, spec in claims.items()} == {
        "results": "shared-nfs", "corpora": "shared-nfs", "mlflow": "fast-disk", "postgres": "fast-disk",
    }  # fmt: skip
    assert claims["results"]["resources"]["requests"]["storage"] == "1Ti"
    assert one(documents, "ResourceQuota")["spec"]["hard"]["requests.nvidia.com/gpu"] == "64"
    assert all(d["metadata"].get("namespace", "speech") == "speech" for d in documents)


def test_another_sweep_is_another_folder(folders: Path) -> None:
    job = one(render(folders / "resnet"), "RayJob")
    assert job["metadata"]["labels"][SWEEP] == job["metadata"]["name"] == "resnet-w2v-layers"
    assert "/spaces/resnet_stages.yaml --name resnet " in job["spec"]["entrypoint"]
    images = re.findall(r"image: (\S+)", yaml.safe_dump(job))
    assert {image.rpartition("/")[0] for image in images} == {"registry.example.org/speech"}


def test_the_budget_finds_the_head_under_its_new_name(folders: Path) -> None:
    import kubernetes_validate

    file = folders / "resnet" / "kustomization.yaml"
    said = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**said, "resources": [*said["resources"], "budget.yaml"]}))
    documents = render(folders / "resnet")
    budget = one(documents, "PodDisruptionBudget")
    kubernetes_validate.validate(budget, kubernetes_validate.latest_version(), strict=True)
    assert budget["spec"]["minAvailable"] == 1
    assert "maxUnavailable" not in budget["spec"]
    assert selects(budget["spec"]["selector"], {SWEEP: "resnet-w2v-layers", "ray.io/node-type": "head"})


def test_commands_name_what_exists() -> None:
    everything = [d for name in (".", "overlays/dev", "components/postgres") for d in render_or_read(name)]
    there = {f"{d['kind'].lower()}/{d['metadata']['name']}" for d in everything} | {"secret/mlflow"}
    text = "\n".join([*COMMANDS, *re.findall(r"`(kubectl [^`]*)`", PAGE)])
    named = re.findall(r"\b(deployment|secret|service|statefulset|rayjob)[/ ]([a-z][a-z0-9-]*)", text)
    assert len(named) >= 6
    assert {f"{kind}/{name}" for kind, name in named} - there == set()
    for folder in re.findall(r"kubectl apply -k (k8s\S*)", text):
        assert (ROOT / folder / "kustomization.yaml").is_file()
    for label in re.findall(r"-l (\S+=\S+)", text):
        key, value = label.rstrip("`").split("=")
        assert f"'{key}': '{value}'" in str(everything)


def render_or_read(name: str) -> list[dict[str, object]]:
    if name.startswith("components/"):  # a component stands on the platform
        return [d for file in (K8S / name).glob("postgres.yaml") for d in yaml.safe_load_all(file.read_text())]
    return render(K8S / name)


def test_every_kind_of_a_sweep_is_deleted_by_its_label() -> None:
    (command,) = re.findall(r"delete (rayjob,\S+) -l plastsearch.io/sweep", PAGE)
    listed = {SHORT.get(short, short).lower() for short in command.split(",")}
    assert listed == {d["kind"].lower() for d in render(K8S / "sweep")}


def test_every_overlay_and_component_is_told_of() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert rows == {*OVERLAYS, *COMPONENTS}
