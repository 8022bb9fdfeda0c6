"""What holds for every Pod: restricted security, limits, probes that can answer, mounts, no secret in the open."""

import re
from collections.abc import Iterable, Iterator

from plastsearch.kubernetes.finding import Finding
from plastsearch.kubernetes.manifests import Object, Objects, Tree, dig, rows, table, text, words
from plastsearch.kubernetes.pods import HEAD, Container, Pod, cluster_spec, pods
from plastsearch.kubernetes.quantities import amount

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_SECRET = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|API_KEY|ACCESS_KEY)", re.IGNORECASE)
_NOT_ITSELF = re.compile(r"(_FILE|_PATH|_DIR|_NAME|_TTL|_SECONDS)$")
_WITH_PASSWORD = re.compile(r"://[^/\s:@]+:(?!\$\()[^/\s@]+@")
_NAMED = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")

_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?:[A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?(?::\d{{1,5}})?/)?{_PART}(?:/{_PART})*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)


def pod_findings(objects: Objects) -> Iterator[Finding]:
    """All of them, Pod by Pod."""
    for pod in pods(objects):
        if not pod.main:
            yield Finding(pod.owner, f"{pod.at}.containers", "is empty; give the Pod a container")
        yield from _security(pod)
        yield from _token(pod, objects)
        for container in pod.containers:
            yield from _container_security(pod, container)
            yield from _resources(pod, container)
            yield from _probes(pod, container)
            yield from _mounts(pod, container)
            yield from _open_secrets(pod, container)
    for one in objects.of("RayJob", "RayCluster"):
        yield from _autoscaler(one)
        yield from _runtime_env(one)


def _security(pod: Pod) -> Iterator[Finding]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(field):
            yield Finding(pod.owner, f"{pod.at}.{field}", "is refused by restricted pod security; leave it out")
    for name, volume in pod.volumes.items():
        for kind in volume.keys() - {"name"} - _VOLUMES:
            said = f"{name} is of kind {kind}, which restricted pod security refuses; use a claim or an emptyDir"
            yield Finding(pod.owner, f"{pod.at}.volumes", said)


def _container_security(pod: Pod, container: Container) -> Iterator[Finding]:
    own = table(container.tree.get("securityContext"))
    whole = table(pod.spec.get("securityContext"))
    at = f"{container.at}.securityContext"
    if own.get("privileged"):
        yield Finding(pod.owner, f"{at}.privileged", "is refused by restricted pod security; leave it out")
    yield from _own_context(pod.owner, own, at)
    if own.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
        said = "is not true for this container or its Pod; set it, or restricted pod security refuses the Pod"
        yield Finding(pod.owner, f"{at}.runAsNonRoot", said)
    if own.get("runAsUser", whole.get("runAsUser")) == 0:
        yield Finding(pod.owner, f"{at}.runAsUser", "is 0, which is root; give another number, such as 1000")
    profile = table(own.get("seccompProfile", whole.get("seccompProfile"))).get("type")
    if profile not in ("RuntimeDefault", "Localhost"):
        said = "is not RuntimeDefault for this container or its Pod; set it, or the Pod is refused"
        yield Finding(pod.owner, f"{at}.seccompProfile.type", said)


def _own_context(owner: Object, context: Tree, at: str) -> Iterator[Finding]:
    if context.get("allowPrivilegeEscalation") is not False:
        said = "is not false; set it, or restricted pod security refuses the Pod"
        yield Finding(owner, f"{at}.allowPrivilegeEscalation", said)
    capabilities = table(context.get("capabilities"))
    if "ALL" not in words(capabilities.get("drop")) or set(words(capabilities.get("add"))) - {"NET_BIND_SERVICE"}:
        said = "must drop ALL and add nothing; set {drop: [ALL]}, or restricted pod security refuses the Pod"
        yield Finding(owner, f"{at}.capabilities", said)


def _autoscaler(one: Object) -> Iterator[Finding]:
    spec = cluster_spec(one)
    if spec.get("enableInTreeAutoscaling") is not True:
        return
    at = f"{'spec.rayClusterSpec' if one.kind == 'RayJob' else 'spec'}.autoscalerOptions"
    options = table(spec.get("autoscalerOptions"))
    yield from _own_context(one, table(options.get("securityContext")), f"{at}.securityContext")
    if dig(options, "resources", "limits", "memory") is None:
        yield Finding(one, f"{at}.resources.limits.memory", "is missing; give one, such as 1Gi")


def _token(pod: Pod, objects: Objects) -> Iterator[Finding]:
    """The key to the API server is only for those whom a role, or KubeRay, lets do something."""
    account = text(pod.spec.get("serviceAccountName"))
    if pod.group == HEAD and cluster_spec(pod.owner).get("enableInTreeAutoscaling") is True:
        return
    bound = any(
        subject.get("name") == account and subject.get("kind") == "ServiceAccount"
        for binding in objects.of("RoleBinding", "ClusterRoleBinding")
        for subject in rows(binding.tree.get("subjects"))
    )
    known = objects.find("ServiceAccount", account, pod.owner.namespace)
    by_account = known.tree.get("automountServiceAccountToken") if known else None
    if not bound and pod.spec.get("automountServiceAccountToken", by_account) is not False:
        said = "is not false, so the Pod holds a key to the API server that it does not need; set it to false"
        yield Finding(pod.owner, f"{pod.at}.automountServiceAccountToken", said)


def _resources(pod: Pod, container: Container) -> Iterator[Finding]:
    for kind, name, example in (
        ("limits", "memory", "8Gi"),
        ("requests", "memory", "8Gi"),
        ("requests", "cpu", "500m"),
    ):
        # A limit stands for a request that is not given.
        given = dig(container.tree, "resources", kind, name) or (
            kind == "requests" and dig(container.tree, "resources", "limits", name)
        )
        if not given:
            why = "it could take the whole node's" if kind == "limits" else "it would be put on any node"
            said = f"is missing, so {why}; give one, such as {example}"
            yield Finding(pod.owner, f"{container.at}.resources.{kind}.{name}", said)
    for name, most in table(dig(container.tree, "resources", "limits")).items():
        least = dig(container.tree, "resources", "requests", name)
        if "/" in name and least is not None and amount(least) != amount(most):
            said = f"is {least}, its limit {most}; devices need equal ones"
            yield Finding(pod.owner, f"{container.at}.resources.requests.{name}", said)


def _probes(pod: Pod, container: Container) -> Iterator[Finding]:
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        tree = table(container.tree.get(probe))
        for way in ("httpGet", "tcpSocket", "grpc"):
            port = dig(tree, way, "port")
            if not isinstance(port, str | int) or port in container.port_names or port in container.ports:
                continue  # of another type, a schema has said so
            known = [*container.port_names, *map(str, container.ports)]
            said = (
                f"is {port}, where the container listens on {', '.join(known) or 'no declared port'}; name one of these"
            )
            yield Finding(pod.owner, f"{container.at}.{probe}.{way}.port", said)


def _mounts(pod: Pod, container: Container) -> Iterator[Finding]:
    for path, mount in container.mounts.items():
        name = text(mount.get("name"))
        if name not in pod.volumes:
            said = f"mounts {name or 'nothing'} at {path}, a volume that the Pod lacks; use {_listed(pod.volumes)}"
            yield Finding(pod.owner, f"{container.at}.volumeMounts", said)


def _open_secrets(pod: Pod, container: Container) -> Iterator[Finding]:
    defined: set[str] = set()
    for name, entry in container.env.items():
        value = text(entry.get("value"))
        hidden = _NAMED.sub("", value)
        if (hidden and _SECRET.search(name) and not _NOT_ITSELF.search(name)) or _WITH_PASSWORD.search(value):
            said = "holds a secret in the open; put it into a Secret and name that with valueFrom.secretKeyRef"
            yield Finding(pod.owner, f"{container.at}.env.{name}", said)
        for used in _NAMED.findall(value):
            if used not in defined and not container.tree.get("envFrom"):
                said = f"names $({used}), which does not stand before it; list {used} above it"
                yield Finding(pod.owner, f"{container.at}.env.{name}", said)
        defined.add(name)
    for field in ("command", "args"):
        for word in words(container.tree.get(field)):
            for used in _NAMED.findall(word):
                if used not in defined and not container.tree.get("envFrom"):
                    said = f"names $({used}), which is no variable of the container; add it to env"
                    yield Finding(pod.owner, f"{container.at}.{field}", said)


def _runtime_env(one: Object) -> Iterator[Finding]:
    if re.search(rf"{_SECRET.pattern}\w*\s*:", text(one.spec.get("runtimeEnvYAML")), re.IGNORECASE):
        said = "holds a secret, and Ray shows and logs this; use env with valueFrom.secretKeyRef instead"
        yield Finding(one, "spec.runtimeEnvYAML", said)


def image_findings(objects: Objects) -> Iterator[Finding]:
    """Every image has a version, and ours all have the same."""
    ours: dict[str, list[tuple[Pod, Container]]] = {}
    for pod in pods(objects):
        for container in pod.containers:
            image = text(container.tree.get("image"))
            name, tag = split_image(image)
            if not image or (tag in ("", "latest") and "@" not in image):
                said = f"is {image or 'missing'}, which may be another one tomorrow; give a version or a digest"
                yield Finding(pod.owner, f"{container.at}.image", said)
            elif not IMAGE.fullmatch(image):
                said = f"is {image!r}, no image; write it as HOST/PATH:TAG or HOST/PATH@sha256:DIGEST"
                yield Finding(pod.owner, f"{container.at}.image", said)
            elif name.rsplit("/", 1)[-1] in ("plastsearch", "plastsearch-gpu") and tag:
                ours.setdefault(tag, []).append((pod, container))
    if len(ours) > 1:
        usual = max(ours, key=lambda tag: len(ours[tag]))
        for tag in ours.keys() - {usual}:
            for pod, container in ours[tag]:
                said = (
                    f"has version {tag}, the others {usual}; Ray, Python and packages must agree, so give one version"
                )
                yield Finding(pod.owner, f"{container.at}.image", said)


def split_image(image: str) -> tuple[str, str]:
    """Name and tag of an image; the tag is empty where there is none."""
    name = image.partition("@")[0]
    before, colon, tag = name.rpartition(":")
    return (before, tag) if colon and "/" not in tag else (name, "")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none, or add it"
