"""Another prefix, namespace and registry: whatever is referred to is still there, in every overlay."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from plastsearch.kubernetes.credentials import KINDS
from plastsearch.kubernetes.ray_rules import DRAIN_S
from tests.rendering import (
    COMPONENTS,
    K8S,
    OVERLAYS,
    SWEEP,
    Document,
    containers,
    environment,
    expanded,
    groups,
    labels_of,
    of_kind,
    one,
    pod_templates,
    render,
    selects,
    walk,
)

pytestmark = pytest.mark.slow  # three hundred renderings

Scratch = Callable[..., Path]
IMAGES = [
    {"name": name, "newName": f"registry.example.org/team/{name}", "newTag": "2"}
    for name in ("plastsearch", "plastsearch-gpu")
]
WITH_PLATFORM = {"dev", "s3"}  # these bring it along; the others stand on one that is there


def moved(scratch: Scratch, *names: str, components: tuple[str, ...] = ()) -> list[Document]:
    used = [f"components/{name}" for name in components]
    return render(scratch(resources=names, components=used, namePrefix="a-", namespace="other", images=IMAGES))


def whole(scratch: Scratch, overlay: str, components: tuple[str, ...] = ()) -> list[Document]:
    names = [f"overlays/{overlay}"] if overlay in WITH_PLATFORM else ["platform", f"overlays/{overlay}"]
    return moved(scratch, *names, components=components)


def made_secrets(documents: list[Document]) -> dict[str, set[str]]:
    """The keys of Secrets that a Job of these documents makes, and of the one that a person does for S3."""
    jobs = [job["spec"]["template"]["spec"]["containers"][0] for job in of_kind(documents, "Job")]
    asked = [job["args"] for job in jobs if job["command"][-1] == "plastsearch.kubernetes.credentials"]
    return {name: set(KINDS[kind]()) for kind, name in asked} | {"s3": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}}


def dangling(documents: list[Document]) -> list[str]:
    """References to objects that are not among `documents`."""
    there = {(document["kind"], document["metadata"]["name"]) for document in documents}
    there |= {("Secret", name) for name in made_secrets(documents)}
    wanted = []
    for document in documents:
        for key, value in walk(document):
            if key == "claimName":
                wanted.append(("PersistentVolumeClaim", value))
            elif key in ("serviceAccountName", "priorityClassName"):
                wanted.append(({"s": "ServiceAccount", "p": "PriorityClass"}[key[0]], value))
            elif key == "serviceName" and document["kind"] == "StatefulSet":
                wanted.append(("Service", value))
            elif key in ("configMap", "configMapKeyRef", "configMapRef"):
                wanted.append(("ConfigMap", value["name"]))
            elif key in ("secretKeyRef", "secretRef"):
                wanted.append(("Secret", value["name"]))
            elif key == "roleRef" or (key == "subjects" and (value := value[0])):
                wanted.append((value["kind"], value["name"]))
    assert wanted
    return [f"{kind} {name}" for kind, name in wanted if (kind, name) not in there]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("components", [(), tuple(COMPONENTS)], ids=["plain", "components"])
def test_a_prefix_reaches_every_reference(scratch: Scratch, overlay: str, components: tuple[str, ...]) -> None:
    documents = whole(scratch, overlay, components)
    assert dangling(documents) == []
    names = [document["metadata"]["name"] for document in documents if document["kind"] != "Namespace"]
    assert [name for name in names if not name.startswith("a-")] == []
    identities = [(d["kind"], d["metadata"]["name"]) for d in documents]
    assert len(identities) == len(set(identities))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_keys_of_secrets_are_those_that_are_made(scratch: Scratch, overlay: str) -> None:
    documents = whole(scratch, overlay, ("postgres",))
    secrets = made_secrets(documents)
    used = [value for document in documents for key, value in walk(document) if key == "secretKeyRef"]
    assert {secret["name"] for secret in used} >= {"mlflow", "postgres"}
    for secret in used:
        assert secret["key"] in secrets[secret["name"]], secret


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_sweep_alone_refers_to_the_platform_that_is_there(scratch: Scratch, overlay: str) -> None:
    """A prefix on a sweep renames the sweep, and leaves what is the platform's where it is."""
    if overlay in WITH_PLATFORM:
        assert of_kind(render(K8S / "overlays" / overlay), "Namespace")
        return
    platform = render(scratch(resources=["platform"], namespace="other"))
    assert dangling([*platform, *moved(scratch, f"overlays/{overlay}")]) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("components", [(), ("postgres",)], ids=["plain", "postgres"])
def test_addresses_follow_services_and_the_namespace(
    scratch: Scratch, overlay: str, components: tuple[str, ...]
) -> None:
    documents = whole(scratch, overlay, components)
    ports = {s["metadata"]["name"]: [p["port"] for p in s["spec"]["ports"]] for s in of_kind(documents, "Service")}
    called = set()
    for who, template in pod_templates(documents):
        for container in containers(template):
            seen = environment(container, "other")
            said = [*seen.values(), *(expanded(a, seen) for a in container.get("args", ()))]
            assert [text for text in said if "$(" in text] == [], who
            for host, port in re.findall(r"(?:http://|@)([a-z0-9.-]+):(\d+)", " ".join(said)):
                assert int(port) in ports[host], f"{who} calls {host}:{port}"
                called.add(host)
            if "MLFLOW_SERVER_ALLOWED_HOSTS" in seen:
                served = {
                    f"a-mlflow{domain}:5000" for domain in ("", ".other", ".other.svc", ".other.svc.cluster.local")
                }
                assert set(seen["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")) == served | {"localhost:*"}
    assert called == {"a-mlflow", *(f"a-{name}" for name in components)}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_and_policies_select_pods_that_exist(scratch: Scratch, overlay: str) -> None:
    documents = whole(scratch, overlay, ("postgres",))
    labels = [labels_of(template, who.endswith(": head")) for who, template in pod_templates(documents)]
    for policy in of_kind(documents, "NetworkPolicy"):
        selectors = [policy["spec"]["podSelector"]]
        for rule in [*policy["spec"].get("ingress", ()), *policy["spec"].get("egress", ())]:
            peers = [*rule.get("from", ()), *rule.get("to", ())]
            selectors += [peer["podSelector"] for peer in peers if "namespaceSelector" not in peer]
        for selector in selectors:
            assert any(selects(selector, one) for one in labels), f"{policy['metadata']['name']}: {selector}"
    for service in of_kind(documents, "Service"):
        wanted = {"matchLabels": service["spec"]["selector"]}
        assert sum(selects(wanted, one) for one in labels) == 1, service["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_and_namespace_reach_every_object(scratch: Scratch, overlay: str) -> None:
    documents = whole(scratch, overlay, tuple(COMPONENTS))
    images = {c["image"] for _, template in pod_templates(documents) for c in containers(template)}
    assert {image for image in images if not image.startswith("registry.example.org/team/plastsearch")} == {
        "postgres:17"
    }
    everywhere = {"Namespace", "PriorityClass"}
    assert all(d["metadata"]["namespace"] == "other" for d in documents if d["kind"] not in everywhere)
    assert [d["metadata"]["name"] for d in of_kind(documents, "Namespace")] == ["other"]
    assert "plastsearch.svc" not in str(documents)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_sweeps_are_kept_from_each_other(scratch: Scratch, overlay: str) -> None:
    """Two sweeps of one overlay share no object of theirs, and no Pod of the one may call a Pod of the other."""
    sweeps = []
    for prefix in "a-", "b-":
        made = render(scratch(resources=[f"overlays/{overlay}"], namePrefix=prefix, namespace="other"))
        sweeps.append([d for d in made if SWEEP in d["metadata"].get("labels", {})])
    ours, theirs = ({(d["kind"], d["metadata"]["name"]) for d in made} for made in sweeps)
    assert ours
    assert ours & theirs == set()
    pods = [
        [labels_of(group["template"], "groupName" not in group) for group in groups(one(made, "RayJob"))]
        for made in sweeps
    ]
    (policy,) = of_kind(sweeps[0], "NetworkPolicy")
    assert all(selects(policy["spec"]["podSelector"], pod) for pod in pods[0])
    assert not any(selects(policy["spec"]["podSelector"], pod) for pod in pods[1])
    opened = [peer for rule in policy["spec"]["ingress"] for peer in rule["from"]]
    from_here = [peer["podSelector"] for peer in opened if "namespaceSelector" not in peer]
    for group in pods[0]:
        assert any(selects(selector, group) for selector in from_here)
    for peer in opened:
        assert not any(selects(peer["podSelector"], pod) for pod in pods[1])


def test_who_may_call_the_ports_of_ray() -> None:
    (policy,) = of_kind(render(K8S / "sweep"), "NetworkPolicy")
    outside = {
        (str(peer["podSelector"]["matchLabels"]), tuple(port["port"] for port in rule["ports"]))
        for rule in policy["spec"]["ingress"]
        for peer in rule["from"]
        if peer.get("namespaceSelector") == {}
    }
    assert outside == {
        ("{'app.kubernetes.io/component': 'kuberay-operator'}", (8265,)),
        ("{'app.kubernetes.io/name': 'prometheus'}", (8080,)),
    }


def group(job: Document, name: str) -> Document:
    (found,) = [group for group in groups(job) if group.get("groupName") == name]
    return found


def test_spot_workers_are_gpu_workers_on_other_nodes() -> None:
    job = one(render(K8S / "overlays" / "spot"), "RayJob")
    gpu, spot = (dict(group(job, name)["template"]["spec"]) for name in ("gpu", "spot"))
    from ray._private.ray_constants import RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S

    from plastsearch.execute.ray_notice import ASK_S

    waits = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
    container = spot["containers"][0]
    drain = float(environment(container, "other")[waits])
    container["env"] = [entry for entry in container["env"] if entry["name"] != waits]
    assert ASK_S < drain < spot.pop("terminationGracePeriodSeconds") <= 30
    assert RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S == DRAIN_S
    assert gpu.pop("terminationGracePeriodSeconds") > RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S
    assert spot.pop("nodeSelector")
    extra = [toleration for toleration in spot.pop("tolerations") if toleration not in gpu.pop("tolerations", [])]
    assert extra
    assert spot == gpu
    assert group(job, "spot")["priority"] > group(job, "gpu").get("priority", 0)


def test_a_cluster_of_fixed_size_has_time_to_come() -> None:
    queued, grows = (one(render(K8S / "overlays" / name), "RayJob")["spec"] for name in ("kueue", "gpu"))
    assert queued["preRunningDeadlineSeconds"] >= 4 * grows["preRunningDeadlineSeconds"]
    assert queued["preRunningDeadlineSeconds"] < queued["activeDeadlineSeconds"]


def test_trials_run_with_what_groups_say_beside_each_other() -> None:
    """Groups differ in image, size and nodes, and in nothing that a trial's outcome could rest on."""
    for overlay in OVERLAYS:
        seen = []
        for entry in groups(one(render(K8S / "overlays" / overlay), "RayJob"))[1:]:
            found = environment(entry["template"]["spec"]["containers"][0], "other")
            own = {"PLASTSEARCH_CACHE_MAX_GB", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"}
            seen.append({name: value for name, value in found.items() if name not in own})
        assert all(one == seen[0] for one in seen)


def test_the_quota_holds_what_an_overlay_may_ask_for() -> None:
    hard = one(render(K8S / "platform"), "ResourceQuota")["spec"]["hard"]
    for overlay in OVERLAYS:
        gpus = sum(
            int(entry["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0))
            * entry["maxReplicas"]
            for entry in groups(one(render(K8S / "overlays" / overlay), "RayJob"))[1:]
        )
        assert gpus <= int(hard["requests.nvidia.com/gpu"]), overlay


def test_hello_world_asks_for_little_and_for_no_gpu() -> None:
    documents = render(K8S / "overlays" / "dev")
    cpu = 0.0
    for _, template in pod_templates(documents):
        for container in template["spec"]["containers"]:
            assert "nvidia.com/gpu" not in container["resources"]["limits"]
            asked = container["resources"]["requests"]["cpu"]
            cpu += float(asked.removesuffix("m")) / 1000 if asked.endswith("m") else float(asked)
    assert cpu <= 3
    claims = of_kind(documents, "PersistentVolumeClaim")
    assert {str(claim["spec"]["accessModes"]) for claim in claims} == {"['ReadWriteOnce']"}


def test_only_artifacts_go_to_a_bucket() -> None:
    documents = render(K8S / "overlays" / "s3")
    (server,) = one(documents, "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"]
    seen = environment(server, "other")
    assert [expanded(a, seen) for a in server["args"] if "artifacts" in a.lower()] == [
        "--artifacts-destination=s3://plastsearch/artifacts"
    ]
    assert "s3://" not in yaml.safe_dump(one(documents, "RayJob"))
    (policy,) = [d for d in of_kind(documents, "NetworkPolicy") if d["metadata"]["name"] == "mlflow"]
    assert 443 in [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]


def test_workers_make_way_and_heads_do_not(scratch: Scratch) -> None:
    for overlay in OVERLAYS:
        documents = whole(scratch, overlay, ("priority",))
        head, *workers = groups(one(documents, "RayJob"))
        assert "priorityClassName" not in head["template"]["spec"]
        assert {w["template"]["spec"]["priorityClassName"] for w in workers} == {"a-plastsearch-workers"}
        assert one(documents, "PriorityClass")["value"] < 0


def test_postgres_takes_the_place_of_sqlite(scratch: Scratch) -> None:
    documents = whole(scratch, "gpu", ("postgres",))
    template: dict[str, Any] = one(documents, "Deployment", "a-mlflow")["spec"]["template"]
    stores = {environment(c, "other").get("MLFLOW_BACKEND_STORE_URI") for c in containers(template)} - {None}
    assert stores == {"postgresql+psycopg://mlflow:(secret)@a-postgres:5432/mlflow"}
