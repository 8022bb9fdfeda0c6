"""Every Pod that a set of objects starts: of Ray groups, Deployments and Jobs, with the labels it will bear."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from plastsearch.kubernetes.manifests import Object, Objects, Tree, dig, rows, table, text
from plastsearch.kubernetes.quantities import amount

GPU = "nvidia.com/gpu"
SLICE = "nvidia.com/mig-"
ANY = "\0any"  # the value of a label that the operator chooses
HEAD = "head"
_NAMED = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
_DEPTH = 3  # a variable may name another that names a third
SWEEP = "plastsearch.io/sweep"  # the label by which all of a sweep is found again
_TEMPLATES = {
    "Deployment": ("spec", "template"), "StatefulSet": ("spec", "template"), "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"), "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"), "Pod": (),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Container:
    """One container of a Pod."""

    tree: Tree
    at: str
    namespace: str

    @property
    def name(self) -> str:
        """Its name."""
        return text(self.tree.get("name")) or "(without a name)"

    @property
    def env(self) -> dict[str, Tree]:
        """Variable → its entry."""
        return {text(entry.get("name")): entry for entry in rows(self.tree.get("env"))}

    def value(self, name: str) -> str:
        """A variable given as plain text, with the variables it names put in; empty if it is given otherwise."""
        return self.put_in(text(self.env.get(name, {}).get("value")))

    def put_in(self, said: str) -> str:
        """A text of the container in which $(NAME) is what that variable holds, as far as this is known."""
        for _ in range(_DEPTH):
            said = _NAMED.sub(lambda found: self._plain(found[1]) or found[0], said)
        return said

    def _plain(self, name: str) -> str:
        entry = self.env.get(name, {})
        if dig(entry, "valueFrom", "fieldRef", "fieldPath") == "metadata.namespace":
            return self.namespace
        return text(entry.get("value"))

    @property
    def mounts(self) -> dict[str, Tree]:
        """Path → its mount, the deepest path first."""
        found = {text(mount.get("mountPath")).rstrip("/"): mount for mount in rows(self.tree.get("volumeMounts"))}
        return dict(sorted(found.items(), key=lambda item: -len(item[0])))

    def mount_of(self, path: str) -> tuple[str, Tree] | None:
        """The mount that a path lies under."""
        clean = path.rstrip("/")
        return next(((at, one) for at, one in self.mounts.items() if clean == at or clean.startswith(f"{at}/")), None)

    @property
    def port_names(self) -> dict[str, int]:
        """Name → number of its named ports."""
        ports = rows(self.tree.get("ports"))
        return {text(port.get("name")): port["containerPort"] for port in ports if dig(port, "containerPort")}

    @property
    def ports(self) -> list[int]:
        """The ports it declares."""
        return [port["containerPort"] for port in rows(self.tree.get("ports")) if dig(port, "containerPort")]

    def limit(self, resource: str) -> object:
        """The limit on a resource, as written."""
        return dig(self.tree, "resources", "limits", resource)


@dataclass(frozen=True, eq=False)
class Pod:
    """A Pod, or the template of many."""

    owner: Object
    at: str  # where its spec stands
    spec: Tree
    labels: Tree
    group: str | None = None  # `head`, or the name of a worker group
    replicas: object = 1  # at most
    gpus: float = 0.0  # whole ones or slices, as Ray counts them in a Pod of a group

    @property
    def containers(self) -> list[Container]:
        """What runs, first what runs before."""
        return [*self._of("initContainers"), *self.main]

    @property
    def main(self) -> list[Container]:
        """What runs after the init containers."""
        return self._of("containers")

    def _of(self, field: str) -> list[Container]:
        return [
            Container(one, f"{self.at}.{field}[{number}]", self.owner.namespace)
            for number, one in enumerate(rows(self.spec.get(field)))
        ]

    @property
    def volumes(self) -> dict[str, Tree]:
        """Name → volume."""
        return {text(volume.get("name")): volume for volume in rows(self.spec.get("volumes"))}

    def claim_of(self, mount: Tree) -> str | None:
        """The claim behind a mount."""
        found = dig(self.volumes.get(text(mount.get("name")), {}), "persistentVolumeClaim", "claimName")
        return found if isinstance(found, str) else None

    @property
    def many(self) -> bool:
        """Whether several of them may run at once, perhaps on several nodes."""
        return not isinstance(self.replicas, int) or self.replicas > 1

    def __str__(self) -> str:
        return str(self.owner)


def pods(objects: Objects) -> list[Pod]:
    """All of them."""
    return [pod for one in objects.all for pod in _pods_of(one)]


def ray_pods(one: Object) -> list[Pod]:
    """Head and worker groups of a RayJob or RayCluster."""
    at = "spec.rayClusterSpec" if one.kind == "RayJob" else "spec"
    cluster = cluster_spec(one)
    found = []
    head = table(cluster.get("headGroupSpec"))
    if head:
        found.append(_ray_pod(one, head, f"{at}.headGroupSpec", HEAD, 1))
    for number, group in enumerate(rows(cluster.get("workerGroupSpecs"))):
        name = text(group.get("groupName"))
        most = group.get("maxReplicas", group.get("replicas"))
        found.append(_ray_pod(one, group, f"{at}.workerGroupSpecs[{number}]", name, most))
    return found


def gpus_of(group: Tree) -> float:
    """What Ray counts as GPUs in a Pod of a group: as it is told, else whole ones, else slices."""
    told = amount(dig(group, "rayStartParams", "num-gpus"))
    limits = table(dig(group, "template", "spec", "containers", 0, "resources", "limits"))
    return (told if told is not None else amount(limits.get(GPU))) or slices_of(group)


def slices_of(group: Tree) -> float:
    """The slices of GPUs (MIG) that a Pod of a group takes."""
    limits = table(dig(group, "template", "spec", "containers", 0, "resources", "limits"))
    return sum(amount(number) or 0 for name, number in limits.items() if name.startswith(SLICE))


def cluster_spec(one: Object) -> Tree:
    """The cluster's part of a RayJob or RayCluster."""
    return table(one.spec.get("rayClusterSpec")) if one.kind == "RayJob" else one.spec


def _ray_pod(one: Object, group: Tree, at: str, name: str, most: object) -> Pod:
    template = table(group.get("template"))
    # What KubeRay puts on every Ray Pod; the cluster's name is the job's with something random behind it.
    operator = {
        "app.kubernetes.io/name": "kuberay",
        "app.kubernetes.io/created-by": "kuberay-operator",
        "ray.io/is-ray-node": "yes",
        "ray.io/cluster": ANY,
        "ray.io/identifier": ANY,
        "ray.io/node-type": "head" if name == HEAD else "worker",
        "ray.io/group": "headgroup" if name == HEAD else name,
    }
    if one.kind == "RayJob":
        operator |= {"ray.io/originated-from-crd": "RayJob", "ray.io/originated-from-cr-name": one.name}
    labels = operator | table(dig(template, "metadata", "labels"))
    return Pod(one, f"{at}.template.spec", table(template.get("spec")), labels, name, most, gpus_of(group))


def _pods_of(one: Object) -> Iterator[Pod]:
    if one.kind in ("RayJob", "RayCluster"):
        yield from ray_pods(one)
        submitter = dig(one.spec, "submitterPodTemplate")
        if isinstance(submitter, dict):
            labels = table(dig(submitter, "metadata", "labels"))
            yield Pod(one, "spec.submitterPodTemplate.spec", table(submitter.get("spec")), labels)
    elif one.kind in _TEMPLATES:
        path = _TEMPLATES[one.kind]
        template = table(dig(one.tree, *path))
        most = one.spec.get("replicas", 1) if one.kind in ("Deployment", "StatefulSet", "ReplicaSet") else 1
        yield Pod(
            one, ".".join([*path, "spec"]), table(template.get("spec")),
            table(dig(template, "metadata", "labels")), None, most,
        )  # fmt: skip


def selected(labels: Tree, selector: object) -> bool:
    """Whether a label selector, in either of its two forms, takes Pods with these labels."""
    tree = table(selector)
    plain = tree if "matchLabels" not in tree and "matchExpressions" not in tree else table(tree.get("matchLabels"))
    if not all(labels.get(key) in (value, ANY) for key, value in plain.items()):
        return False
    return all(_expressed(labels, rule) for rule in rows(tree.get("matchExpressions")))


def _expressed(labels: Tree, rule: Tree) -> bool:
    key, how, values = text(rule.get("key")), rule.get("operator"), rule.get("values")
    there, value = key in labels, labels.get(key)
    listed = isinstance(values, list) and (value in values or value == ANY)
    match how:
        case "In":
            return there and listed
        case "NotIn":
            return not (there and listed) or value == ANY
        case "Exists":
            return there
        case "DoesNotExist":
            return not there
    return False
