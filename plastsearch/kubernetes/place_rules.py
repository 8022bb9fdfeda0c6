"""Where a sweep writes: under mounts, of claims that all who write there may mount at once."""

from collections.abc import Iterator, Mapping

from plastsearch.kubernetes.finding import Finding
from plastsearch.kubernetes.manifests import OUTSIDE, Object, Objects, table, text, words
from plastsearch.kubernetes.pods import Container, Pod, pods

ONE_NODE = "plastsearch.io/one-node"  # annotation of a claim: the cluster has one node, where ReadWriteOnce is enough


def written(job: Object, group: list[Pod], what: str, where: Mapping[str, str], *, shared: bool) -> Iterator[Finding]:
    """A folder that is written: under a writable mount in each group; if shared, of one claim at one path."""
    homes: dict[str, str] = {}
    for pod in group:
        name = pod.group or ""
        if name not in where:
            if shared:
                said = f"{what} is not set in group {name}, but in others; give all the same"
                yield Finding(job, f"{pod.main[0].at}.env.{what}" if pod.main else pod.at, said)
            continue
        folder = where[name]
        home, wrong = _home(pod, folder, shared)
        if wrong:
            yield Finding(job, f"{pod.main[0].at}.volumeMounts" if pod.main else pod.at, f"{what} {folder} {wrong}")
        elif shared:
            homes[name] = home
    if len({*where.values()}) > 1:
        listed = ", ".join(f"{name}: {folder}" for name, folder in where.items())
        yield Finding(job, "spec.rayClusterSpec", f"{what} differs between groups ({listed}); give all the same")
    elif len({*homes.values()}) > 1:
        listed = ", ".join(f"{name}: {home}" for name, home in homes.items())
        said = f"{what} is not the same place in all groups ({listed}); mount one claim at one path"
        yield Finding(job, "spec.rayClusterSpec", said)


def _home(pod: Pod, folder: str, shared: bool) -> tuple[str, str | None]:
    if "://" in folder or not pod.main:
        return folder, None
    container: Container = pod.main[0]
    found = container.mount_of(folder)
    if found is None:
        known = ", ".join(container.mounts) or "nothing"
        return "", f"lies under no mount of group {pod.group} ({known}), so it goes with the Pod; put it under one"
    path, mount = found
    volume = pod.volumes.get(text(mount.get("name")), {})
    claim = table(volume.get("persistentVolumeClaim"))
    if mount.get("readOnly") or claim.get("readOnly") or "configMap" in volume or "secret" in volume:
        return (
            "",
            f"lies under {path}, which group {pod.group} may only read; mount it writable, or choose another folder",
        )
    if shared and not claim:
        return "", f"lies under {path} in group {pod.group}, which no other Pod sees; put it on a claim"
    return f"{text(claim.get('claimName'))}{text(mount.get('subPath'))} at {path}", None


def shared_claims(objects: Objects) -> Iterator[Finding]:
    """A claim that Pods of several nodes write to must allow that."""
    for claim in objects.of("PersistentVolumeClaim"):
        if claim.namespace == OUTSIDE:
            continue
        modes = set(words(claim.spec.get("accessModes")))
        notes = table(table(claim.tree.get("metadata")).get("annotations"))
        if "ReadWriteMany" in modes or notes.get(ONE_NODE) == "true":
            continue
        users = [pod for pod in pods(objects) if pod.owner.namespace == claim.namespace and _mounts(pod, claim.name)]
        sweeping = [pod for pod in users if pod.group is not None]
        if (len(sweeping) > 1 or any(pod.many for pod in users)) and "ReadOnlyMany" not in modes:
            have = ", ".join(sorted(modes)) or "missing"
            names = ", ".join(sorted({pod.group or str(pod) for pod in users}))
            said = f"is {have}, and {names} mount it, perhaps on several nodes; use ReadWriteMany"
            yield Finding(claim, "spec.accessModes", said)


def _mounts(pod: Pod, claim: str) -> bool:
    return any(table(one.get("persistentVolumeClaim")).get("claimName") == claim for one in pod.volumes.values())
