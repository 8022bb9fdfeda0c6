"""Makes a Secret with random values in this Pod's own namespace, unless one of that name is there.

Run by a Job of k8s/platform whose account may create Secrets and nothing else, so that nobody has to choose a password
before the first `kubectl apply`, and no later apply changes one. Standard library only: it needs no client's package.
"""

import argparse
import json
import os
import secrets
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from plastsearch.errors import PlastsearchError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PATIENCE_S = 30.0


def mlflow() -> dict[str, str]:
    """The first user of MLflow, and what its sessions are signed with."""
    return {
        "MLFLOW_TRACKING_USERNAME": "plastsearch",
        "MLFLOW_TRACKING_PASSWORD": secrets.token_urlsafe(32),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }


def postgres() -> dict[str, str]:
    """The password of the database: letters and digits alone, since it stands in an address."""
    return {"POSTGRES_PASSWORD": secrets.token_hex(32)}


KINDS: dict[str, Callable[[], dict[str, str]]] = {"mlflow": mlflow, "postgres": postgres}


def create(
    name: str, values: Mapping[str, str], account: Path = ACCOUNT, environment: Mapping[str, str] = os.environ
) -> bool:
    """Create the Secret; False if there is one of that name, which stays as it is."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        token, namespace = ((account / file).read_text().strip() for file in ("token", "namespace"))
        context = ssl.create_default_context(cafile=str(account / "ca.crt"))
    except OSError as error:
        raise PlastsearchError(
            f"{error.filename or account / 'ca.crt'}: {error.strerror}; this runs in a Pod whose account's token is "
            f"mounted. Elsewhere: kubectl create secret generic {name} --from-literal=…"
        ) from None
    if host is None:
        raise PlastsearchError("KUBERNETES_SERVICE_HOST is not set; this runs in a Pod, where Kubernetes sets it")
    where = f"https://{f'[{host}]' if ':' in host else host}:{port}/api/v1/namespaces/{namespace}/secrets"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "plastsearch"}},
        "stringData": dict(values),
    }
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(where, json.dumps(secret).encode(), headers, method="POST")
    # No proxy of the environment: the API server is inside the cluster.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=_PATIENCE_S):
            return True
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.CONFLICT:
            return False
        raise PlastsearchError(f"Secret {name} in {namespace}: {_reason(error)}") from None
    except OSError as error:  # URLError is one
        raise PlastsearchError(f"{where}: {getattr(error, 'reason', error)}; the Job tries again") from None


def _reason(error: urllib.error.HTTPError) -> str:
    """What the API server says, and who can mend it."""
    try:
        said = str(json.loads(error.read())["message"])
    except (ValueError, KeyError, TypeError, OSError):
        said = f"the API server answers {error.code} {error.reason}"
    if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        said += "; the account needs a Role with the verb create on secrets (k8s/platform/credentials.yaml)"
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m plastsearch.kubernetes.credentials", description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS), help="which keys it holds")
    parser.add_argument("name", help="the Secret's name")
    asked = parser.parse_args(arguments)
    try:
        made = create(asked.name, KINDS[asked.kind]())
    except PlastsearchError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"Secret {asked.name}: {'made' if made else 'is there, and stays as it is'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
