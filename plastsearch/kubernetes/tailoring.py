"""A sweep's objects, as an overlay has them, made those of another sweep: its name, command, size and metadata."""

import json
import re
import shlex
from collections.abc import Sequence
from typing import Any

from plastsearch.errors import PlastsearchError
from plastsearch.execute.autoscaler import GROUPS, declared_groups
from plastsearch.execute.resources import Request, check_fit
from plastsearch.kubernetes.manifests import Object, Objects, Tree, dig, rows, table, text
from plastsearch.kubernetes.pods import HEAD, SWEEP, gpus_of, ray_pods
from plastsearch.kubernetes.ray_rules import LONGEST_ACCOUNT
from plastsearch.kubernetes.sweep_rules import brought_by
from plastsearch.spec.sweep import SweepSpec
from plastsearch.words import duration

SPARE_S = 3600  # for nodes to come and a report to be written, beyond the space's own limit of time
LONGEST = LONGEST_ACCOUNT - len("-head")  # of a sweep's name, whose head has an account of its own
_NAMES = {"name", "serviceAccountName", SWEEP}  # keys below which a name of the sweep's own objects stands


def check_name(name: str) -> None:
    """Refuse a name that KubeRay would."""
    if len(name) > LONGEST or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        raise PlastsearchError(
            f"--name {name}: no name for a RayJob; use a-z, 0-9 and -, begin with a letter, "
            f"{LONGEST} characters at most"
        )


def the_job(objects: Objects) -> Object:
    """The only RayJob of an overlay."""
    jobs = objects.of("RayJob")
    if len(jobs) != 1:
        raise PlastsearchError(f"the overlay holds {len(jobs)} RayJobs; it must hold one")
    return jobs[0]


def renamed(node: Any, old: str, new: str) -> Any:
    """The same tree, in which the sweep's objects have names with `new` where `old` stood, at their beginning."""
    if isinstance(node, list):
        return [renamed(item, old, new) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _name(value, old, new) if key in _NAMES else renamed(value, old, new) for key, value in node.items()}


def _name(value: Any, old: str, new: str) -> Any:
    if isinstance(value, str) and (value == old or value.startswith(f"{old}-")):
        return new + value[len(old) :]
    return renamed(value, old, new)


def set_command(job: Tree, name: str, space: str, sets: Sequence[str]) -> None:
    """The entrypoint of the overlay, for another space and name, with further settings."""
    said = shlex.split(text(dig(job, "spec", "entrypoint")))
    if said[:2] != ["plastsearch", "sweep"] or "--name" not in said:
        raise PlastsearchError("the overlay's entrypoint is no `plastsearch sweep SPACE --name N …`; mend the overlay")
    said[2] = space
    said[said.index("--name") + 1] = name
    # Quoted, since Ray gives the line to a shell.
    job["spec"]["entrypoint"] = shlex.join([*said, *(word for one in sets for word in ("--set", one))])


def set_gpus(job: Tree, gpus: int) -> None:
    """So many GPUs at most, over all groups that have some, in the proportion that the overlay has."""
    groups = [group for group in _groups(job) if gpus_of(group)]
    if not groups:
        raise PlastsearchError("--gpus: the overlay has no group of GPU workers; use gpu, spot, kueue or s3")
    total = sum(group["maxReplicas"] for group in groups)
    main = max(groups, key=lambda group: int(group["maxReplicas"]))
    each = int(gpus_of(main))
    if gpus < 1 or gpus % each:
        raise PlastsearchError(f"--gpus {gpus}: a worker has {each} of them; give a multiple of that, at least {each}")
    workers = left = gpus // each
    for group in groups:
        if group is not main:
            share = workers * group["maxReplicas"] // total
            left -= share
            _resize(group, share)
    _resize(main, left)


def _resize(group: Tree, most: int) -> None:
    fixed = group.get("minReplicas") == group["maxReplicas"]
    group["maxReplicas"] = most
    for name in ("minReplicas", "replicas"):
        group[name] = most if fixed else min(group.get(name, 0), most)


def _groups(job: Tree) -> list[Tree]:
    return rows(dig(job, "spec", "rayClusterSpec", "workerGroupSpecs"))


def set_environment(job: Tree, name: str, value: str) -> None:
    """A variable of the head's."""
    container = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    for entry in rows(container.get("env")):
        if entry.get("name") == name:
            entry.clear()
            entry.update(name=name, value=value)
            return
    container.setdefault("env", []).append({"name": name, "value": value})


def declare_groups(job: Tree) -> str:
    """Tell the driver what the groups of this manifest may bring; the declaration."""
    declared = []
    for pod in ray_pods(Object(job)):
        if pod.group != HEAD:
            whole = {one: int(n) if n == int(n) else n for one, n in brought_by(pod).items()}
            declared.append({"name": pod.group, "resources": whole, "max": pod.replicas})
    said = json.dumps(declared)
    set_environment(job, GROUPS, said)
    return said


def parallel(spec: SweepSpec, declared: str) -> int:
    """How many trials the cluster holds at a time; refuses one that no worker can ever hold."""
    asked = spec.resources
    kinds = declared_groups({GROUPS: declared})
    request = Request(asked.cpu, asked.gpu, asked.memory_gb, asked.custom).on(kinds)
    check_fit(request, kinds)
    slots = sum(kind.holds(request) for kind in kinds)
    return min(slots, spec.search.parallel or slots)


def set_metadata(job: Tree, spec: SweepSpec, name: str, at_a_time: int) -> None:
    """What it will cost at most, where whoever looks at the cluster finds it."""
    search = spec.search
    limits = {
        "wall time": duration(search.wall_s) if search.wall_s else None,
        "GPU-hours": f"{search.gpu_hours:g}" if search.gpu_hours else None,
    }
    budget = ", ".join(f"{what} {value}" for what, value in limits.items() if value) or f"{spec.runs.total} runs"
    facts = {
        "trials": str(search.trials), "runs": str(spec.runs.total), "parallel": str(at_a_time), "budget": budget,
        "space-hash": spec.spec_hash(),
    }  # fmt: skip
    notes = table(job["metadata"].get("annotations"))
    notes |= {f"plastsearch.io/{key}": value for key, value in facts.items()}
    if spec.question:
        notes["plastsearch.io/question"] = spec.question
    job["metadata"]["annotations"] = notes
    job["spec"]["metadata"] = {"sweep": name, **{key.replace("-", "_"): value for key, value in facts.items()}}
    deadline = job["spec"].get("activeDeadlineSeconds")
    if search.wall_s and isinstance(deadline, int):
        job["spec"]["activeDeadlineSeconds"] = max(deadline, int(search.wall_s) + SPARE_S)


def mount_space(job: Tree, config_map: str) -> None:
    """Every container that reads spaces gets the one that is embedded."""
    found = 0
    for group in [job["spec"]["rayClusterSpec"]["headGroupSpec"], *_groups(job)]:
        for volume in rows(dig(group, "template", "spec", "volumes")):
            if volume.get("name") == "spaces" and "configMap" in volume:
                volume["configMap"] = {"name": config_map}
                found += 1
    if not found:
        raise PlastsearchError("the overlay mounts no ConfigMap as volume `spaces`; mend the overlay")


def moved(node: Any, old: str, new: str) -> Any:
    """The same tree in another namespace, wherever the old one stands by its own key."""
    if isinstance(node, list):
        return [moved(item, old, new) for item in node]
    if not isinstance(node, dict):
        return node
    tree: Tree = {
        key: new if key == "namespace" and value == old else moved(value, old, new) for key, value in node.items()
    }
    if tree.get("kind") == "Namespace" and dig(tree, "metadata", "name") == old:
        tree["metadata"]["name"] = new
    return tree
