"""Names by which objects refer to each other: each leads to an object that is there, and to a key inside it."""

from collections.abc import Iterator
from dataclasses import dataclass

from plastsearch.kubernetes.credentials import KINDS
from plastsearch.kubernetes.finding import Finding
from plastsearch.kubernetes.manifests import CLUSTER_WIDE, OUTSIDE, Object, Objects, Tree, dig, rows, table, text, words
from plastsearch.kubernetes.pods import Pod, cluster_spec, pods, ray_pods
from plastsearch.kubernetes.schema import alike

MAKER = "plastsearch.kubernetes.credentials"  # the program of a Job that makes a Secret when it is applied
ABSENT = "not among these objects"
BUILT_IN_ACCOUNTS = {"", "default"}


@dataclass(frozen=True)
class Reference:
    """Who names what, where, and which key of it is read."""

    by: Object
    at: str
    kind: str
    name: str
    key: str | None = None


def reference_findings(objects: Objects) -> Iterator[Finding]:
    """Names that lead nowhere."""
    for one in references(objects):
        found = objects.find(one.kind, one.name, "" if one.kind in CLUSTER_WIDE else one.by.namespace)
        if found is not None and found.namespace == OUTSIDE:
            continue
        keys = _keys(found) if found else _made(objects, one)
        if keys is None:
            yield Finding(one.by, one.at, _lost(one, objects))
        elif one.key is not None and one.key not in keys:
            known = sorted(keys)
            yield Finding(one.by, one.at, f"{one.kind} {one.name} has no key {one.key}; {alike(one.key, known)}")
    for job in ray_secrets(objects):
        yield from _token_secret(job, objects)


def references(objects: Objects) -> list[Reference]:
    """Every name that Pods, bindings and budgets give of another object."""
    found = [one for pod in pods(objects) for one in _of_pod(pod)]
    for binding in objects.of("RoleBinding"):
        role = table(binding.tree.get("roleRef"))
        if role.get("kind") == "Role":
            found.append(Reference(binding, "roleRef.name", "Role", text(role.get("name"))))
        for number, subject in enumerate(rows(binding.tree.get("subjects"))):
            if subject.get("kind") == "ServiceAccount" and text(subject.get("namespace")) in ("", binding.namespace):
                at = f"subjects[{number}].name"
                found.append(Reference(binding, at, "ServiceAccount", text(subject.get("name"))))
    return found


def _of_pod(pod: Pod) -> Iterator[Reference]:
    account = text(pod.spec.get("serviceAccountName"))
    if account not in BUILT_IN_ACCOUNTS:
        yield Reference(pod.owner, f"{pod.at}.serviceAccountName", "ServiceAccount", account)
    priority = text(pod.spec.get("priorityClassName"))
    if priority and not priority.startswith("system-"):
        yield Reference(pod.owner, f"{pod.at}.priorityClassName", "PriorityClass", priority)
    for container in pod.containers:
        for name, entry in container.env.items():
            yield from _of_key(pod, f"{container.at}.env.{name}.valueFrom", table(entry.get("valueFrom")))
        for number, source in enumerate(rows(container.tree.get("envFrom"))):
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if field in source and not dig(source, field, "optional"):
                    at = f"{container.at}.envFrom[{number}].{field}.name"
                    yield Reference(pod.owner, at, kind, text(dig(source, field, "name")))
    for number, volume in enumerate(rows(pod.spec.get("volumes"))):
        yield from _of_volume(pod, f"{pod.at}.volumes[{number}]", volume)
        for place, source in enumerate(rows(dig(volume, "projected", "sources"))):
            yield from _of_volume(pod, f"{pod.at}.volumes[{number}].projected.sources[{place}]", source)


def _of_key(pod: Pod, at: str, source: Tree) -> Iterator[Reference]:
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if field in source and not dig(source, field, "optional"):
            name, key = text(dig(source, field, "name")), text(dig(source, field, "key"))
            yield Reference(pod.owner, f"{at}.{field}", kind, name, key)


def _of_volume(pod: Pod, at: str, volume: Tree) -> Iterator[Reference]:
    claim = dig(volume, "persistentVolumeClaim", "claimName")
    if claim is not None:
        yield Reference(pod.owner, f"{at}.persistentVolumeClaim.claimName", "PersistentVolumeClaim", text(claim))
    # A projected source calls a Secret's name `name`, a volume `secretName`.
    for field, kind, named in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"),
                               ("secret", "Secret", "name")):  # fmt: skip
        if named in table(volume.get(field)) and not dig(volume, field, "optional"):
            name = text(dig(volume, field, named))
            yield Reference(pod.owner, f"{at}.{field}.{named}", kind, name)
            for item in rows(dig(volume, field, "items")):
                yield Reference(pod.owner, f"{at}.{field}.items", kind, name, text(item.get("key")))


def _keys(found: Object) -> set[str]:
    return {key for field in ("data", "stringData", "binaryData") for key in table(found.tree.get(field))}


def _made(objects: Objects, one: Reference) -> set[str] | None:
    return made_secrets(objects, one.by.namespace).get(one.name) if one.kind == "Secret" else None


def made_secrets(objects: Objects, namespace: str) -> dict[str, set[str]]:
    """The Secrets that Jobs of a namespace make when they are applied, with their keys."""
    found: dict[str, set[str]] = {}
    for pod in pods(objects):
        if pod.owner.kind == "Job" and pod.owner.namespace == namespace:
            for container in pod.containers:
                said = [*words(container.tree.get("command")), *words(container.tree.get("args"))]
                kind, name = [*said[said.index(MAKER) + 1 :], "", ""][:2] if MAKER in said else ("", "")
                if kind in KINDS:
                    found[name] = set(KINDS[kind]())
    return found


def _lost(one: Reference, objects: Objects) -> str:
    there = [other.name for other in objects.of(one.kind) if other.namespace in ("", one.by.namespace)]
    there += made_secrets(objects, one.by.namespace) if one.kind == "Secret" else []
    hashed = next((name for name in there if name.startswith(f"{one.name}-")), None)
    if hashed and one.kind in ("ConfigMap", "Secret"):
        return (
            f"names {one.kind} {one.name}, which is made here as {hashed}; "
            "add this field to the kustomization's name references"
        )
    near = alike(one.name, there) if there else "add it"
    return f"names {one.kind} {one.name or '(nothing)'}, which is {ABSENT}; {near}"


def ray_secrets(objects: Objects) -> list[Object]:
    """The Ray objects that name a Secret for their token."""
    return [
        one for one in objects.of("RayJob", "RayCluster")
        if ray_pods(one) and dig(cluster_spec(one), "authOptions", "secretName")
    ]  # fmt: skip


def _token_secret(one: Object, objects: Objects) -> Iterator[Finding]:
    name = text(dig(cluster_spec(one), "authOptions", "secretName"))
    if objects.find("Secret", name, one.namespace) is None:
        said = f"names Secret {name}, which is {ABSENT}; add it, or leave this out: KubeRay makes one"
        yield Finding(one, "spec.rayClusterSpec.authOptions.secretName", said)
