"""Manifests that are broken on purpose, one place at a time: each is refused with the sentence that names the place."""

import copy
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from plastsearch.cli.cluster.k8s import read_command
from plastsearch.errors import PlastsearchError
from plastsearch.kubernetes.check import check
from plastsearch.kubernetes.manifests import Object, Objects, parse
from tests.rendering import COMPONENTS, K8S, kustomization, render

Document = dict[str, Any]


class Manifests:
    """What `kubectl apply -k k8s/` sends, with names for the parts that are broken below."""

    def __init__(self, documents: list[Document]) -> None:
        self.documents = documents

    def of(self, kind: str, name: str | None = None) -> Document:
        (found,) = [
            one for one in self.documents if one["kind"] == kind and (name is None or one["metadata"]["name"] == name)
        ]
        return found

    @property
    def job(self) -> Document:
        return self.of("RayJob")["spec"]

    @property
    def cluster(self) -> Document:
        return self.job["rayClusterSpec"]

    @property
    def head(self) -> Document:
        return self.cluster["headGroupSpec"]["template"]["spec"]

    def group(self, name: str) -> Document:
        (found,) = [one for one in self.cluster["workerGroupSpecs"] if one["groupName"] == name]
        return found

    @property
    def gpu(self) -> Document:
        return self.group("gpu")["template"]["spec"]

    @property
    def mlflow(self) -> Document:
        return self.of("Deployment", "mlflow")["spec"]["template"]["spec"]

    def policy(self, name: str) -> Document:
        return self.of("NetworkPolicy", name)["spec"]

    def entrypoint(self, old: str, new: str) -> None:
        assert old in self.job["entrypoint"]
        self.job["entrypoint"] = self.job["entrypoint"].replace(old, new)

    def config(self) -> Document:
        (found,) = [one for one in self.documents if one["metadata"]["name"].startswith("search-spaces")]
        return found


def container(pod: Document) -> Document:
    return pod["containers"][0]


def env(pod: Document, name: str) -> Document:
    (found,) = [one for one in container(pod)["env"] if one["name"] == name]
    return found


def drop_env(pod: Document, name: str) -> None:
    container(pod)["env"] = [one for one in container(pod)["env"] if one["name"] != name]


def mount(pod: Document, name: str) -> Document:
    (found,) = [one for one in container(pod)["volumeMounts"] if one["name"] == name]
    return found


def volume(pod: Document, name: str) -> Document:
    (found,) = [one for one in pod["volumes"] if one["name"] == name]
    return found


def groups_said(m: Manifests, place: int, **change: Any) -> None:
    entry = env(m.head, "PLASTSEARCH_WORKER_GROUPS")
    said = json.loads(entry["value"])
    said[place].update(change)
    entry["value"] = json.dumps(said)


def put(node: Any, *path: Any) -> None:
    """put(tree, "a", 0, "b", value): set it."""
    *steps, last, value = path
    for step in steps:
        node = node[step]
    node[last] = value


def drop(node: Any, *path: Any) -> None:
    *steps, last = path
    for step in steps:
        node = node[step]
    del node[last]


def replace(node: Document, key: str, **other: Any) -> None:
    del node[key]
    node.update(other)


def argument(pod: Document, old: str, new: str) -> None:
    args = container(pod)["args"]
    args[args.index(old)] = new


def sliced(m: Manifests, told: str | None) -> None:
    """The workers take a slice of a GPU each, and Ray is told of so many."""
    replace(container(m.gpu)["resources"]["limits"], "nvidia.com/gpu", **{"nvidia.com/mig-1g.10gb": "1"})
    replace(container(m.gpu)["resources"]["requests"], "nvidia.com/gpu", **{"nvidia.com/mig-1g.10gb": "1"})
    m.group("gpu")["rayStartParams"] = {"num-gpus": told} if told else {}


Break = Callable[[Manifests], object]
RESTRICTED = "restricted pod security refuses the Pod"

BROKEN: dict[str, tuple[Break, str]] = {
    # tried from outside before
    "results mounted elsewhere": (
        lambda m: put(mount(m.gpu, "results"), "mountPath", "/result"),
        "--out /results lies under no mount of group gpu (/corpora, /result, ",
    ),
    "--out beside the mount": (
        lambda m: m.entrypoint("--out /results", "--out /tmp/results"),
        "--out /tmp/results lies under no mount of group head (",
    ),
    "MLflow called at another port": (
        lambda m: put(env(m.head, "MLFLOW_TRACKING_URI"), "value", "http://$(MLFLOW_SERVICE):5001"),
        "env.MLFLOW_TRACKING_URI: calls port 5001 of Service mlflow, which offers 5000; use that",
    ),
    "an access mode by its short name": (
        lambda m: put(m.of("PersistentVolumeClaim", "results"), "spec", "accessModes", ["RWX"]),
        "PersistentVolumeClaim results: spec.accessModes: is 'RWX', which Kubernetes does not know; use one of: Read",
    ),
    "an unknown field of RayJob": (
        lambda m: put(m.job, "backofLimit", 3),
        "RayJob w2v-layers: spec.backofLimit: no such field; did you mean backoffLimit?",
    ),
    "a name reference that kustomize does not know": (
        lambda m: put(volume(m.head, "spaces"), "configMap", "name", "search-spaces"),
        "names ConfigMap search-spaces, which is made here as search-spaces-",
    ),
    "a submission mode in other letters": (
        lambda m: put(m.job, "submissionMode", "HttpMode"),
        "spec.submissionMode: is 'HttpMode'; use HTTPMode",
    ),
    "a time to live without shutdown": (
        lambda m: drop(m.job, "shutdownAfterJobFinishes"),
        "spec.ttlSecondsAfterFinished: needs shutdownAfterJobFinishes: true",
    ),
    "more workers than allowed": (
        lambda m: put(m.group("gpu"), "minReplicas", 9),
        "are 9, 0, 8; keep 0 ≤ minReplicas ≤ replicas ≤ maxReplicas",
    ),
    "a Service that selects nothing": (
        lambda m: put(m.of("Service", "mlflow"), "spec", "selector", "app.kubernetes.io/name", "mlfow"),
        "Service mlflow: spec.selector: meets no Pod of this set (app.kubernetes.io/name: mlfow)",
    ),
    # the command
    "a flag that does not exist": (
        lambda m: m.entrypoint("--json-lines", "--json-line"),
        "spec.entrypoint: plastsearch sweep: No such option: --json-line",
    ),
    "a command that does not exist": (
        lambda m: m.entrypoint("plastsearch sweep", "plastsearch swep"),
        "plastsearch has no command swep (there are: ",
    ),
    "a command that is no sweep": (
        lambda m: put(m.job, "entrypoint", "plastsearch check /spaces/smoke.yaml"),
        "runs plastsearch check, and a job runs plastsearch sweep",
    ),
    "a quotation that does not end": (
        lambda m: m.entrypoint("--resume", '--set "a=b --resume'),
        "spec.entrypoint: cannot be read as a command (No closing quotation)",
    ),
    "no --resume": (lambda m: m.entrypoint(" --resume", ""), "lacks --resume, so every attempt after the first"),
    "no --address": (lambda m: m.entrypoint(" --address auto", ""), "lacks --address auto"),
    "a space that is not in the ConfigMap": (
        lambda m: m.entrypoint("w2v_layers.yaml", "w2v_layer.yaml"),
        "reads /spaces/w2v_layer.yaml, which ConfigMap search-spaces-",
    ),
    "a space beside the mount": (
        lambda m: m.entrypoint("/spaces/w2v", "/space/w2v"),
        "reads /space/w2v_layers.yaml, which lies under no mount of the head (",
    ),
    "a ConfigMap that kubectl cannot apply": (
        lambda m: put(m.config(), "data", "smoke.yaml", "# " + "x" * 250_000),
        " bytes, and kubectl apply takes 250,000; shorten it, or split it into several",
    ),
    "a space with a mistake": (
        lambda m: put(m.config(), "data", "w2v_layers.yaml", "version: 1\nserach: {trials: 3}\n"),
        "data.w2v_layers.yaml: w2v_layers.yaml:2: serach: unknown key",
    ),
    "a setting that the space does not have": (
        lambda m: m.entrypoint("--resume", "--set search.trial=3 --resume"),
        "search.trial: unknown key",
    ),
    "a corpus on somebody's own disk": (
        lambda m: m.entrypoint("w2v_layers.yaml", "paper/asvspoof2019_la.yaml"),
        "data/ASVspoof2019/LA, under no mount of group head (",
    ),
    "a corpus beside its mount": (
        lambda m: m.entrypoint("--resume", "--set base.data.root=/corpus/LA --resume"),
        "base.data.root is /corpus/LA, under no mount of group head (",
    ),
    "a program of ours that does not exist": (
        lambda m: put(
            m.of("Job")["spec"]["template"]["spec"], "containers", 0, "command", ["python", "-m", "plastsearch.secrets"]
        ),
        "Job mlflow-credentials: spec.template.spec.containers[0].command: runs plastsearch.secrets, which does not",
    ),
    # places
    "results that one group may only read": (
        lambda m: put(mount(m.gpu, "results"), "readOnly", True),
        "--out /results lies under /results, which group gpu may only read",
    ),
    "results on another claim in one group": (
        lambda m: put(volume(m.gpu, "results"), "persistentVolumeClaim", "claimName", "corpora"),
        "--out is not the same place in all groups (head: results at /results, cpu: results at /results, gpu: corpora",
    ),
    "results on a node's own disk": (
        lambda m: replace(volume(m.gpu, "results"), "persistentVolumeClaim", emptyDir={}),
        "--out /results lies under /results in group gpu, which no other Pod sees; put it on a claim",
    ),
    "clips elsewhere in one group": (
        lambda m: put(env(m.gpu, "PLASTSEARCH_CLIPS"), "value", "/results/clip"),
        "PLASTSEARCH_CLIPS differs between groups (head: /results/clips, cpu: /results/clips, gpu: /results/clip)",
    ),
    "clips told to the driver only": (
        lambda m: drop_env(m.gpu, "PLASTSEARCH_CLIPS"),
        "env.PLASTSEARCH_CLIPS: PLASTSEARCH_CLIPS is not set in group gpu, but in others",
    ),
    "a cache beside its mount": (
        lambda m: put(env(m.gpu, "PLASTSEARCH_CACHE"), "value", "/caches"),
        "PLASTSEARCH_CACHE /caches lies under no mount of group gpu",
    ),
    "a model hub on a read-only mount": (
        lambda m: put(env(m.head, "HF_HOME"), "value", "/corpora/hub"),
        "HF_HOME /corpora/hub lies under /corpora, which group head may only read",
    ),
    "a claim of one node for many": (
        lambda m: put(m.of("PersistentVolumeClaim", "results"), "spec", "accessModes", ["ReadWriteOnce"]),
        "spec.accessModes: is ReadWriteOnce, and Deployment toolbox, cpu, gpu, head mount it",
    ),
    "a mount without a volume": (
        lambda m: put(m.gpu, "volumes", [one for one in m.gpu["volumes"] if one["name"] != "cache"]),
        "mounts cache at /cache, a volume that the Pod lacks",
    ),
    # names
    "a claim that does not exist": (
        lambda m: put(volume(m.head, "corpora"), "persistentVolumeClaim", "claimName", "corpus"),
        "names PersistentVolumeClaim corpus, which is not among these objects; remove it, or use one of: corpora",
    ),
    "an account that does not exist": (
        lambda m: put(m.head, "serviceAccountName", "w2v-layer-head"),
        "names ServiceAccount w2v-layer-head, which is not among these objects; did you mean w2v-layers-head?",
    ),
    "a Secret that nobody makes": (
        lambda m: put(env(m.head, "MLFLOW_TRACKING_PASSWORD"), "valueFrom", "secretKeyRef", "name", "mlflo"),
        "names Secret mlflo, which is not among these objects; did you mean mlflow?",
    ),
    "a key that the Secret has not": (
        lambda m: put(env(m.head, "MLFLOW_TRACKING_PASSWORD"), "valueFrom", "secretKeyRef", "key", "PASSWORD"),
        "Secret mlflow has no key PASSWORD; ",
    ),
    "a key that the ConfigMap has not": (
        lambda m: volume(m.head, "spaces")["configMap"]["items"].append({"key": "new.yaml", "path": "new.yaml"}),
        "has no key new.yaml; ",
    ),
    "a Job that makes other credentials": (
        lambda m: put(m.of("Job")["spec"]["template"]["spec"], "containers", 0, "args", ["postgres", "mlflow"]),
        "Secret mlflow has no key MLFLOW_TRACKING_USERNAME",
    ),
    "a priority that nobody has defined": (
        lambda m: put(m.gpu, "priorityClassName", "sweeps"),
        "priorityClassName: names PriorityClass sweeps, which is not among these objects; add it",
    ),
    "a role that does not exist": (
        lambda m: put(m.of("RoleBinding"), "roleRef", "name", "credential"),
        "RoleBinding credentials: roleRef.name: names Role credential, which is not among these objects",
    ),
    # MLflow
    "a Service that does not exist": (
        lambda m: put(env(m.head, "MLFLOW_SERVICE"), "value", "ml-flow"),
        "calls Service ml-flow, which is not among these objects; did you mean mlflow?",
    ),
    "a Service of another namespace": (
        lambda m: put(m.of("Service", "mlflow"), "metadata", "namespace", "tracking"),
        "which is not among these objects; it is in namespace tracking, not in plastsearch: call mlflow.tracking",
    ),
    "a variable that stands nowhere": (
        lambda m: put(env(m.head, "MLFLOW_TRACKING_URI"), "value", "http://$(MLFLOW):5000"),
        "names $(MLFLOW), which does not stand before it",
    ),
    "a target port that nobody listens on": (
        lambda m: put(m.of("Service", "mlflow"), "spec", "ports", 0, "targetPort", "web"),
        "spec.ports[0].targetPort: is web, and Deployment mlflow listens on http, 5000",
    ),
    "a server on another port": (
        lambda m: argument(m.mlflow, "--port=5000", "--port=5050"),
        "ports: is 5000, and the server is started with --port 5050; make them equal",
    ),
    "a server that hears only itself": (
        lambda m: argument(m.mlflow, "--host=0.0.0.0", "--workers=2"),
        "starts the server on 127.0.0.1, where no other Pod reaches it",
    ),
    "a host that is not allowed": (
        lambda m: put(env(m.mlflow, "MLFLOW_SERVER_ALLOWED_HOSTS"), "value", "mlflow,localhost:*"),
        "so a call to mlflow:5000 is answered 403; add mlflow:5000",
    ),
    "a caller without a name": (
        lambda m: drop_env(m.head, "MLFLOW_TRACKING_USERNAME"),
        "env.MLFLOW_TRACKING_USERNAME: is missing, and the server asks who calls",
    ),
    "a probe at a port that is not there": (
        lambda m: put(container(m.mlflow), "readinessProbe", "httpGet", "port", "web"),
        "readinessProbe.httpGet.port: is web, where the container listens on http, 5000",
    ),
    # policies
    "a policy that keeps drivers from MLflow": (
        lambda m: put(m.policy("mlflow"), "ingress", 0, "from", 0, "podSelector", "matchLabels", {"app": "driver"}),
        "env.MLFLOW_TRACKING_URI: is kept from Deployment mlflow by a NetworkPolicy",
    ),
    "a policy for another port": (
        lambda m: put(m.policy("mlflow"), "ingress", 0, "ports", 0, "port", 5001),
        "is kept from Deployment mlflow by a NetworkPolicy; let Pods with these labels in, at port 5000",
    ),
    "a policy that keeps the operator out": (
        lambda m: put(
            m.policy("w2v-layers"), "ingress", 1, "from", 0, "podSelector", "matchLabels",
            {"app.kubernetes.io/name": "kuberay-operator"},
        ),
        "keeps the operator from port 8265; let app.kubernetes.io/component: kuberay-operator in",
    ),
    "a policy that lets other sweeps in": (
        lambda m: put(
            m.policy("w2v-layers"), "ingress", 0, "from", 0, "podSelector", "matchLabels", {"ray.io/is-ray-node": "yes"}
        ),
        "lets Pods of other sweeps in to head; select by plastsearch.io/sweep there",
    ),
    "a policy that keeps workers from the head": (
        lambda m: put(m.policy("w2v-layers"), "ingress", 0, "ports", [{"protocol": "TCP", "port": 6379}]),
        "the Ray Pods of one cluster are kept from each other (head)",
    ),
    "a policy without names": (
        lambda m: m.policy("w2v-layers").update({"policyTypes": ["Ingress", "Egress"], "egress": [
            {"to": [{"podSelector": {}}]}]}),
        "head may not ask for names; let its Pods out to UDP port 53",
    ),
    "a policy for nobody": (
        lambda m: put(m.policy("toolbox"), "podSelector", "matchLabels", {"app.kubernetes.io/name": "toolbx"}),
        "NetworkPolicy toolbox: spec.podSelector: meets no Pod of this set",
    ),
    "a Deployment that does not know its Pods": (
        lambda m: put(m.of("Deployment", "mlflow"), "spec", "selector", "matchLabels", "app.kubernetes.io/name", "x"),
        "Deployment mlflow: spec.selector: does not take the labels of its own template",
    ),
    "a sweep's label on the job alone": (
        lambda m: drop(m.cluster["headGroupSpec"]["template"]["metadata"], "labels", "plastsearch.io/sweep"),
        "metadata.labels.plastsearch.io/sweep: is missing, the job's is w2v-layers",
    ),
    # what workers may bring
    "fewer workers declared than allowed": (
        lambda m: put(m.group("gpu"), "maxReplicas", 4),
        "declares at most 8 of group gpu, maxReplicas is 4; make them equal",
    ),
    "more memory declared than given": (
        lambda m: groups_said(m, 1, resources={"CPU": 8, "GPU": 1, "memory": 2**40}),
        "memory for group gpu, whose limits give 3.43597e+10; make them equal",
    ),
    "a GPU that is not declared": (
        lambda m: groups_said(m, 1, resources={"CPU": 8, "memory": 32 * 2**30}),
        "declares 0 GPU for group gpu, whose limits give 1; make them equal",
    ),
    "a group that is not declared": (
        lambda m: put(env(m.head, "PLASTSEARCH_WORKER_GROUPS"), "value", "[]"),
        "declares 0 groups, the cluster has 2",
    ),
    "a declaration that cannot be read": (
        lambda m: put(env(m.head, "PLASTSEARCH_WORKER_GROUPS"), "value", '[{"name": "gpu"}]'),
        "env.PLASTSEARCH_WORKER_GROUPS: 0.resources: Field required",
    ),
    "attempts that do not know each other": (
        lambda m: drop_env(m.head, "PLASTSEARCH_SUBMISSION"),
        "env.PLASTSEARCH_SUBMISSION: is missing, so a mistake costs a cluster for each attempt",
    ),
    "no declaration": (lambda m: drop_env(m.head, "PLASTSEARCH_WORKER_GROUPS"), "takes an empty cluster for one"),
    "more GPUs than the quota allows": (
        lambda m: put(m.of("ResourceQuota"), "spec", "hard", "requests.nvidia.com/gpu", "4"),
        "may take 8 GPUs, ResourceQuota plastsearch allows 4; lower that or raise this",
    ),
    # the operator
    "another Ray": (lambda m: put(m.cluster, "rayVersion", "2.52.0"), "rayVersion: is 2.52.0; the image holds Ray 2.6"),
    "trials on the head": (
        lambda m: put(m.cluster, "headGroupSpec", "rayStartParams", "num-cpus", "2"),
        "rayStartParams.num-cpus: is '2'; set it to \"0\" (in quotes), or trials land on the head",
    ),
    "a number where a string belongs": (
        lambda m: put(m.cluster, "headGroupSpec", "rayStartParams", "num-cpus", 0),
        'rayStartParams.num-cpus: is 0; give a string, in quotes: "0"',
    ),
    "GPUs counted twice": (
        lambda m: put(m.group("gpu"), "rayStartParams", {"num-gpus": "1"}),
        "rayStartParams.num-gpus: is read by KubeRay from the limits; leave it out",
    ),
    "slices of GPUs that the autoscaler does not see": (
        lambda m: sliced(m, None),
        "workerGroupSpecs[1].rayStartParams.num-gpus: is missing, and Ray's autoscaler counts no slice of a GPU",
    ),
    "slices of GPUs that are miscounted": (
        lambda m: sliced(m, "2"),
        "rayStartParams.num-gpus: is '2', and Ray's autoscaler counts no slice of a GPU by itself; set it to \"1\"",
    ),
    "a Pod that is killed while its trials part": (
        lambda m: drop(m.gpu, "terminationGracePeriodSeconds"),
        "terminationGracePeriodSeconds: is 30, and Ray drains a node for 30 s; make it longer than that",
    ),
    "a node that drains for longer than it has": (
        lambda m: container(m.gpu)["env"].append({"name": "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "value": "60"}),
        "terminationGracePeriodSeconds: is 45, and Ray drains a node for 60 s; make it longer than that",
    ),
    "the old autoscaler": (
        lambda m: put(m.cluster, "autoscalerOptions", "version", "v1"),
        "autoscalerOptions.version: is v1; use v2",
    ),
    "no token": (lambda m: drop(m.cluster, "authOptions"), 'authOptions.mode: is not "token": whoever reaches'),
    "many attempts": (lambda m: put(m.job, "backoffLimit", 20), "spec.backoffLimit: is 20; give 0 to 3"),
    "a name that is too long": (
        lambda m: put(m.of("RayJob"), "metadata", "name", "a" * 48),
        "metadata.name: has 48 characters; KubeRay takes 47 at most",
    ),
    "an account whose name KubeRay would cut": (
        lambda m: put(m.head, "serviceAccountName", "a" * 51),
        "headGroupSpec.template.spec.serviceAccountName: has 51 characters; with autoscaling KubeRay takes 50 at most",
    ),
    "a queue and an autoscaler": (
        lambda m: put(m.of("RayJob"), "metadata", "labels", "kueue.x-k8s.io/queue-name", "gpus"),
        "enableInTreeAutoscaling: Kueue reserves a fixed size and refuses autoscaling",
    ),
    "a field behind a gate": (
        lambda m: put(m.cluster, "networkPolicy", {}),
        "networkPolicy: needs KubeRay's feature gate RayClusterNetworkPolicy, which is off",
    ),
    "a field that KubeRay 1.6 lacks": (
        lambda m: put(m.group("gpu"), "priority", 10),
        "workerGroupSpecs[1].priority: KubeRay 1.6 has no such field",
    ),
    "the driver on a worker": (lambda m: put(m.job, "entrypointNumCpus", 1), "puts the driver on a worker"),
    # Pods
    "a quantity that cannot be read": (
        lambda m: put(container(m.mlflow), "resources", "limits", "memory", "2GB"),
        "resources.limits.memory: is '2GB', which cannot be read",
    ),
    "a request above its limit": (
        lambda m: put(container(m.gpu), "resources", "requests", "memory", "64Gi"),
        "resources.requests.memory: is 64Gi, above its limit 32Gi",
    ),
    "no limit on memory": (
        lambda m: drop(container(m.head), "resources", "limits", "memory"),
        "resources.limits.memory: is missing, so it could take the whole node's",
    ),
    "a GPU that is asked for otherwise than limited": (
        lambda m: put(container(m.gpu), "resources", "requests", "nvidia.com/gpu", "2"),
        "devices need equal ones",
    ),
    "an init container that may become root": (
        lambda m: drop(m.mlflow["initContainers"][0], "securityContext", "allowPrivilegeEscalation"),
        "initContainers[0].securityContext.allowPrivilegeEscalation: is not false; set it, or " + RESTRICTED,
    ),
    "a container that may run as root": (
        lambda m: put(container(m.gpu), "securityContext", "runAsNonRoot", False),
        "securityContext.runAsNonRoot: is not true for this container or its Pod",
    ),
    "capabilities that are kept": (
        lambda m: put(container(m.head), "securityContext", "capabilities", {"drop": ["NET_RAW"]}),
        "securityContext.capabilities: must drop ALL and add nothing",
    ),
    "an autoscaler without limits": (
        lambda m: drop(m.cluster, "autoscalerOptions", "resources", "limits"),
        "autoscalerOptions.resources.limits.memory: is missing",
    ),
    "a volume of the host": (
        lambda m: replace(volume(m.gpu, "cache"), "emptyDir", hostPath={"path": "/x"}),
        "cache is of kind hostPath, which restricted pod security refuses",
    ),
    "a key to the API server for workers": (
        lambda m: put(m.gpu, "automountServiceAccountToken", True),
        "automountServiceAccountToken: is not false, so the Pod holds a key to the API server",
    ),
    "a password in the open": (
        lambda m: put(env(m.head, "MLFLOW_TRACKING_PASSWORD"), "value", "hunter2"),
        "env.MLFLOW_TRACKING_PASSWORD: holds a secret in the open",
    ),
    "an address with a password": (
        lambda m: put(env(m.mlflow, "MLFLOW_BACKEND_STORE_URI"), "value", "postgresql://mlflow:hunter2@db/mlflow"),
        "env.MLFLOW_BACKEND_STORE_URI: holds a secret in the open",
    ),
    "a secret that Ray would show": (
        lambda m: put(m.job, "runtimeEnvYAML", "env_vars: {HF_TOKEN: hf_x}"),
        "spec.runtimeEnvYAML: holds a secret, and Ray shows and logs this",
    ),
    "another version of the image": (
        lambda m: put(container(m.gpu), "image", "registry.example.org/plastsearch-gpu:0.0.9"),
        "image: has version 0.0.9, the others 0.1.0",
    ),
    "an image that is an address": (
        lambda m: put(container(m.mlflow), "image", "https://r.example.org/plastsearch:0.1.0"),
        "image: is 'https://r.example.org/plastsearch:0.1.0', no image; write it as HOST/PATH:TAG",
    ),
    "an image without a version": (
        lambda m: put(container(m.mlflow), "image", "plastsearch"),
        "image: is plastsearch, which may be another one tomorrow",
    ),
    "an unknown field of a Pod": (
        lambda m: put(container(m.mlflow), "imagePullPolice", "Always"),
        "containers[0].imagePullPolice: no such field; did you mean imagePullPolicy?",
    ),
    "an unknown pull policy": (
        lambda m: put(container(m.gpu), "imagePullPolicy", "always"),
        "imagePullPolicy: is 'always', which Kubernetes does not know",
    ),
    "a variable given twice": (
        lambda m: container(m.head)["env"].append({"name": "HF_HOME", "value": "/results/other"}),
        "env: lists HF_HOME twice",
    ),
    "an object of another namespace": (
        lambda m: put(m.of("Service", "mlflow"), "metadata", "namespace", "default"),
        "Service mlflow: metadata.namespace: is default, which is not made here; use plastsearch",
    ),
    "an object that is there twice": (
        lambda m: m.documents.append(m.of("Service", "mlflow")),
        "Service mlflow: metadata.name: is there twice",
    ),
    "an unknown field of a core kind": (
        lambda m: put(m.of("Service", "mlflow"), "spec", "selectors", {}),
        "Service mlflow: spec: Additional properties are not allowed ('selectors' was unexpected)",
    ),
}  # fmt: skip


def mistakes(documents: list[Document]) -> list[str]:
    return [str(one) for one in check(Objects(tuple(map(Object, documents))), read_command)[0]]


@pytest.fixture(scope="module")
def rendered():
    """Rendered and read once: that takes longer than looking at it."""
    return render(K8S)


def test_the_unbroken_ones_pass(rendered):
    assert mistakes(rendered) == []


def test_slices_of_gpus_pass_where_both_sides_are_told(rendered):
    manifests = Manifests(copy.deepcopy(rendered))
    sliced(manifests, "1")
    assert mistakes(manifests.documents) == []


@pytest.mark.parametrize(("broken", "said"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_refused_in_a_sentence(rendered, broken, said):
    manifests = Manifests(copy.deepcopy(rendered))
    broken(manifests)
    found = mistakes(manifests.documents)
    assert [one for one in found if said in one], "\n".join(found) or "nothing was found"
    assert all(one.count(": ") >= 2 and "\n" not in one for one in found), "object, field, and what is wrong, in a line"


BUDGET = {
    "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "head", "namespace": "plastsearch"},
    "spec": {"minAvailable": 1, "selector": {"matchLabels": {"ray.io/node-type": "head"}}},
}  # fmt: skip
AROUND: dict[str, tuple[Break, str]] = {
    "a monitor of nobody": (
        lambda m: put(m.of("PodMonitor"), "spec", "selector", {"matchLabels": {"app": "ray"}}),
        "PodMonitor plastsearch: spec.selector: meets no Pod of this set (app: ray)",
    ),
    "a monitor of a port that is not named": (
        lambda m: put(m.of("PodMonitor"), "spec", "podMetricsEndpoints", 0, "port", "metric"),
        "spec.podMetricsEndpoints[0].port: is metric, which no selected Pod names; did you mean metrics?",
    ),
    "a budget for nobody": (
        lambda m: put(m.of("PodDisruptionBudget"), "spec", "selector", "matchLabels", {"ray.io/node-type": "heads"}),
        "PodDisruptionBudget head: spec.selector: meets no Pod of this set (ray.io/node-type: heads)",
    ),
    "a budget that cannot be counted": (
        lambda m: replace(m.of("PodDisruptionBudget")["spec"], "minAvailable", maxUnavailable=0),
        "PodDisruptionBudget head: spec.maxUnavailable: is 0, which Kubernetes cannot count for Pods of Ray; give min",
    ),
    "a budget by percent": (
        lambda m: put(m.of("PodDisruptionBudget"), "spec", "minAvailable", "50%"),
        "PodDisruptionBudget head: spec.minAvailable: is 50%, which Kubernetes cannot count for Pods of Ray",
    ),
    "a database under another name": (
        lambda m: put(m.of("Service", "postgres"), "spec", "selector", {"app": "postgresql"}),
        "Service postgres: spec.selector: meets no Pod of this set",
    ),
    "a database's password from another Secret": (
        lambda m: put(env(m.mlflow, "POSTGRES_PASSWORD"), "valueFrom", "secretKeyRef", "name", "postgre"),
        "names Secret postgre, which is not among these objects; did you mean postgres?",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def around(tmp_path_factory):
    """The same with every component and a budget, which are a choice."""
    folder = tmp_path_factory.mktemp("around")
    resources, components = [K8S], [K8S / "components" / name for name in COMPONENTS]
    return render(kustomization(
        folder, namespace="plastsearch", resources=[os.path.relpath(one, folder) for one in resources],
        components=[os.path.relpath(one, folder) for one in components],
    )) + [BUDGET]  # fmt: skip


def test_the_unbroken_ones_with_all_components_pass(around):
    assert mistakes(around) == []


@pytest.mark.parametrize(("broken", "said"), AROUND.values(), ids=AROUND)
def test_what_is_broken_around_is_refused_too(around, broken, said):
    manifests = Manifests(copy.deepcopy(around))
    broken(manifests)
    found = mistakes(manifests.documents)
    assert [one for one in found if said in one], "\n".join(found) or "nothing was found"


def test_a_key_given_twice_is_refused_where_it_stands(rendered):
    text = yaml.safe_dump(rendered[0]) + "kind: Namespace\n"
    with pytest.raises(PlastsearchError, match=r"x\.yaml:\d+: key 'kind' is given twice; mend the YAML"):
        parse(text, "x.yaml")
