"""Every manifest is valid, refers to things that exist, runs a command that exists, and is closed by default."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import plastsearch
from plastsearch.execute.autoscaler import GROUPS, declared_groups

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
CORE_KINDS = {"Namespace", "ServiceAccount", "PersistentVolumeClaim", "Deployment", "Service", "NetworkPolicy"}
QUANTITY = re.compile(r"(\d+(\.\d+)?)(m|[KMGT]i?)?")


class UniqueKeys(yaml.SafeLoader):
    """Refuses a key given twice, which plain YAML loaders let pass."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
    keys = [key.value for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"line {node.start_mark.line + 1}: a key is given twice"
    return loader.construct_mapping(node, deep=True)


UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def documents() -> list[dict[str, Any]]:
    listed = yaml.safe_load((K8S / "kustomization.yaml").read_text())["resources"]
    files = [K8S / name for name in listed if name.endswith(".yaml")]
    return [doc for file in files for doc in yaml.load_all(file.read_text(), Loader=UniqueKeys)]


def one(kind: str) -> dict[str, Any]:
    (document,) = [doc for doc in documents() if doc["kind"] == kind]
    return document


def pods() -> list[dict[str, Any]]:
    cluster = one("RayJob")["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups] + [one("Deployment")["spec"]["template"]["spec"]]


def walk(node: Any) -> Iterator[tuple[str, Any]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield str(key), value
        yield from walk(value)


def test_every_manifest_file_is_listed() -> None:
    known = {"kustomization.yaml", "name-references.yaml"}
    files = {file.name for file in K8S.glob("*.yaml")} - known
    assert files == {
        name for name in yaml.safe_load((K8S / "kustomization.yaml").read_text())["resources"] if "/" not in name
    }


@pytest.mark.parametrize("document", documents(), ids=lambda doc: f"{doc['kind']}-{doc['metadata']['name']}")
def test_core_kinds_follow_the_published_schemas(document: dict[str, Any]) -> None:
    import kubernetes_validate

    if document["kind"] not in CORE_KINDS:
        assert document["kind"] == "RayJob"
        return
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_quantities_can_be_read() -> None:
    for document in documents():
        for key, value in walk(document):
            if key in ("limits", "requests"):
                assert all(QUANTITY.fullmatch(str(amount)) for amount in value.values()), value


def test_the_ray_job_follows_the_operators_rules() -> None:
    spec = one("RayJob")["spec"]
    cluster = spec["rayClusterSpec"]
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode", "SidecarMode")
    assert spec["shutdownAfterJobFinishes"] or not spec["ttlSecondsAfterFinished"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0", "trials must not land on the head"
    for group in cluster["workerGroupSpecs"]:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert "num-gpus" not in group["rayStartParams"], "KubeRay reads the GPU count from the limits"


def test_what_is_referred_to_exists() -> None:
    docs = documents()
    names = {(doc["kind"], doc["metadata"]["name"]) for doc in docs}
    names |= {("ConfigMap", item["name"]) for item in _space_generator()["configMapGenerator"]}
    for document in docs:
        for key, value in walk(document):
            if key == "claimName":
                assert ("PersistentVolumeClaim", value) in names
            if key == "serviceAccountName":
                assert ("ServiceAccount", value) in names
            if key == "configMap":
                assert ("ConfigMap", value["name"]) in names


def test_name_references_reach_the_config_map() -> None:
    (reference,) = yaml.safe_load((K8S / "name-references.yaml").read_text())["nameReference"]
    for field in reference["fieldSpecs"]:
        nodes = [one(field["kind"])]
        for step in field["path"].split("/"):
            nodes = [deeper for node in nodes for deeper in _down(node, step)]
        assert nodes, f"{field['path']} leads nowhere"


def _down(node: Any, step: str) -> list[Any]:
    if isinstance(node, list):
        return [deeper for item in node for deeper in _down(item, step)]
    return [node[step]] if step in node else []


def _space_generator() -> dict[str, Any]:
    generator: dict[str, Any] = yaml.safe_load((ROOT / "search_spaces" / "Kustomization").read_text())
    return generator


def test_the_config_map_holds_files_that_exist() -> None:
    (generator,) = _space_generator()["configMapGenerator"]
    assert all((ROOT / "search_spaces" / name).is_file() for name in generator["files"])


def test_versions_agree() -> None:
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert one("RayJob")["spec"]["rayClusterSpec"]["rayVersion"] == pins["ray"]
    assert f"rayproject/ray:{pins['ray']}-" in (K8S / "Dockerfile").read_text()
    images = {container["image"] for pod in pods() for container in pod["containers"]}
    assert images == {f"plastsearch:{plastsearch.__version__}"}


def test_the_entrypoint_is_a_command_that_exists() -> None:
    from plastsearch.cli.main import app

    program, command, space, *flags = shlex.split(one("RayJob")["spec"]["entrypoint"])
    assert program == "plastsearch"
    generator = _space_generator()["configMapGenerator"][0]
    assert Path(space).name in generator["files"]
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert [flag for flag in flags if flag.startswith("--") and flag not in shown] == []


def test_pods_are_restricted() -> None:
    for pod in pods():
        context = pod["securityContext"]
        assert context["runAsNonRoot"]
        assert context["seccompProfile"]["type"] == "RuntimeDefault"
        for container in pod["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["resources"]["limits"]["memory"], "without a limit Ray takes the whole node's memory"


def test_dockerfile_copies_what_exists() -> None:
    for line in re.findall(r"^COPY(?: --\S+)* (.+)$", (K8S / "Dockerfile").read_text(), re.MULTILINE):
        *sources, _ = line.split()
        assert all((ROOT / source).exists() for source in sources), line


def test_the_driver_is_told_what_its_worker_groups_may_bring() -> None:
    """An empty cluster shows nothing but its head: what is declared must be what the same manifest may start."""
    cluster = one("RayJob")["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    environment = {entry["name"]: entry.get("value") for entry in head["env"]}
    declared = declared_groups({GROUPS: environment[GROUPS]})
    assert len(declared) == len(cluster["workerGroupSpecs"])
    for kind, group in zip(declared, cluster["workerGroupSpecs"], strict=True):
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        given = {
            "CPU": float(limits["cpu"]), "GPU": float(limits["nvidia.com/gpu"]),
            "memory": float(limits["memory"].removesuffix("Gi")) * 2**30,
        }  # fmt: skip
        assert (dict(kind.resources), kind.count) == (given, group["maxReplicas"])
