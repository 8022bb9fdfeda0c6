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
from plastsearch.kubernetes.manifests import Object, Objects, rows, table, text, words
from plastsearch.kubernetes.place_rules import shared_claims, written
from plastsearch.kubernetes.pods import GPU, HEAD, SWEEP, Pod, pods, ray_pods
from plastsearch.kubernetes.quantities import amount
from plastsearch.kubernetes.schema import alike
from plastsearch.spec.load import load_sweep
from plastsearch.spec.sweep import SweepSpec

SUBMISSION = "PLASTSEARCH_SUBMISSION"  # by which attempts of one job know that one of them ended for good
RAY_NAMES = {"cpu": "CPU", "memory": "memory"}
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
    yield from shared_claims(objects)


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
    yield from _space(objects, job, group, head, space, [str(one) for one in values.get("sets") or ()])
    out = str(values.get("out"))
    yield from written(job, group, "--out", {pod.group or "": out for pod in group}, shared=True)
    for option in ("store", "cache", "clips"):
        if values.get(option):
            where = dict.fromkeys((pod.group or "" for pod in group), str(values[option]))
            yield from written(job, group, f"--{option}", where, shared=option != "cache")
    for name in (*_SHARED_PATHS, *_OWN_PATHS):
        given = {pod.group or "": pod.main[0].value(name) for pod in group if pod.main and pod.main[0].value(name)}
        if given:
            yield from written(job, group, name, given, shared=name in _SHARED_PATHS)
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
        brought = brought_by(pod)
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


def brought_by(pod: Pod) -> dict[str, float]:
    """What a worker of a group brings, by Ray's names."""
    limits = table(table(pod.main[0].tree.get("resources")).get("limits")) if pod.main else {}
    requests = table(table(pod.main[0].tree.get("resources")).get("requests")) if pod.main else {}
    found = {RAY_NAMES[name]: amount(limits.get(name, requests.get(name))) for name in RAY_NAMES}
    return {name: number for name, number in {**found, "GPU": pod.gpus}.items() if number}


def _affordable(objects: Objects, job: Object, group: list[Pod]) -> Iterator[Finding]:
    """A quota that is smaller than what the groups may grow to leaves Pods pending for ever."""
    wanted = sum(
        (amount(pod.main[0].limit(GPU)) or 0) * pod.replicas
        for pod in group
        if pod.main and isinstance(pod.replicas, int)
    )
    for quota in objects.of("ResourceQuota"):
        allowed = amount(table(quota.spec.get("hard")).get("requests.nvidia.com/gpu"))
        if quota.namespace == job.namespace and allowed is not None and wanted > allowed:
            said = f"may take {wanted:g} GPUs, ResourceQuota {quota.name} allows {allowed:g}; lower that or raise this"
            yield Finding(job, "spec.rayClusterSpec.workerGroupSpecs.maxReplicas", said)


def _space(
    objects: Objects, job: Object, group: list[Pod], head: Pod, space: str, sets: list[str]
) -> Iterator[Finding]:
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
    spec, wrong = _read(str(files[key]), PurePosixPath(space).name, sets)
    for mistake in wrong:
        yield Finding(content, f"data.{key}", mistake)
    if spec is not None:
        yield from _corpora(job, group, spec)


def _read(content: str, name: str, sets: list[str]) -> tuple[SweepSpec | None, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(content)
        try:
            return load_sweep(file, sets), []
        except SpecError as error:
            return None, [one.replace(f"{folder}/", "") for one in error.mistakes]


def _corpora(job: Object, group: list[Pod], spec: SweepSpec) -> Iterator[Finding]:
    """What a space names on somebody's own disk is not there in a Pod."""
    data = spec.base.data
    named = {
        "root": data.root, "manifest": data.manifest,
        "search_dev.root": data.search_dev.root, "search_dev.manifest": data.search_dev.manifest,
    }  # fmt: skip
    for key, path in named.items():
        for pod in group if path else ():
            if pod.main and (not str(path).startswith("/") or pod.main[0].mount_of(str(path)) is None):
                known = ", ".join(pod.main[0].mounts)
                said = f"base.data.{key} is {path}, under no mount of group {pod.group} ({known})"
                yield Finding(
                    job, "spec.entrypoint", f"{said}; say where it is there: --set base.data.{key}=/corpora/…"
                )
                break
