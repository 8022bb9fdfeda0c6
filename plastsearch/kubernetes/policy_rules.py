"""Network policies: what a sweep's Pods must reach, and who must not reach them."""

from collections.abc import Iterator

from plastsearch.kubernetes.finding import Finding
from plastsearch.kubernetes.manifests import Object, Objects, Tree, dig, rows, text, words
from plastsearch.kubernetes.pods import HEAD, SWEEP, Pod, ray_pods, selected

DASHBOARD = 8265
# As the Helm chart and the kustomization of KubeRay label the operator's Pod.
OPERATORS: tuple[Tree, ...] = (
    {"app.kubernetes.io/name": "kuberay-operator", "app.kubernetes.io/component": "kuberay-operator"},
    {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/component": "kuberay-operator"},
)


def policy_findings(objects: Objects) -> Iterator[Finding]:
    """What a sweep's Pods must reach, and who must not reach them."""
    for job in objects.of("RayJob", "RayCluster"):
        group = ray_pods(job)
        here = {"kubernetes.io/metadata.name": job.namespace}
        for target in group:
            said = f"the Ray Pods of one cluster are kept from each other ({target.group}); let them in at every port"
            if not all(admitted(objects, target, "ingress", source.labels, here, None) for source in group):
                yield Finding(job, "NetworkPolicy", said)
            elif not all(admitted(objects, source, "egress", target.labels, here, None) for source in group):
                yield Finding(job, "NetworkPolicy", said.replace("let them in", "let them out"))
            stranger = {**group[0].labels, SWEEP: "another-sweep", "ray.io/originated-from-cr-name": "another-sweep"}
            if objects.of("NetworkPolicy") and admitted(objects, target, "ingress", stranger, here, None):
                said = f"lets Pods of other sweeps in to {target.group}; select by {SWEEP} there"
                yield Finding(job, "NetworkPolicy", said)
            if not admitted(objects, target, "egress", {"k8s-app": "kube-dns"}, {}, 53, ["dns"], "UDP"):
                said = f"{target.group} may not ask for names; let its Pods out to UDP port 53"
                yield Finding(job, "NetworkPolicy", said)
        for head in [pod for pod in group if pod.group == HEAD]:
            if not all(admitted(objects, head, "ingress", one, {}, DASHBOARD) for one in OPERATORS):
                said = f"keeps the operator from port {DASHBOARD}; let app.kubernetes.io/component: kuberay-operator in"
                yield Finding(job, "NetworkPolicy", said)


def admitted(
    objects: Objects, pod: Pod, way: str, other: Tree, space: Tree, port: int | None,
    names: list[str] | None = None, protocol: str = "TCP",
) -> bool:  # fmt: skip
    """Whether policies let another Pod in to this one (`ingress`), or this one out to it (`egress`); no port: all."""
    mine = [
        one for one in objects.of("NetworkPolicy")
        if one.namespace == pod.owner.namespace and selected(pod.labels, one.spec.get("podSelector"))
        and way in _ways(one)
    ]  # fmt: skip
    side = "from" if way == "ingress" else "to"
    return not mine or any(
        _peered(rule.get(side), other, space, pod.owner.namespace)
        and _at_port(rule.get("ports"), port, names, protocol)
        for one in mine
        for rule in rows(one.spec.get(way))
    )


def _ways(policy: Object) -> set[str]:
    types = {word.lower() for word in words(policy.spec.get("policyTypes"))}
    return types or {"ingress", *(["egress"] if "egress" in policy.spec else [])}


def _peered(peers: object, other: Tree, space: Tree, namespace: str) -> bool:
    if not peers:
        return True
    for peer in rows(peers):
        if "ipBlock" in peer:
            if text(dig(peer, "ipBlock", "cidr")) in ("0.0.0.0/0", "::/0"):
                return True
            continue
        if "namespaceSelector" not in peer and space.get("kubernetes.io/metadata.name") != namespace:
            continue
        # Somebody else's namespace has labels that nobody knows here: only its Pods' labels are compared.
        if space and "namespaceSelector" in peer and not selected(space, peer["namespaceSelector"]):
            continue
        if "podSelector" not in peer or selected(other, peer["podSelector"]):
            return True
    return False


def _at_port(ports: object, port: int | None, names: list[str] | None, protocol: str) -> bool:
    if not ports:
        return True
    if port is None:
        return False
    for one in rows(ports):
        wanted, last = one.get("port"), one.get("endPort")
        if one.get("protocol", "TCP") != protocol:
            continue
        if wanted in (None, port, *(names or [])):
            return True
        if isinstance(last, int) and isinstance(wanted, int) and wanted <= port <= last:
            return True
    return False
