"""What holds for every object: known fields, names, and words and amounts that Kubernetes can read."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from plastsearch.kubernetes import schema
from plastsearch.kubernetes.finding import Finding
from plastsearch.kubernetes.manifests import CLUSTER_WIDE, OUTSIDE, Object, Objects, dig, rows, table, text
from plastsearch.kubernetes.pods import pods
from plastsearch.kubernetes.quantities import amount

LARGEST = 250_000  # bytes of an object that `kubectl apply` may note as an annotation, which holds 262,144 in all
ACCESS = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_WORDS: dict[str, tuple[str, ...]] = {  # the published schemas take any string here
    "accessModes": ACCESS,
    "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
    "restartPolicy": ("Always", "OnFailure", "Never"),
    "policyTypes": ("Ingress", "Egress"),
    "protocol": ("TCP", "UDP", "SCTP"),
    "concurrencyPolicy": ("Allow", "Forbid", "Replace"),
    "dnsPolicy": ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
    "fsGroupChangePolicy": ("OnRootMismatch", "Always"),
    "terminationMessagePolicy": ("File", "FallbackToLogsOnError"),
}
_AMOUNTS = {"limits", "requests", "hard", "capacity"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_API = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?v[a-z0-9]{1,62}")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_RAY = ("RayJob", "RayCluster")
_MADE_BY_CONTROLLERS = {"labels", "annotations", "data", "stringData", "binaryData", "metadata", "matchLabels"}


def object_findings(objects: Objects, releases: Sequence[str]) -> Iterator[Finding]:
    """All of them, object by object."""
    counts = Counter(_identity(one) for one in objects.all)
    for one in objects.all:
        if counts[_identity(one)] > 1:
            yield Finding(one, "metadata.name", "is there twice; leave one of the two out, or name it otherwise")
        for field, pattern in (("apiVersion", _API), ("kind", _KIND)):
            said = one.tree.get(field)
            if not isinstance(said, str) or not said:
                yield Finding(one, field, "is missing; give one, such as v1 and ConfigMap")
            elif not pattern.fullmatch(said):
                yield Finding(
                    one, field, f"is {said[:60]!r}; write it as Kubernetes does, such as apps/v1 and Deployment"
                )
        yield from _naming(one, objects)
        yield from _fields(one, releases)
        for at, said in _values(one.tree, ""):
            yield Finding(one, at, said)
    for pod in pods(objects):
        if pod.owner.kind not in _RAY:
            yield from (Finding(pod.owner, at, said) for at, said in schema.check_pod(pod.spec, pod.at))


def _identity(one: Object) -> tuple[str, ...]:
    return text(one.tree.get("apiVersion")), one.kind, one.namespace, one.name


def _naming(one: Object, objects: Objects) -> Iterator[Finding]:
    if not one.name:
        yield Finding(one, "metadata.name", "is missing; give the object a name")
    elif not _NAME.fullmatch(one.name) and ":" not in one.name:
        yield Finding(one, "metadata.name", "is no name for Kubernetes; use a-z, 0-9 and -, and begin with a letter")
    named = objects.names("Namespace")
    if named and one.namespace not in named and one.kind not in CLUSTER_WIDE:
        have = one.namespace or "none"
        yield Finding(one, "metadata.namespace", f"is {have}, which is not made here; use {', '.join(named)}")
    for key, value in one.labels.items():
        if not isinstance(value, str) or len(value) > 63 or not _LABEL.fullmatch(value):
            yield Finding(
                one, f"metadata.labels.{key}", f"is {value!r}; give a string of at most 63 letters, digits, -, _ and ."
            )


def _fields(one: Object, releases: Sequence[str]) -> Iterator[Finding]:
    if one.kind in _RAY:
        if one.tree.get("apiVersion") != "ray.io/v1":
            yield Finding(one, "apiVersion", f"is {one.tree.get('apiVersion')}; use ray.io/v1")
        for at, said in schema.check_kind(one.kind, one.tree.get("spec", {}), releases):
            yield Finding(one, at, said)
        known = ["apiVersion", "kind", "metadata", "spec", "status"]
        for key in one.tree:
            if key not in known:
                yield Finding(one, key, f"no such field; {schema.alike(key, known)}")


def _values(node: object, at: str) -> Iterator[tuple[str, str]]:
    """Words and amounts, wherever they stand."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from _values(item, f"{at}[{number}]")
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        here = f"{at}.{key}".lstrip(".")
        for word in value if isinstance(value, list) else [value]:
            if key in _WORDS and isinstance(word, str) and word not in _WORDS[key]:
                yield here, f"is {word!r}, which Kubernetes does not know; use one of: {', '.join(_WORDS[key])}"
        if key in _AMOUNTS and isinstance(value, dict):
            yield from _amounts(value, here)
        elif key == "sizeLimit" and amount(value) is None:
            yield here, f"is {value!r}, which cannot be read; write it such as 100Gi"
        if key not in _MADE_BY_CONTROLLERS:
            yield from _values(value, here)
    requests, limits = table(node.get("requests")), table(node.get("limits"))
    for name in requests.keys() & limits.keys():
        least, most = amount(requests[name]), amount(limits[name])
        if least is not None and most is not None and least > most:
            yield (
                f"{at}.requests.{name}",
                f"is {requests[name]}, above its limit {limits[name]}; lower it or raise the limit",
            )


def _amounts(listed: dict[str, object], at: str) -> Iterator[tuple[str, str]]:
    for name, value in listed.items():
        number = amount(value)
        if number is None:
            yield (
                f"{at}.{name}",
                f"is {value!r}, which cannot be read; write it as Kubernetes does, such as 500m or 16Gi",
            )
        elif number < 0:
            yield f"{at}.{name}", f"is {value}; give an amount of at least 0"


def written_size(tree: object) -> int:
    """How many bytes `kubectl apply` writes of an object into its annotation."""
    return len(json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogateescape"))


def size_findings(objects: Objects) -> Iterator[Finding]:
    """Objects that `kubectl apply` cannot send, for it keeps a copy of each in an annotation."""
    for one in objects.all:
        size = written_size(one.tree)
        if size > LARGEST:
            said = f"has {size:,} bytes, and kubectl apply takes {LARGEST:,}; shorten it, or split it into several"
            yield Finding(one, "data" if one.kind == "ConfigMap" else "(top)", said)


def claim_findings(objects: Objects) -> Iterator[Finding]:
    """Claims ask for a size and a way to be mounted."""
    for claim in objects.of("PersistentVolumeClaim"):
        if claim.namespace == OUTSIDE:
            continue
        if not claim.spec.get("accessModes"):
            yield Finding(claim, "spec.accessModes", f"is missing; give one of: {', '.join(ACCESS)}")
        if amount(dig(claim.spec, "resources", "requests", "storage")) is None:
            yield Finding(claim, "spec.resources.requests.storage", "is missing; give a size such as 200Gi")


def core_findings(objects: Objects) -> tuple[list[Finding], str | None]:
    """Core kinds against the schemas of the package `kubernetes_validate`; a note where it is not installed."""
    try:
        import kubernetes_validate
    except ImportError:
        return [], (
            "the schemas of core kinds were not looked at: pip install 'plastsearch[kubernetes]' brings them "
            "(RayJobs, Pods and all cross-checks do not need them)"
        )
    version = kubernetes_validate.latest_version()
    # The package looks for a file of this name.
    written = [
        one for one in objects.all if _KIND.fullmatch(one.kind) and _API.fullmatch(text(one.tree.get("apiVersion")))
    ]
    said = ((one, _core_mistake(json.dumps(one.tree), version)) for one in written)
    return [Finding(one, *both) for one, both in said if both is not None], None


@cache  # by content: the package reads its schemas anew for each object, 40 ms each time
def _core_mistake(tree: str, version: str) -> tuple[str, str] | None:
    import kubernetes_validate

    try:
        kubernetes_validate.validate(json.loads(tree), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        words = str(error.message).splitlines()[0][:200]
        return at.lstrip(".") or "(top)", f"{words}; write it as Kubernetes {version} does"
    except kubernetes_validate.SchemaNotFoundError:
        pass  # a custom kind: KubeRay's are looked at above, others' operators answer for theirs
    return None


def duplicate_entries(objects: Objects) -> Iterator[Finding]:
    """Lists that are mappings to Kubernetes: of two entries with one name, one is lost."""
    for pod in pods(objects):
        for container in pod.containers:
            for field, key in (("env", "name"), ("volumeMounts", "mountPath"), ("ports", "name")):
                names = Counter(str(entry[key]) for entry in rows(container.tree.get(field)) if key in entry)
                for name, count in names.items():
                    if count > 1:
                        yield Finding(
                            pod.owner, f"{container.at}.{field}", f"lists {name} twice; leave one of them out"
                        )
