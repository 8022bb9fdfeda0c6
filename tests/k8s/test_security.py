"""MLflow and Ray, started as the manifests start them, answer nobody without the secret. See docs/security.md."""

import base64
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.doors import call, command_lines, doors, tree
from tests.execute.test_seclusion import DONE, METHODS, REFUSED, UNKNOWN
from tests.rendering import K8S, Document, environment, expanded, of_kind, one, render

BIN = Path(sys.executable).parent
SURROUNDINGS = {"PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


@dataclass
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(method: str, url: str, body: Any = None, **headers: str) -> Answer:
    """A request and its answer, whatever its status; headers are written with underscores."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)
    for name, value in {"Content_Type": "application/json", **headers}.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.5)


def answers(url: str) -> bool:
    try:
        return ask("GET", url).status == 200
    except OSError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """The process and its descendants, by their ids."""
    there = tree(process.pid)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in there:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
    process.wait(timeout=30)


# MLflow


@dataclass
class Mlflow:
    """A server with the arguments, environment and files of k8s/platform; only folders, address and port are others."""

    port: int
    user: str
    password: str
    surroundings: dict[str, str]
    pid: int
    host: str = "mlflow:5000"

    def ask(
        self, method: str, path: str, body: Any = None, user: tuple[str, str] | None = None, **headers: str
    ) -> Answer:
        if user is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(user).encode()).decode()
        return ask(method, f"http://127.0.0.1:{self.port}{path}", body, **{"Host": self.host, **headers})

    @property
    def admin(self) -> tuple[str, str]:
        return self.user, self.password


def deployment(documents: list[Document]) -> Document:
    (container,) = one(documents, "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"]
    return container


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    folder = tmp_path_factory.mktemp("mlflow")
    documents = render(K8S / "platform")
    container = deployment(documents)
    port, user, password = free_port(), "plastsearch", secrets.token_urlsafe(32)
    secret = {
        "MLFLOW_TRACKING_USERNAME": user,
        "MLFLOW_TRACKING_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }
    seen = environment(container, "plastsearch")
    for entry in container["env"]:
        if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
            assert reference["name"] == "mlflow"
            seen[entry["name"]] = secret[reference["key"]]
    places = {mount["mountPath"]: folder / mount["mountPath"].strip("/") for mount in container["volumeMounts"]}
    for place in places.values():
        place.mkdir()
    (config,) = [document for document in of_kind(documents, "ConfigMap") if "basic_auth.ini" in document["data"]]

    def moved(text: str) -> str:
        mounts = "|".join(places)
        return re.sub(rf"(?<![\w.])({mounts})(?=/|$)", lambda found: str(places[found[1]]), text, flags=re.MULTILINE)

    (places["/auth"] / "basic_auth.ini").write_text(moved(config["data"]["basic_auth.ini"]))
    arguments = [moved(expanded(argument, seen)) for argument in container["args"]]
    swap = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=5000": f"--port={port}"}
    assert set(swap) <= set(arguments)
    surroundings = {**SURROUNDINGS, **{name: moved(value) for name, value in seen.items()}}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*container["command"], *(swap.get(argument, argument) for argument in arguments)],
            env=surroundings, cwd=folder, stdout=output, stderr=subprocess.STDOUT, executable=BIN / "mlflow",
        )  # fmt: skip
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), process, log)
        yield Mlflow(port, user, password, surroundings, process.pid)
    finally:
        end(process)


ROUTES = """
import json, sys
from mlflow.server import app
from mlflow.server.auth import create_app
from mlflow.server.fastapi_app import create_fastapi_app

def routes(served):
    for route in served.routes:
        if router := getattr(route, "original_router", None):
            yield from routes(router)
        elif methods := getattr(route, "methods", None):
            yield route.path, methods

found = [*routes(create_fastapi_app(create_app())), *((rule.rule, rule.methods) for rule in app.url_map.iter_rules())]
json.dump(sorted({(path, method) for path, methods in found for method in methods}), sys.stdout)
"""
# What says nothing of anybody's work: whether the server lives, what it is, and the files of its user interface.
OPEN = re.compile(r"/health|/static-files/|/favicon\.ico|.*/mlflow/server-info$")
# A sample of what the list of routes must hold, so that it cannot be empty of what matters.
KNOWN = {
    ("/api/2.0/mlflow/runs/create", "POST"), ("/ajax-api/2.0/mlflow/runs/search", "POST"), ("/graphql", "POST"),
    ("/get-artifact", "GET"), ("/ajax-api/3.0/jobs/", "POST"), ("/v1/traces", "POST"),
    ("/api/2.0/mlflow/users/create", "POST"), ("/version", "GET"), ("/", "GET"),
}  # fmt: skip


@pytest.mark.slow
def test_no_route_of_mlflow_answers_who_has_no_password(mlflow: Mlflow) -> None:
    listed = subprocess.run(
        [sys.executable, "-c", ROUTES],
        env=mlflow.surroundings, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert listed.returncode == 0, listed.stderr[-3000:]
    routes = [(path, method) for path, method in json.loads(listed.stdout) if method not in ("HEAD", "OPTIONS")]
    assert {*routes} >= KNOWN
    let_in = []
    for path, method in routes:
        full = re.sub(r"<[^>]*>|\{[^}]*\}", "1", path)
        answer = mlflow.ask(method, full, {} if method != "GET" else None)
        if answer.status not in (401, 403) and not OPEN.match(path):
            let_in.append((method, full, answer.status, answer.body[:80]))
    assert let_in == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 1}),
        ("GET", "/ajax-api/2.0/mlflow/experiments/search?max_results=1", None),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts?path=", None),
        ("POST", "/graphql", {"operationName": None, "query": "{ __typename }", "variables": {}}),
        ("GET", "/", None),
    ],
)
def test_mlflow_answers_who_has_the_password(mlflow: Mlflow, method: str, path: str, body: Any) -> None:
    for user, status in (
        (mlflow.admin, 200),
        ((mlflow.user, "wrong"), 401),
        (("admin", "password1234"), 401),  # of old servers
        (None, 401),
    ):
        assert mlflow.ask(method, path, body, user).status == status, user


@pytest.mark.slow
def test_mlflow_has_nobody_who_runs_jobs(mlflow: Mlflow) -> None:
    """A server with jobs starts consumers of queues; and no server calls a function because a request names it."""
    running = list(command_lines(tree(mlflow.pid)).values())
    assert [line for line in running if "uvicorn" in line]
    assert [line for line in running if "huey" in line or "job_runner" in line] == []
    body = {"job_name": "os.system", "function_fullname": "os.system", "params": {"command": "true"}}
    assert mlflow.ask("POST", "/ajax-api/3.0/jobs/", body).status == 401
    assert mlflow.ask("POST", "/ajax-api/3.0/jobs/", body, mlflow.admin).status == 400


@pytest.mark.slow
def test_mlflow_answers_to_its_own_names_only(mlflow: Mlflow) -> None:
    """A page that a person looks at must not make the browser ask for it: that is what rebinding a name does."""
    page = "/api/2.0/mlflow/experiments/search?max_results=1"
    for host in ("mlflow:5000", "mlflow.plastsearch.svc.cluster.local:5000", f"localhost:{mlflow.port}"):
        assert mlflow.ask("GET", page, user=mlflow.admin, Host=host).status == 200, host
    for host in ("evil.example", "mlflow", "mlflow:5001", "mlflow.other.svc:5000"):
        assert mlflow.ask("GET", page, user=mlflow.admin, Host=host).status == 403, host
    assert mlflow.ask("GET", "/health", Host="10.0.0.7:5000").status == 200  # as the kubelet asks
    origin = {"Origin": "http://evil.example"}
    told = mlflow.ask("POST", "/ajax-api/2.0/mlflow/experiments/create", {"name": "x"}, mlflow.admin, **origin)
    assert told.status == 403


@pytest.mark.slow
def test_a_user_of_mlflow_sees_nothing_of_others(mlflow: Mlflow) -> None:
    made = mlflow.ask("POST", "/api/2.0/mlflow/experiments/create", {"name": "a sweep"}, mlflow.admin)
    sweep = made.json()["experiment_id"]
    other = ("somebody", secrets.token_urlsafe(16))
    account = {"username": other[0], "password": other[1]}
    assert mlflow.ask("POST", "/api/2.0/mlflow/users/create", account, mlflow.admin).status == 200
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={sweep}"
    assert mlflow.ask("GET", path, user=mlflow.admin).status == 200
    assert mlflow.ask("GET", path, user=other).status == 403
    assert mlflow.ask("POST", "/api/2.0/mlflow/runs/create", {"experiment_id": sweep}, other).status == 403
    found = mlflow.ask("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 9}, other).json()
    assert found.get("experiments", []) == []
    assert (
        mlflow.ask("POST", "/api/2.0/mlflow/users/create", {"username": "z", "password": "z" * 12}, other).status == 403
    )


# Ray


@dataclass
class Head:
    """A head started with the token that KubeRay hands to its containers, on loopback and ports of its own."""

    pid: int
    dashboard: str
    agent: str
    metrics: str
    gcs: int
    token: str


ANY = ("0.0.0.0", "::")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("r")
    token = secrets.token_urlsafe(32)
    gcs, dashboard, agent, metrics, client = (free_port() for _ in range(5))
    log = folder / "log"
    # What KubeRay 1.7 makes of a head with `authOptions: {mode: token}`; its addresses are 0.0.0.0 and fixed ports.
    command = [
        str(BIN / "ray"), "start", "--head", "--block", f"--port={gcs}", "--node-ip-address=127.0.0.1",
        "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}",
        f"--metrics-export-port={metrics}", f"--ray-client-server-port={client}", "--num-cpus=1",
        "--object-store-memory=80000000", f"--temp-dir={folder}", "--disable-usage-stats",
    ]  # fmt: skip
    surroundings = {**SURROUNDINGS, "HOME": str(folder), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=surroundings, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        base = "http://127.0.0.1:{}".format
        wait_until(lambda: answers(f"{base(agent)}/api/healthz"), process, log)
        wait_until(lambda: answers(f"{base(dashboard)}/api/gcs_healthz"), process, log)
        yield Head(process.pid, base(dashboard), base(agent), base(metrics), gcs, token)
    finally:
        end(process)


def test_every_sweep_asks_for_the_token() -> None:
    """What the tests of the head below are about; and MLflow's list of names is the server's own."""
    for overlay in sorted(path.name for path in (K8S / "overlays").iterdir()):
        for job in of_kind(render(K8S / "overlays" / overlay), "RayJob"):
            assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}, overlay
    assert "--app-name=basic-auth" in deployment(render(K8S / "platform"))["args"]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/jobs/"), ("GET", "/api/jobs/"), ("DELETE", "/api/jobs/x"), ("POST", "/api/jobs/x/stop"),
        ("GET", "/nodes?view=summary"), ("GET", "/api/v0/nodes"), ("GET", "/api/v0/logs/file?node_id=x&filename=x"),
        ("GET", "/api/cluster_status"), ("GET", "/api/actors/kill?actor_id=x"), ("GET", "/timezone"),
        ("PUT", "/api/packages/gcs/x.zip"), ("GET", "/api/snapshot"), ("GET", "/worker/traceback?pid=1"),
    ],
)  # fmt: skip
def test_rays_dashboard_refuses_who_has_no_token(head: Head, method: str, path: str) -> None:
    body = {"entrypoint": "echo owned"} if method == "POST" else None
    assert ask(method, head.dashboard + path, body).status == 401
    assert ask(method, head.dashboard + path, body, **bearer("0" * 43)).status == 403


@pytest.mark.slow
@pytest.mark.ray
def test_a_job_runs_for_who_has_the_token(head: Head) -> None:
    allowed = bearer(head.token)
    given = ask("POST", f"{head.dashboard}/api/jobs/", {"entrypoint": "echo ran here"}, **allowed)
    assert given.status == 200, given.body
    job = f"{head.dashboard}/api/jobs/{given.json()['submission_id']}"
    deadline = time.monotonic() + 120
    while (state := ask("GET", job, **allowed).json()["status"]) not in ("SUCCEEDED", "FAILED"):
        assert time.monotonic() < deadline, state
        time.sleep(0.5)
    assert state == "SUCCEEDED"
    assert "ran here" in ask("GET", f"{job}/logs", **allowed).json()["logs"]
    assert ask("GET", f"{job}/logs").status == 401
    assert ask("GET", f"{head.dashboard}/nodes?view=summary", **allowed).status == 200


@pytest.mark.slow
@pytest.mark.ray
def test_rays_servers_refuse_calls_without_the_token(head: Head) -> None:
    served = dict.fromkeys(METHODS, 0)
    found = {door for door in doors(tree(head.pid)) if door.kind == "tcp" and (door.inside or door.address in ANY)}
    for door in found:
        for method in METHODS:
            reply = call(door.port, method, head.token)
            if not reply or UNKNOWN in reply:
                continue  # another server's method, or none of gRPC's
            if DONE not in reply:
                continue
            served[method] += 1
            for wrong in (None, "0" * 43):
                assert REFUSED in call(door.port, method, wrong), (method, command_lines([door.pid]))
    assert served["/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"] == 1
    assert served["/ray.rpc.NodeManagerService/GetNodeStats"] == 1


@pytest.mark.slow
@pytest.mark.ray
def test_what_ray_leaves_open_tells_nothing_that_a_policy_need_hide(head: Head) -> None:
    """The probes of the kubelet have no token, nor has Prometheus; the network policies let in nobody else."""
    for url in (f"{head.agent}/api/healthz", f"{head.dashboard}/api/gcs_healthz"):
        answer = ask("GET", url)
        assert answer.status == 200
        assert head.token.encode() not in answer.body
    assert ask("GET", f"{head.agent}/api/job_agent/jobs/").status in (401, 403, 404, 405)
    assert ask("POST", f"{head.agent}/api/job_agent/jobs/", {"entrypoint": "echo owned"}).status == 401
    metrics = ask("GET", f"{head.metrics}/metrics")
    assert metrics.status == 200
    assert head.token.encode() not in metrics.body
    assert [line for line in command_lines(tree(head.pid)).values() if head.token in line] == []


def test_policies_let_nobody_else_reach_the_ports() -> None:
    policies = yaml.safe_load_all("\n---\n".join(yaml.safe_dump(one) for one in render(K8S / "platform")))
    closed = [policy for policy in policies if policy["kind"] == "NetworkPolicy"]
    assert closed
    for policy in closed:
        assert "Ingress" in policy["spec"]["policyTypes"], policy["metadata"]["name"]
        for rule in policy["spec"].get("ingress", ()):
            assert rule.get("from"), f"{policy['metadata']['name']} lets everybody in"
