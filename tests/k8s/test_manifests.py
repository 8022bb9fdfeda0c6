"""Every rendered manifest is valid, refers to things that exist, runs a command that exists, is closed by default."""

import re
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import plastsearch
from plastsearch.execute.autoscaler import GROUPS, declared_groups
from tests.rendering import (
    COMPONENTS,
    K8S,
    OVERLAYS,
    ROOT,
    Document,
    containers,
    environment,
    groups,
    of_kind,
    one,
    pod_templates,
    render,
    selects,
    walk,
)

ALL = ["platform", "sweep", ".", *(f"overlays/{name}" for name in OVERLAYS)]
SWEEPS = [name for name in ALL if name != "platform"]
EVERYTHING = "with every component"
CUSTOM = {"RayJob", "PodMonitor", "PrometheusRule"}
QUANTITY = re.compile(r"(\d+(\.\d+)?)(m|[KMGT]i?)?")
FILES = [*K8S.rglob("*.yaml"), ROOT / "search_spaces" / "Kustomization"]


@pytest.fixture
def documents(name: str, scratch: Callable[..., Path]) -> list[Document]:
    if name != EVERYTHING:
        return render(K8S / name)
    return render(scratch(resources=["."], components=[f"components/{component}" for component in COMPONENTS]))


class UniqueKeys(yaml.SafeLoader):
    """Refuses a key given twice, which plain YAML loaders let pass."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
    keys = [key.value for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"line {node.start_mark.line + 1}: a key is given twice"
    return loader.construct_mapping(node, deep=True)


UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_key_is_given_twice(file: Path) -> None:
    assert list(yaml.load_all(file.read_text(), Loader=UniqueKeys))


def test_every_file_is_used_by_the_kustomization_beside_it() -> None:
    listed = set()
    for file in K8S.rglob("kustomization.yaml"):
        said = yaml.safe_load(file.read_text())
        names = [*said.get("resources", ()), *said.get("configurations", ())]
        names += [patch["path"] for patch in said.get("patches", ()) if "path" in patch]
        names += [name for made in said.get("configMapGenerator", ()) for name in made["files"]]
        listed |= {(file.parent / name.split("=")[-1]).resolve() for name in names}
    there = {file for kind in ("*.yaml", "*.ini", "*.json") for file in K8S.rglob(kind)}
    assert {file for file in there - listed if file.name != "kustomization.yaml"} == set()


@pytest.mark.parametrize("name", [*ALL, EVERYTHING])
def test_core_kinds_follow_the_published_schemas(name: str, documents: list[Document]) -> None:
    import kubernetes_validate

    for document in documents:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", [*ALL, EVERYTHING])
def test_quantities_can_be_read(name: str, documents: list[Document]) -> None:
    for document in documents:
        for key, value in walk(document):
            if key in ("limits", "requests") and isinstance(value, dict):
                assert all(QUANTITY.fullmatch(str(amount)) for amount in value.values()), value


@pytest.mark.parametrize("name", [*ALL, EVERYTHING])
def test_words_are_those_of_the_api(name: str, documents: list[Document]) -> None:
    """The published schemas say that these are texts, not which."""
    known = {
        "accessModes": {"ReadWriteOnce", "ReadWriteMany"},
        "restartPolicy": {"OnFailure"},
        "protocol": {"TCP", "UDP"},
        "policyTypes": {"Ingress", "Egress"},
        "fsGroupChangePolicy": {"OnRootMismatch"},
        "preemptionPolicy": {"Never"},
        "effect": {"NoSchedule"},
    }
    for document in documents:
        for key, value in walk(document):
            if key in known:
                assert set([value] if isinstance(value, str) else value) <= known[key], f"{key}: {value}"


@pytest.mark.parametrize("name", SWEEPS)
def test_the_ray_job_follows_the_operators_rules(name: str) -> None:
    job = one(render(K8S / name), "RayJob")
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode", "SidecarMode")
    assert spec["backoffLimit"] == 2, "each is a new cluster, for what another one may mend"
    assert spec["shutdownAfterJobFinishes"] or not spec["ttlSecondsAfterFinished"]
    assert cluster["authOptions"] == {"mode": "token"}
    queued = "kueue.x-k8s.io/queue-name" in job["metadata"]["labels"]
    assert cluster["enableInTreeAutoscaling"] is not queued, "Kueue reserves a fixed size"
    assert queued or cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0", "trials must not land on the head"
    for group in cluster["workerGroupSpecs"]:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert not queued or group["minReplicas"] == group["maxReplicas"]
        assert "num-gpus" not in group["rayStartParams"], "KubeRay reads the GPU count from the limits"
    assert len(job["metadata"]["name"]) <= 47, "KubeRay puts more behind it"


@pytest.mark.parametrize("name", SWEEPS)
def test_name_references_reach_every_place_where_a_name_may_stand(name: str, scratch: Path) -> None:
    """Names of generated objects, in volumes and environments of the head and of each worker group."""
    job = one(render(K8S / name), "RayJob")
    assert of_kind(render(K8S / name), "ConfigMap")
    heads = ["headGroupSpec", *(f"workerGroupSpecs/{i}" for i in range(len(groups(job)) - 1))]
    added = []
    for head in heads:
        spec = f"/spec/rayClusterSpec/{head}/template/spec"
        env = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "made", "key": "a"}}}
        secret = {"name": "B", "valueFrom": {"secretKeyRef": {"name": "made", "key": "a"}}}
        both = [{"configMapRef": {"name": "made"}}, {"secretRef": {"name": "made"}}]
        added += [
            {"op": "add", "path": f"{spec}/containers/0/env/-", "value": env},
            {"op": "add", "path": f"{spec}/containers/0/env/-", "value": secret},
            {"op": "add", "path": f"{spec}/containers/0/envFrom", "value": both},
            {"op": "add", "path": f"{spec}/volumes/-", "value": {"name": "m", "secret": {"secretName": "made"}}},
            {"op": "add", "path": f"{spec}/volumes/-", "value": {"name": "n", "configMap": {"name": "made"}}},
        ]
    made = [{"name": "made", "literals": ["a=b"]}]
    folder = scratch(
        resources=[name], configMapGenerator=made, secretGenerator=made, namespace="plastsearch",
        patches=[{"target": {"kind": "RayJob"}, "patch": yaml.safe_dump(added)}],
    )  # fmt: skip
    documents = render(folder)
    job = one(documents, "RayJob")
    names = {d["metadata"]["name"] for d in documents if d["metadata"]["name"].startswith("made-")}
    assert len(names) >= 1
    used = [value for _, value in walk(job) if isinstance(value, str) and re.fullmatch(r"made(-\w+)?", value)]
    assert len(used) == 6 * len(heads)
    assert set(used) == names


@pytest.mark.parametrize("name", SWEEPS)
def test_every_space_is_mounted_where_it_lies_in_the_repository(name: str) -> None:
    folder = ROOT / "search_spaces"
    spaces = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.yaml")}
    documents = render(K8S / name)
    for group in groups(one(documents, "RayJob")):
        (volume,) = [v for v in group["template"]["spec"]["volumes"] if v["name"] == "spaces"]
        data = one(documents, "ConfigMap", volume["configMap"]["name"])["data"]
        assert {item["path"]: data[item["key"]] for item in volume["configMap"]["items"]} == spaces
        assert sum(map(len, data.values())) < 2**19, "a ConfigMap holds 1 MiB, and kubectl keeps a copy in a note"


@pytest.mark.parametrize("name", ALL)
def test_versions_agree(name: str) -> None:
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    documents = render(K8S / name)
    for job in of_kind(documents, "RayJob"):
        assert job["spec"]["rayClusterSpec"]["rayVersion"] == pins["ray"]
    images = {container["image"] for _, template in pod_templates(documents) for container in containers(template)}
    version = plastsearch.__version__
    assert images <= {f"plastsearch:{version}", f"plastsearch-gpu:{version}"}


@pytest.mark.parametrize("name", SWEEPS)
def test_the_entrypoint_is_a_command_that_exists(name: str) -> None:
    from plastsearch.cli.main import app

    documents = render(K8S / name)
    job = one(documents, "RayJob")
    program, command, space, *flags = shlex.split(job["spec"]["entrypoint"])
    assert program == "plastsearch"
    head = groups(job)[0]["template"]["spec"]
    mounts = {mount["mountPath"]: mount["name"] for mount in head["containers"][0]["volumeMounts"]}
    (volume,) = [v for v in head["volumes"] if v["name"] == mounts["/spaces"]]
    assert space.removeprefix("/spaces/") in {item["path"] for item in volume["configMap"]["items"]}
    given = dict(pairwise(flags))
    assert given["--out"] in mounts
    assert given["--name"] == job["metadata"]["labels"]["plastsearch.io/sweep"] == job["metadata"]["name"]
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert [flag for flag in flags if flag.startswith("--") and flag not in shown] == []


@pytest.mark.parametrize("name", [*ALL, EVERYTHING])
def test_pods_are_restricted(name: str, documents: list[Document]) -> None:
    for who, template in pod_templates(documents):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"], who
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", who
        assert pod["enableServiceLinks"] is False, who
        if "fsGroup" in pod["securityContext"]:
            assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch", who
        assert {next(iter(volume.keys() - {"name"})) for volume in pod.get("volumes", ())} <= {
            "configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected",
        }, who  # fmt: skip
        for container in containers(template):
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, who
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, who
            assert container["resources"]["limits"]["memory"], "without a limit Ray takes the whole node's memory"
            assert container["resources"]["requests"]["ephemeral-storage"], who
    for job in of_kind(documents, "RayJob"):
        for key, value in walk(job["spec"]["rayClusterSpec"].get("autoscalerOptions", {})):
            if key == "securityContext":
                assert value["capabilities"] == {"drop": ["ALL"]}
                assert value["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("name", [*ALL, EVERYTHING])
def test_only_heads_and_the_maker_of_secrets_hold_a_token(name: str, documents: list[Document]) -> None:
    accounts = {account["metadata"]["name"]: account for account in of_kind(documents, "ServiceAccount")}
    holding = {
        who.split()[1]
        for who, template in pod_templates(documents)
        if template["spec"].get("automountServiceAccountToken", True)
        and accounts[template["spec"]["serviceAccountName"]].get("automountServiceAccountToken", True)
    }
    heads = {f"{job['metadata']['name']}:" for job in of_kind(documents, "RayJob")}
    assert holding <= heads | {"mlflow-credentials", "postgres-credentials"}
    for role in of_kind(documents, "Role"):
        assert role["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]


@pytest.mark.parametrize("name", [*ALL, EVERYTHING])
def test_names_within_an_object_lead_somewhere(name: str, documents: list[Document]) -> None:
    """Mounts to volumes, probes and Services to ports, selectors to labels."""
    for who, template in pod_templates(documents):
        volumes = {volume["name"] for volume in template["spec"].get("volumes", ())}
        assert len(volumes) == len(template["spec"].get("volumes", ())), who
        for container in containers(template):
            mounts = container.get("volumeMounts", ())
            assert {mount["name"] for mount in mounts} <= volumes, who
            assert len({mount["mountPath"] for mount in mounts}) == len(mounts), who
            ports = {port["name"] for port in container.get("ports", ())}
            for probe in "startupProbe", "readinessProbe", "livenessProbe":
                assert container.get(probe, {}).get("httpGet", {}).get("port") in {None, *ports}, who
                if "httpGet" in container.get(probe, {}) and probe != "startupProbe":  # which is asked 60 times
                    assert container[probe]["timeoutSeconds"] >= 5, f"{who}: a busy server answers late"
    served = [document for document in documents if document["kind"] in ("Deployment", "StatefulSet")]
    for document in served:
        assert selects(document["spec"]["selector"], document["spec"]["template"]["metadata"]["labels"])
    for service in of_kind(documents, "Service"):
        wanted = {"matchLabels": service["spec"]["selector"]}
        templates = [document["spec"]["template"] for document in served]
        (pod,) = [template for template in templates if selects(wanted, template["metadata"]["labels"])]
        there = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= there


@pytest.mark.parametrize("name", SWEEPS)
def test_the_driver_is_told_what_its_worker_groups_may_bring(name: str) -> None:
    """An empty cluster shows nothing but its head: what is declared must be what the same manifest may start."""
    cluster = one(render(K8S / name), "RayJob")["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert head["env"][0]["name"] == GROUPS, "overlays replace it by its place"
    declared = declared_groups({GROUPS: head["env"][0]["value"]})
    assert len(declared) == len(cluster["workerGroupSpecs"])
    for kind, group in zip(declared, cluster["workerGroupSpecs"], strict=True):
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        given = {"CPU": float(limits["cpu"]), "memory": float(limits["memory"].removesuffix("Gi")) * 2**30}
        if "nvidia.com/gpu" in limits:
            given["GPU"] = float(limits["nvidia.com/gpu"])
        assert (dict(kind.resources), kind.count) == (given, group["maxReplicas"])


@pytest.mark.parametrize("name", SWEEPS)
def test_nobody_tidies_up_pods_that_work(name: str) -> None:
    for group in groups(one(render(K8S / name), "RayJob")):
        notes = group["template"]["metadata"]["annotations"]
        assert notes["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
        assert notes["karpenter.sh/do-not-disrupt"] == "true"


def test_mlflow_asks_for_a_password_by_a_file_that_is_mounted() -> None:
    documents = render(K8S / "platform")
    pod = one(documents, "Deployment", "mlflow")["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    assert "--app-name=basic-auth" in server["args"]
    file = Path(environment(server, "other")["MLFLOW_AUTH_CONFIG_PATH"])
    (mount,) = [mount for mount in server["volumeMounts"] if mount["mountPath"] == str(file.parent)]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
    assert file.name in one(documents, "ConfigMap", volume["configMap"]["name"])["data"]


@pytest.mark.parametrize("name", SWEEPS)
def test_folders_of_the_environment_are_mounted(name: str) -> None:
    for who, template in pod_templates([one(render(K8S / name), "RayJob")]):
        (container,) = template["spec"]["containers"]
        seen = environment(container, "plastsearch")
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        for folder, volume in ("PLASTSEARCH_CLIPS", "results"), ("HF_HOME", "results"), ("PLASTSEARCH_CACHE", "cache"):
            (mount,) = [path for path in mounts if Path(seen[folder]).is_relative_to(path)]
            assert mounts[mount] == volume, who
        kept = float(seen["PLASTSEARCH_CACHE_MAX_GB"]) * 1e9
        limit = float(volumes["cache"]["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 2**30
        room = float(container["resources"]["requests"]["ephemeral-storage"].removesuffix("Gi")) * 2**30
        assert kept < limit
        assert kept < room, who


def test_nothing_of_a_sweep_is_in_the_platform() -> None:
    assert of_kind(render(K8S / "platform"), "RayJob") == []
    assert {d["kind"] for d in render(K8S / "sweep")} == {"ServiceAccount", "NetworkPolicy", "RayJob", "ConfigMap"}
    assert all("plastsearch.io/sweep" in document["metadata"]["labels"] for document in render(K8S / "sweep"))


def test_components_are_known() -> None:
    assert COMPONENTS == ["monitoring", "postgres", "priority"]
