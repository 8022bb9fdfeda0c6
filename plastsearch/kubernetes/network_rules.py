"""Who must find whom: selectors that meet Pods, and MLflow's address from a trial to the server's own port."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from plastsearch.kubernetes.finding import Finding
from plastsearch.kubernetes.manifests import OUTSIDE, Object, Objects, Tree, dig, rows, table, text, words
from plastsearch.kubernetes.pods import HEAD, SWEEP, Container, Pod, pods, selected
from plastsearch.kubernetes.policy_rules import admitted
from plastsearch.kubernetes.references import ABSENT
from plastsearch.kubernetes.schema import alike

MLFLOW_PORT = 5000  # of `mlflow server`, where it is not told another


def selector_findings(objects: Objects) -> Iterator[Finding]:
    """Selectors that select nothing."""
    every = pods(objects)
    for one in objects.all:
        near = [pod for pod in every if pod.owner.namespace == one.namespace]
        match one.kind:
            case "Deployment" | "StatefulSet":
                labels = table(dig(one.spec, "template", "metadata", "labels"))
                if not selected(labels, one.spec.get("selector")):
                    yield Finding(one, "spec.selector", "does not take the labels of its own template; make them equal")
            case "Service" if one.spec.get("selector"):
                yield from _service(one, near)
            case "PodDisruptionBudget":
                yield from _meets(one, "spec.selector", one.spec.get("selector"), near)
                yield from _counted(one, near)
            case "PodMonitor":
                yield from _meets(one, "spec.selector", one.spec.get("selector"), near)
                yield from _monitored_ports(one, near)
            case "ServiceMonitor":
                services = [
                    other for other in objects.of("Service") if selected(other.labels, one.spec.get("selector"))
                ]
                if not services:
                    yield Finding(one, "spec.selector", "meets no Service of this set; give labels that one bears")
            case "NetworkPolicy":
                yield from _meets(one, "spec.podSelector", one.spec.get("podSelector"), near)
                yield from _peers(one, near)


def _meets(one: Object, at: str, selector: object, near: list[Pod]) -> Iterator[Finding]:
    # A platform comes before the sweeps that its policies speak of.
    if not any(selected(pod.labels, selector) for pod in near) and (
        any(pod.group for pod in near) or not _of_sweeps(selector)
    ):
        said = f"meets no Pod of this set ({_shown(selector)}); give labels that its Pods bear"
        yield Finding(one, at, said)


def _counted(one: Object, near: list[Pod]) -> Iterator[Finding]:
    """Of Pods whose owner has no scale, which Ray's have not, Kubernetes counts only those that must be there."""
    of_ray = any(pod.group and selected(pod.labels, one.spec.get("selector")) for pod in near)
    if of_ray or _of_sweeps(one.spec.get("selector")):
        least = one.spec.get("minAvailable")
        for field in ("maxUnavailable", "minAvailable"):
            if field in one.spec and (field == "maxUnavailable" or not isinstance(least, int)):
                said = (
                    f"is {one.spec[field]}, which Kubernetes cannot count for Pods of Ray; give minAvailable: 1 instead"
                )
                yield Finding(one, f"spec.{field}", said)


def _of_sweeps(selector: object) -> bool:
    tree = table(selector)
    keys = [
        *tree,
        *table(tree.get("matchLabels")),
        *(text(rule.get("key")) for rule in rows(tree.get("matchExpressions"))),
    ]
    return any(key.startswith(("ray.io/", SWEEP)) for key in keys)


def _peers(one: Object, near: list[Pod]) -> Iterator[Finding]:
    for field, side in (("ingress", "from"), ("egress", "to")):
        for number, rule in enumerate(rows(one.spec.get(field))):
            for place, peer in enumerate(rows(rule.get(side))):
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    at = f"spec.{field}[{number}].{side}[{place}].podSelector"
                    yield from _meets(one, at, peer["podSelector"], near)


def _service(one: Object, near: list[Pod]) -> Iterator[Finding]:
    yield from _meets(one, "spec.selector", one.spec["selector"], near)
    for pod in near:
        if selected(pod.labels, one.spec["selector"]):
            for number, port in enumerate(rows(one.spec.get("ports"))):
                if _listener(pod, port) is None:
                    wanted = port.get("targetPort", port.get("port"))
                    known = [str(p) for container in pod.main for p in (*container.port_names, *container.ports)]
                    said = (
                        f"is {wanted}, and {pod} listens on {', '.join(known) or 'no declared port'}; name one of these"
                    )
                    yield Finding(one, f"spec.ports[{number}].targetPort", said)


def _listener(pod: Pod, port: Tree) -> tuple[Container, int] | None:
    """The container and port that a Service's port leads to."""
    wanted = port.get("targetPort", port.get("port"))
    for container in pod.main:
        number = container.port_names.get(wanted, wanted) if isinstance(wanted, str) else wanted
        if number in container.ports:
            return container, number
    return None


def _monitored_ports(one: Object, near: list[Pod]) -> Iterator[Finding]:
    found = [pod for pod in near if selected(pod.labels, one.spec.get("selector"))]
    known = {name for pod in found for container in pod.main for name in container.port_names}
    # The operator names the ports of a head that names none itself.
    known |= {"metrics"} if any(pod.group == HEAD for pod in found) else set()
    for number, endpoint in enumerate(rows(one.spec.get("podMetricsEndpoints"))):
        port = endpoint.get("port")
        if isinstance(port, str) and found and port not in known:
            at = f"spec.podMetricsEndpoints[{number}].port"
            yield Finding(one, at, f"is {port}, which no selected Pod names; {alike(port, sorted(known))}")


def mlflow_findings(objects: Objects) -> Iterator[Finding]:
    """The tracker's address, from those who call it to the server that answers."""
    every = pods(objects)
    uris: dict[str, Pod] = {}
    for pod in every:
        for container in pod.main:
            uri = container.value("MLFLOW_TRACKING_URI")
            if uri.startswith("http"):
                uris.setdefault(uri, pod)
                yield from _called(objects, pod, container, uri)
    if len(uris) > 1:
        for uri, pod in list(uris.items())[1:]:
            said = f"is {uri}, and {next(iter(uris))} elsewhere; give all the same"
            yield Finding(pod.owner, f"{pod.at}.containers.env.MLFLOW_TRACKING_URI", said)


def _called(objects: Objects, pod: Pod, container: Container, uri: str) -> Iterator[Finding]:
    at = f"{container.at}.env.MLFLOW_TRACKING_URI"
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        yield Finding(pod.owner, at, f"is {uri}, no address; write it such as http://mlflow:5000")
        return
    name, _, domain = host.partition(".")
    namespace, _, suffix = domain.partition(".")
    if domain and suffix not in ("", "svc", "svc.cluster.local"):
        return  # a server outside the cluster
    service = objects.find("Service", name, namespace or pod.owner.namespace)
    if service is None:
        known = objects.names("Service")
        elsewhere = sorted({one.namespace for one in objects.of("Service") if one.name == name and one.namespace})
        if elsewhere:
            here = namespace or pod.owner.namespace
            hint = f"it is in namespace {elsewhere[0]}, not in {here}: call {name}.{elsewhere[0]}, or put both in one"
        else:
            hint = alike(name, known) if known else "add it"
        yield Finding(pod.owner, at, f"calls Service {host}, which is {ABSENT}; {hint}")
        return
    if service.namespace == OUTSIDE:
        return
    ports = [one for one in rows(service.spec.get("ports")) if one.get("port") == port]
    if not ports:
        offered = ", ".join(str(one.get("port")) for one in rows(service.spec.get("ports")))
        yield Finding(pod.owner, at, f"calls port {port} of Service {name}, which offers {offered}; use that")
        return
    for server in pods(objects):
        if server.owner.namespace == service.namespace and selected(server.labels, service.spec.get("selector")):
            found = _listener(server, ports[0])
            if found is not None:
                yield from _answered(server, *found, f"{host}:{port}")
                yield from _let_through(objects, pod, server, found[1], at)
                yield from _credentials(pod, container, found[0])


def _answered(server: Pod, container: Container, number: int, called: str) -> Iterator[Finding]:
    said = [*words(container.tree.get("command")), *words(container.tree.get("args"))]
    if "mlflow" not in " ".join(said[:3]) and "mlflow" not in said:
        return
    own = option(said, "--port") or option(said, "-p") or str(MLFLOW_PORT)
    if own.isdigit() and int(own) != number:
        at = f"{container.at}.ports"
        yield Finding(server.owner, at, f"is {number}, and the server is started with --port {own}; make them equal")
    host = option(said, "--host") or option(said, "-h") or "127.0.0.1"
    if host not in ("0.0.0.0", "::"):
        said_of = f"starts the server on {host}, where no other Pod reaches it; give --host=0.0.0.0"
        yield Finding(server.owner, f"{container.at}.args", said_of)
    allowed = container.put_in(option(said, "--allowed-hosts")) or container.value("MLFLOW_SERVER_ALLOWED_HOSTS")
    known = [one.strip() for one in allowed.split(",")]
    if not any(fnmatchcase(called, one) for one in known):
        have = allowed or "not set"
        said_of = f"is {have}, so a call to {called} is answered 403; add {called}"
        yield Finding(server.owner, f"{container.at}.env.MLFLOW_SERVER_ALLOWED_HOSTS", said_of)


def _credentials(pod: Pod, container: Container, server: Container) -> Iterator[Finding]:
    started = [*words(server.tree.get("command")), *words(server.tree.get("args"))]
    if "basic-auth" not in " ".join(started):
        return
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        if name not in container.env and not container.tree.get("envFrom"):
            said = "is missing, and the server asks who calls; take it from the Secret with valueFrom.secretKeyRef"
            yield Finding(pod.owner, f"{container.at}.env.{name}", said)


def option(said: list[str], name: str) -> str:
    """The value of an option in a command line; empty if it is not there."""
    for word, after in zip(said, [*said[1:], ""], strict=True):
        if word == name:
            return after
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return ""


def _let_through(objects: Objects, source: Pod, target: Pod, port: int, at: str) -> Iterator[Finding]:
    names = [name for container in target.main for name, number in container.port_names.items() if number == port]
    there = {"kubernetes.io/metadata.name": source.owner.namespace}
    if not admitted(objects, target, "ingress", source.labels, there, port, names):
        said = f"is kept from {target} by a NetworkPolicy; let Pods with these labels in, at port {port}"
        yield Finding(source.owner, at, said)
    elif not admitted(objects, source, "egress", target.labels, there, port, names):
        said = f"is kept from {target} by the NetworkPolicy of its own Pods; let them out to port {port}"
        yield Finding(source.owner, at, said)


def _shown(selector: object) -> str:
    plain = table(table(selector).get("matchLabels") or selector)
    return ", ".join(f"{key}: {value}" for key, value in plain.items() if isinstance(value, str)) or "everything"
