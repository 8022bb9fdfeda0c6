"""What the KubeRay operator refuses, or takes and then fails over, although its definitions allow it."""

import re
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version

from plastsearch.kubernetes.finding import Finding
from plastsearch.kubernetes.manifests import Object, Objects, Tree, dig, rows, table, text
from plastsearch.kubernetes.pods import HEAD, Pod, cluster_spec, ray_pods, slices_of
from plastsearch.kubernetes.quantities import amount

MODES = ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")
LONGEST = {"RayJob": 47, "RayCluster": 53}
LONGEST_ACCOUNT = 50  # of a head with autoscaling: of a longer name KubeRay keeps the end, and makes an account of that
MOST_ATTEMPTS = 3
DRAIN, DRAIN_S = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", 30.0  # Ray's own default
GRACE_S = 30  # Kubernetes' own
QUEUE = "kueue.x-k8s.io/queue-name"
ELASTIC = "kueue.x-k8s.io/elastic-job"
_GATED = {"networkPolicy": "RayClusterNetworkPolicy", "tlsOptions": "RayClusterMTLS",
          "historyServerOptions": "RayClusterHistoryServer"}  # fmt: skip
_FIRST_TOKEN = (2, 52)


def ray_findings(objects: Objects) -> Iterator[Finding]:
    """RayJobs and RayClusters, each by itself."""
    for one in objects.of("RayJob", "RayCluster"):
        if len(one.name) > LONGEST[one.kind]:
            most = LONGEST[one.kind]
            yield Finding(one, "metadata.name", f"has {len(one.name)} characters; KubeRay takes {most} at most")
        if one.name and not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", one.name):
            yield Finding(one, "metadata.name", "is no name for KubeRay; use a-z, 0-9 and -, and begin with a letter")
        if one.kind == "RayJob":
            yield from _job(one)
        yield from _cluster(one)


def _job(one: Object) -> Iterator[Finding]:
    spec = one.spec
    mode = spec.get("submissionMode", MODES[0])
    if mode not in MODES:
        yield Finding(one, "spec.submissionMode", f"is {mode!r}; use HTTPMode (KubeRay knows {', '.join(MODES)})")
    elif mode != "HTTPMode":
        said = f"is {mode}, in which a broken log stream or head ends a healthy sweep; use HTTPMode"
        yield Finding(one, "spec.submissionMode", said)
    if not text(spec.get("entrypoint")):
        yield Finding(one, "spec.entrypoint", "is missing; give the command, such as plastsearch sweep …")
    for field in ("entrypointNumCpus", "entrypointNumGpus"):
        if spec.get(field):
            yield Finding(one, f"spec.{field}", "puts the driver on a worker, which may go; leave it out")
    shutdown = spec.get("shutdownAfterJobFinishes") is True
    after = spec.get("ttlSecondsAfterFinished")
    if isinstance(after, int) and after > 0 and not shutdown:
        said = "needs shutdownAfterJobFinishes: true; add that, or KubeRay refuses the job"
        yield Finding(one, "spec.ttlSecondsAfterFinished", said)
    elif not shutdown and not spec.get("deletionStrategy"):
        yield Finding(
            one, "spec.shutdownAfterJobFinishes", "is not true; set it, or the GPUs stay after the sweep's end"
        )
    for field in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        value = spec.get(field)
        if isinstance(value, int) and value <= 0:
            yield Finding(one, f"spec.{field}", f"is {value}; give seconds above 0, or leave it out")
    yield from _attempts(one)
    yield from _queue(one, shutdown)


def _attempts(one: Object) -> Iterator[Finding]:
    attempts = one.spec.get("backoffLimit", 0)
    if isinstance(attempts, int) and not 0 <= attempts <= MOST_ATTEMPTS:
        said = f"is {attempts}; give 0 to {MOST_ATTEMPTS}: each attempt is a whole new cluster"
        yield Finding(one, "spec.backoffLimit", said)
    if one.spec.get("clusterSelector") and attempts:
        yield Finding(one, "spec.backoffLimit", "cannot be used with clusterSelector; leave one of them out")


def _queue(one: Object, shutdown: bool) -> Iterator[Finding]:
    if QUEUE not in one.labels:
        return
    if not shutdown:
        yield Finding(one, "spec.shutdownAfterJobFinishes", "must be true for a job that Kueue manages; set it")
    cluster = cluster_spec(one)
    if (
        cluster.get("enableInTreeAutoscaling") is True
        and str(dig(one.tree, "metadata", "annotations", ELASTIC)) != "true"
    ):
        yield Finding(
            one, "spec.rayClusterSpec.enableInTreeAutoscaling",
            "Kueue reserves a fixed size and refuses autoscaling; set it to false and give replicas",
        )  # fmt: skip
    if len(rows(cluster.get("workerGroupSpecs"))) > 7:
        yield Finding(one, "spec.rayClusterSpec.workerGroupSpecs", "has over 7 groups; Kueue takes 7 at most")
    if "suspend" in one.spec:
        yield Finding(one, "spec.suspend", "belongs to Kueue; leave it out")


def _cluster(one: Object) -> Iterator[Finding]:
    spec = cluster_spec(one)
    if not spec:
        yield Finding(one, "spec.rayClusterSpec", "is missing; describe the cluster")
        return
    at = "spec.rayClusterSpec" if one.kind == "RayJob" else "spec"
    installed = version("ray")
    if spec.get("rayVersion") != installed:
        have = spec.get("rayVersion", "missing")
        yield Finding(one, f"{at}.rayVersion", f"is {have}; the image holds Ray {installed}, so give that")
    auth = table(spec.get("authOptions"))
    if auth.get("mode") != "token":
        said = 'is not "token": whoever reaches the dashboard could run code; set authOptions: {mode: token}'
        yield Finding(one, f"{at}.authOptions.mode", said)
    if auth.get("enableK8sTokenAuth") and one.kind == "RayJob":
        yield Finding(one, f"{at}.authOptions.enableK8sTokenAuth", "is refused for a RayJob; leave it out")
    if spec.get("upgradeStrategy") and one.kind == "RayJob":
        yield Finding(one, f"{at}.upgradeStrategy", "cannot be set in a RayJob; leave it out")
    for field, gate in _GATED.items():
        if field in spec:
            yield Finding(one, f"{at}.{field}", f"needs KubeRay's feature gate {gate}, which is off; leave it out")
    yield from _scaling(one, spec, at)
    yield from _head(one, spec, at)


def _scaling(one: Object, spec: Tree, at: str) -> Iterator[Finding]:
    scales = spec.get("enableInTreeAutoscaling") is True
    options = table(spec.get("autoscalerOptions"))
    second = options.get("version") == "v2"
    if scales and not second:
        have = options.get("version", "missing")
        yield Finding(one, f"{at}.autoscalerOptions.version", f"is {have}; use v2, which the driver asks what may come")
    if options and not scales:
        said = "has no effect without enableInTreeAutoscaling: true; leave it out, or turn that on"
        yield Finding(one, f"{at}.autoscalerOptions", said)
    groups = rows(spec.get("workerGroupSpecs"))
    if not groups:
        yield Finding(one, f"{at}.workerGroupSpecs", "is empty; give a worker group, for no trial runs on the head")
    twice = [name for name, n in Counter(text(group.get("groupName")) for group in groups).items() if n > 1]
    for name in twice:
        yield Finding(one, f"{at}.workerGroupSpecs", f"two groups are named {name}; name one of them otherwise")
    for number, group in enumerate(groups):
        here = f"{at}.workerGroupSpecs[{number}]"
        yield from _sizes(one, group, here, scales)
        if "idleTimeoutSeconds" in group and not (scales and second):
            yield Finding(one, f"{here}.idleTimeoutSeconds", "needs autoscaler v2; leave it out, or turn that on")
        yield from _gpus(one, group, f"{here}.rayStartParams.num-gpus")
        if group.get("suspend") and scales:
            yield Finding(one, f"{here}.suspend", "cannot be used with autoscaling; leave it out")
    for pod in ray_pods(one):
        if pod.group != HEAD:
            yield from _notice(one, pod)
        if second and scales and pod.spec.get("restartPolicy") not in (None, "Never"):
            yield Finding(one, f"{pod.at}.restartPolicy", "must be Never with autoscaler v2; leave it out")


def _gpus(one: Object, group: Tree, at: str) -> Iterator[Finding]:
    """KubeRay counts slices of GPUs as GPUs, and Ray's autoscaler does not: there both are told."""
    told, slices = dig(group, "rayStartParams", "num-gpus"), slices_of(group)
    if told is not None and not slices:
        yield Finding(one, at, "is read by KubeRay from the limits; leave it out, or both must be changed together")
    elif slices and amount(told) != slices:
        have = "missing" if told is None else f"{told!r}"
        said = (
            f'is {have}, and Ray\'s autoscaler counts no slice of a GPU by itself; set it to "{slices:g}", as limited'
        )
        yield Finding(one, at, said)


def _notice(one: Object, pod: Pod) -> Iterator[Finding]:
    """A Pod that must go is killed after its grace; trials part while Ray drains its node, which has to end before."""
    told = amount(pod.main[0].value(DRAIN)) if pod.main else None
    drain = DRAIN_S if told is None else told
    grace = pod.spec.get("terminationGracePeriodSeconds", GRACE_S)
    if isinstance(grace, int) and grace <= drain:
        said = f"is {grace}, and Ray drains a node for {drain:g} s; make it longer than that, or {DRAIN} shorter"
        yield Finding(one, f"{pod.at}.terminationGracePeriodSeconds", said)


def _sizes(one: Object, group: Tree, here: str, scales: bool) -> Iterator[Finding]:
    names = ("minReplicas", "replicas", "maxReplicas")
    least, now, most = (group.get(name) for name in names)
    if not isinstance(most, int):
        yield Finding(
            one, f"{here}.maxReplicas", "is missing, which means 2147483647; give the most that may be paid for"
        )
        return
    least = least if isinstance(least, int) else 0
    now = now if isinstance(now, int) else least
    if not 0 <= least <= now <= most:
        said = f"are {least}, {now}, {most}; keep 0 ≤ minReplicas ≤ replicas ≤ maxReplicas"
        yield Finding(one, f"{here}.minReplicas/replicas/maxReplicas", said)
    elif not scales and now == 0:
        yield Finding(one, f"{here}.replicas", "is 0 without autoscaling, so the group never comes; give its size")


def _head(one: Object, spec: Tree, at: str) -> Iterator[Finding]:
    account = text(dig(spec, "headGroupSpec", "template", "spec", "serviceAccountName"))
    if len(account) > LONGEST_ACCOUNT and spec.get("enableInTreeAutoscaling") is True:
        said = f"has {len(account)} characters; with autoscaling KubeRay takes {LONGEST_ACCOUNT} at most, so shorten it"
        yield Finding(one, f"{at}.headGroupSpec.template.spec.serviceAccountName", said)
    start = table(dig(spec, "headGroupSpec", "rayStartParams"))
    if start.get("num-cpus") != "0":
        have = repr(start.get("num-cpus")) if "num-cpus" in start else "missing"
        said = f'is {have}; set it to "0" (in quotes), or trials land on the head'
        yield Finding(one, f"{at}.headGroupSpec.rayStartParams.num-cpus", said)
    if "num-gpus" in start:
        yield Finding(one, f"{at}.headGroupSpec.rayStartParams.num-gpus", "the head runs no trial; leave it out")
    host = start.get("dashboard-host")
    if host not in (None, "0.0.0.0", "::"):
        said = f"is {host}, where the operator cannot submit; leave it out"
        yield Finding(one, f"{at}.headGroupSpec.rayStartParams.dashboard-host", said)
