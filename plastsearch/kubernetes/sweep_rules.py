"""A sweep's job against itself: its command, its space, where it writes, and what its worker groups may bring."""

import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from plastsearch.errors import ClusterError, SpecError
from plastsearch.execute.autoscaler import GROUPS, declared_groups
from plastsearch.kubernetes.finding import Finding
from plastsearch.kubernetes.manifests import OUTSIDE, Object, Objects, rows, table, text, words
from plastsearch.kubernetes.pods import HEAD, SWEEP, Container, Pod, pods, ray_pods
from plastsearch.kubernetes.quantities import amount
from plastsearch.kubernetes.schema import alike

ONE_NODE = "plastsearch.io/one-node"  # annotation of a claim: the cluster has one node, where ReadWriteOnce is enough
SUBMISSION = "PLASTSEARCH_SUBMISSION"  # by which attempts of one job know that one of them ended for good
RAY_NAMES = {"cpu": "CPU", "memory": "memory", "nvidia.com/gpu": "GPU"}
_SHARED_PATHS = ("PLASTSEARCH_CLIPS",)  # written by one Pod and read by others
_OWN_PATHS = ("PLASTSEARCH_CACHE", "PLASTSEARCH_STORE", "HF_HOME", "TORCH_HOME")
_CODE = "python -m "


@dataclass(frozen=True)
class Command:
    """A command line of ours, understood: which command it is, and the values of its options."""

    name: str
    values: Mapping[str, Any]


Reader = Callable[[Sequence[str]], Command | str]  # words after `plastsearch` → the command, or what is wrong with them


def sweep_findings(objects: Objects, read: Reader) -> Iterator[Finding]:
    """RayJobs and every other Pod that runs a command of ours."""
    for job in objects.of("RayJob"):
        yield from _job(objects, job, read)
    for pod in pods(objects):
        for container in pod.containers:
            said = [*words(container.tree.get("command")), *words(container.tree.get("args"))]
            for mistake in _own_command(said, read):
                yield Finding(pod.owner, f"{container.at}.command", mistake)
    yield from _shared_claims(objects)


def _own_command(said: list[str], read: Reader) -> Iterator[str]:
    if said[:1] == ["plastsearch"]:
        understood = read(said[1:])
        if isinstance(understood, str):
            yield f"{understood}; correct the command"
    elif len(said) > 2 and said[0].startswith("python") and said[1] == "-m" and said[2].startswith("plastsearch."):
        try:
            there = find_spec(said[2])
        except ModuleNotFoundError:
            there = None
        if there is None:
            yield f"runs {said[2]}, which does not exist; name a module of plastsearch"


def _job(objects: Objects, job: Object, read: Reader) -> Iterator[Finding]:
    group = ray_pods(job)
    heads = [pod for pod in group if pod.group == HEAD and pod.main]
    if not heads:
        return  # a schema has said so
    head = heads[0]
    yield from _labels(job, group)
    yield from _declared(job, head, [pod for pod in group if pod.group != HEAD])
    yield from _affordable(objects, job, group)
    if job.spec.get("backoffLimit") and SUBMISSION not in head.main[0].env:
        said = "is missing, so a mistake costs a cluster for each attempt; give a word that is this submission's own"
        yield Finding(job, f"{head.main[0].at}.env.{SUBMISSION}", said)
    command = _understood(job, read)
    if isinstance(command, str):
        yield Finding(job, "spec.entrypoint", f"{command}; correct the command")
        return
    values = command.values
    if not values.get("resume"):
        said = "lacks --resume, so every attempt after the first is refused; add it"
        yield Finding(job, "spec.entrypoint", said)
    if values.get("executor") == "tune" and not values.get("address"):
        said = "lacks --address auto, so the driver would start a Ray of its own on the head; add it"
        yield Finding(job, "spec.entrypoint", said)
    space = str(values.get("space"))
    yield from _space(objects, job, head, space, [str(one) for one in values.get("sets") or ()])
    out = str(values.get("out"))
    yield from _written(job, group, "--out", {pod.group or "": out for pod in group}, shared=True)
    for option in ("store", "cache"):
        if values.get(option):
            where = dict.fromkeys((pod.group or "" for pod in group), str(values[option]))
            yield from _written(job, group, f"--{option}", where, shared=option == "store")
    for name in (*_SHARED_PATHS, *_OWN_PATHS):
        given = {pod.group or "": pod.main[0].value(name) for pod in group if pod.main and pod.main[0].value(name)}
        if given:
            yield from _written(job, group, name, given, shared=name in _SHARED_PATHS)
    if not values.get("cache") and not head.main[0].value("PLASTSEARCH_CACHE"):
        said = "is not set, so every node keeps its cache on the shared volume; name a folder of an emptyDir"
        yield Finding(job, f"{head.main[0].at}.env.PLASTSEARCH_CACHE", said)


def _understood(job: Object, read: Reader) -> Command | str:
    entrypoint = text(job.spec.get("entrypoint"))
    try:
        said = shlex.split(entrypoint)
    except ValueError as error:
        return f"cannot be read as a command ({error})"
    for prefix in (["plastsearch"], [*_CODE.split(), "plastsearch.cli.main"]):
        if said[: len(prefix)] == prefix:
            understood = read(said[len(prefix) :])
            if isinstance(understood, Command) and understood.name != "sweep":
                return f"runs plastsearch {understood.name}, and a job runs plastsearch sweep"
            return understood
    return f"runs {said[0] if said else 'nothing'}, and a job runs plastsearch sweep"


def _labels(job: Object, group: list[Pod]) -> Iterator[Finding]:
    name = job.labels.get(SWEEP)
    if name is None:
        yield Finding(job, f"metadata.labels.{SWEEP}", "is missing; give the sweep's name, by which all is found again")
        return
    for pod in group:
        have = pod.labels.get(SWEEP)
        if have != name:
            at = pod.at.removesuffix(".spec") + f".metadata.labels.{SWEEP}"
            yield Finding(job, at, f"is {have or 'missing'}, the job's is {name}; give the same to the Pods")


def _declared(job: Object, head: Pod, groups: list[Pod]) -> Iterator[Finding]:
    """The driver is told what an empty cluster may become: exactly what the same manifest may start."""
    at = f"{head.main[0].at}.env.{GROUPS}"
    given = head.main[0].value(GROUPS)
    if not given:
        yield Finding(
            job, at, "is missing, so the driver takes an empty cluster for one that never grows; declare the groups"
        )
        return
    try:
        kinds = declared_groups({GROUPS: given})
    except ClusterError as error:
        yield Finding(job, at, str(error).removeprefix(f"{GROUPS}: "))
        return
    if len(kinds) != len(groups):
        yield Finding(job, at, f"declares {len(kinds)} groups, the cluster has {len(groups)}; declare each of them")
        return
    for kind, pod in zip(kinds, groups, strict=True):
        brought = _brought(pod)
        for name in sorted({*kind.resources, *brought}):
            declared, real = kind.resources.get(name, 0), brought.get(name, 0)
            if declared != real:
                said = (
                    f"declares {declared:g} {name} for group {pod.group}, whose limits give {real:g}; make them equal"
                )
                yield Finding(job, at, said)
        if kind.count != pod.replicas:
            said = f"declares at most {kind.count} of group {pod.group}, maxReplicas is {pod.replicas}; make them equal"
            yield Finding(job, at, said)


def _brought(pod: Pod) -> dict[str, float]:
    limits = table(table(pod.main[0].tree.get("resources")).get("limits")) if pod.main else {}
    requests = table(table(pod.main[0].tree.get("resources")).get("requests")) if pod.main else {}
    found = {RAY_NAMES[name]: amount(limits.get(name, requests.get(name))) for name in RAY_NAMES}
    return {name: number for name, number in found.items() if number}


def _affordable(objects: Objects, job: Object, group: list[Pod]) -> Iterator[Finding]:
    """A quota that is smaller than what the groups may grow to leaves Pods pending for ever."""
    wanted = sum(_brought(pod).get("GPU", 0) * pod.replicas for pod in group if isinstance(pod.replicas, int))
    for quota in objects.of("ResourceQuota"):
        allowed = amount(table(quota.spec.get("hard")).get("requests.nvidia.com/gpu"))
        if quota.namespace == job.namespace and allowed is not None and wanted > allowed:
            said = f"may take {wanted:g} GPUs, ResourceQuota {quota.name} allows {allowed:g}; lower that or raise this"
            yield Finding(job, "spec.rayClusterSpec.workerGroupSpecs.maxReplicas", said)


def _space(objects: Objects, job: Object, head: Pod, space: str, sets: list[str]) -> Iterator[Finding]:
    found = head.main[0].mount_of(space)
    at = "spec.entrypoint"
    if found is None:
        known = ", ".join(head.main[0].mounts) or "nothing"
        yield Finding(job, at, f"reads {space}, which lies under no mount of the head ({known}); name the mounted file")
        return
    path, mount = found
    source = table(head.volumes.get(text(mount.get("name")), {}).get("configMap"))
    if not source:
        return  # a space on a volume: nobody can look into it here
    content = objects.find("ConfigMap", text(source.get("name")), job.namespace)
    if content is None:
        return  # the reference leads nowhere, which is said elsewhere
    files = table(content.tree.get("data"))
    shown = {text(item.get("path")): text(item.get("key")) for item in rows(source.get("items"))}
    inside = text(mount.get("subPath")) or str(PurePosixPath(space).relative_to(path or "/"))
    key = shown.get(inside, inside) if shown else inside
    if key not in files or (shown and inside not in shown):
        near = alike(inside, sorted(shown or files))
        yield Finding(job, at, f"reads {space}, which ConfigMap {content.name} does not hold; {near}")
        return
    for mistake in _mistakes(str(files[key]), PurePosixPath(space).name, sets):
        yield Finding(content, f"data.{key}", mistake)


def _mistakes(content: str, name: str, sets: list[str]) -> list[str]:
    from plastsearch.spec.load import load_sweep

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(content)
        try:
            load_sweep(file, sets)
        except SpecError as error:
            return [one.replace(f"{folder}/", "") for one in error.mistakes]
    return []


def _written(job: Object, group: list[Pod], what: str, where: Mapping[str, str], *, shared: bool) -> Iterator[Finding]:
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


def _shared_claims(objects: Objects) -> Iterator[Finding]:
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
