"""The Secret that nobody has to write: made once, in the Pod's own namespace."""

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from plastsearch.errors import PlastsearchError
from plastsearch.kubernetes.credentials import KINDS, create
from tests.rendering import K8S


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cluster")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "ca.crt", folder / "key.pem"


class ApiServer:
    """Secrets of one namespace; knows the token `good`, which may create, and `poor`, which may not."""

    def __init__(self, folder: Path) -> None:
        secrets: dict[str, dict[str, Any]] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = sent["metadata"]["name"]
                if self.headers["Authorization"] != "Bearer good":
                    self.answer(403, {"message": 'secrets is forbidden: cannot create resource "secrets"'})
                elif self.path != "/api/v1/namespaces/other/secrets":
                    self.answer(404, {"message": self.path})
                elif name in secrets:
                    self.answer(409, {"message": f'secrets "{name}" already exists'})
                else:
                    secrets[name] = sent
                    self.answer(201, sent)

            def answer(self, status: int, content: dict[str, Any]) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.secrets = secrets
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        chain, key = certificate(folder / "server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.environment = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.server.server_port),
        }  # fmt: skip
        self.account = folder / "account"
        self.account.mkdir()
        (self.account / "token").write_text("good")
        (self.account / "namespace").write_text("other\n")
        (self.account / "ca.crt").write_bytes(chain.read_bytes())


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    made = ApiServer(tmp_path)
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_it_is_made_once_and_then_left_alone(api: ApiServer) -> None:
    assert create("mlflow", KINDS["mlflow"](), api.account, api.environment)
    first = api.secrets["mlflow"]["stringData"]
    assert not create("mlflow", KINDS["mlflow"](), api.account, api.environment)
    assert api.secrets["mlflow"]["stringData"] == first
    assert set(first) == {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"}


def test_values_are_random_and_long() -> None:
    for kind, values in KINDS.items():
        a, b = values(), values()
        for key in a.keys() - {"MLFLOW_TRACKING_USERNAME"}:
            assert a[key] != b[key], kind
            assert len(a[key]) >= 32, kind
    assert KINDS["postgres"]()["POSTGRES_PASSWORD"].isalnum(), "it stands in an address"


def test_an_account_that_may_not_create_is_told_what_it_lacks(api: ApiServer) -> None:
    (api.account / "token").write_text("poor")
    with pytest.raises(PlastsearchError, match=r"Secret mlflow in other: .*forbidden.*Role with the verb create"):
        create("mlflow", {}, api.account, api.environment)


def test_a_server_that_the_cluster_does_not_vouch_for_gets_no_token(api: ApiServer, tmp_path: Path) -> None:
    (api.account / "ca.crt").write_bytes(certificate(tmp_path / "stranger")[0].read_bytes())
    with pytest.raises(PlastsearchError, match="certificate verify failed"):
        create("mlflow", {}, api.account, api.environment)
    assert api.secrets == {}


def test_outside_a_pod_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(PlastsearchError, match=r"token: No such file.*kubectl create secret generic mlflow"):
        create("mlflow", {}, tmp_path, {})


def test_it_runs_as_the_job_runs_it() -> None:
    """Without a cluster: the arguments are understood, the failure is one line and no traceback."""
    jobs = [d for d in yaml.safe_load_all((K8S / "platform" / "credentials.yaml").read_text()) if d["kind"] == "Job"]
    (container,) = jobs[0]["spec"]["template"]["spec"]["containers"]
    _, *command = [*container["command"], *container["args"]]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
