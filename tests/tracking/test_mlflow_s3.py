"""MLflow's artifacts in a bucket: the server holds the keys, a client takes and gives files through it without any."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import boto3
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore::Warning"),  # mlflow's and botocore's own
]
CLIENT = """
import sys
from pathlib import Path
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
run = client.create_run(client.create_experiment("night")).info
print(run.artifact_uri)
client.log_artifact(run.run_id, sys.argv[2], "report")
print(Path(client.download_artifacts(run.run_id, "report/front.txt", sys.argv[3])).read_text())
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert time.monotonic() < until, url
            assert process.poll() is None, url
            time.sleep(0.3)


def test_a_client_without_keys_logs_and_reads_an_artifact_through_the_server(tmp_path: Path) -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    keys = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "a-secret-of-theirs"}
    s3, port = free_port(), free_port()
    quiet = subprocess.DEVNULL
    bucket = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(s3)], stdout=quiet, stderr=quiet, env=bare
    )
    with_keys = {**bare, **keys, "AWS_DEFAULT_REGION": "us-east-1", "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{s3}",
                 "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # fmt: skip
    server = None
    try:
        wait_for(f"http://127.0.0.1:{s3}/moto-api/", bucket, 60)
        client = boto3.session.Session(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]).client(
            "s3", endpoint_url=f"http://127.0.0.1:{s3}", region_name="us-east-1"
        )
        client.create_bucket(Bucket="attic")
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
             "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", "s3://attic/mlflow"],
            env=with_keys, start_new_session=True, stdout=quiet, stderr=quiet, cwd=tmp_path,
        )  # fmt: skip
        wait_for(f"http://127.0.0.1:{port}/health", server, 240)
        (tmp_path / "front.txt").write_text("trial 7 is best")
        (tmp_path / "got").mkdir()
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, f"http://127.0.0.1:{port}", str(tmp_path / "front.txt"),
             str(tmp_path / "got")], env={**bare, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        uri, text = done.stdout.split("\n")[:2]
        assert uri.startswith("mlflow-artifacts:/")  # by way of the server: the client never sees the bucket
        assert text == "trial 7 is best"
        held = [one["Key"] for one in client.list_objects_v2(Bucket="attic", Prefix="mlflow/")["Contents"]]
        assert [key.endswith("/artifacts/report/front.txt") for key in held] == [True]
    finally:
        if server is not None:
            os.killpg(server.pid, 15)
            server.wait(30)
        bucket.kill()
        bucket.wait()
