"""MLflow and Ray, as far as they can be asked without importing either."""

import os
import socket
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from plastsearch.addresses import address_of, link, shown, without_secrets
from plastsearch.doctor.finding import Finding, fault, note, ok
from plastsearch.doctor.packages import fits, installed, wanted
from plastsearch.doctor.places import unwritable
from plastsearch.errors import PlastsearchError

PATIENCE_S = 2.0
_SQLITE = "sqlite:///"
_ELSE = "name another with --mlflow, or leave it out: the sweep's folder has one of its own"


def mlflow(given: str | None) -> Finding:
    """Whether the store answers that runs would be sent to."""
    name = "MLflow"
    if given in (None, ""):
        return ok(name, "none named; each sweep keeps a store in its own folder")
    if given == "none":
        return ok(name, "none is wanted")
    try:
        address = address_of(str(given))
    except PlastsearchError as error:
        return fault(name, str(error), _ELSE)
    if address.startswith(("http://", "https://")):
        return _server(name, address)
    if address.startswith(_SQLITE):
        return _file(name, Path(unquote(address.removeprefix(_SQLITE)).partition("?")[0]))
    if address.startswith(("postgresql", "mysql")):
        return _database(name, address)
    if "://" in address and not address.startswith("file:"):
        return note(name, f"{shown(address)}: not tried; how it is asked is known to MLflow alone")
    return _folder(name, Path(unquote(urlsplit(address).path) if address.startswith("file:") else address))


def _server(name: str, address: str) -> Finding:
    parts = urlsplit(address)
    where = shown(address)
    request = urllib.request.Request(f"{link(address)}/api/2.0/mlflow/experiments/search?max_results=1")
    user = parts.username or os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = parts.password or os.environ.get("MLFLOW_TRACKING_PASSWORD")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if user and password:
        import base64

        login = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    elif token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            kind = answer.headers.get_content_type()
            if kind != "application/json":
                return fault(name, f"{where} answers, but not as MLflow does ({kind})", f"look at the address; {_ELSE}")
            return ok(name, f"{where} answers")
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            todo = "put user and password into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            return fault(name, f"{where} asks for a login ({error.code})", todo)
        return fault(name, f"{where} answers with {error.code}", f"look at its log; {_ELSE}")
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        said = without_secrets((why.strerror if isinstance(why, OSError) else None) or str(why), address)
        return fault(name, f"{where} does not answer: {said}", f"start it, or {_ELSE}")


def _file(name: str, path: Path) -> Finding:
    if not path.exists():
        why = unwritable(path)
        return fault(name, f"{path} cannot be made: {why}", _ELSE) if why else ok(name, f"{path} will be made")
    try:
        with path.open("r+b"):
            pass
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=PATIENCE_S)) as database:
            database.execute("select count(*) from sqlite_master").fetchone()
    except OSError as error:
        return fault(name, f"{path} cannot be written: {error.strerror}", f"ask its owner, or {_ELSE}")
    except sqlite3.Error as error:
        return fault(name, f"{path}: {error}", f"restore it from a copy, or {_ELSE}")
    return ok(name, f"{path} can be read and written")


def _folder(name: str, path: Path) -> Finding:
    why = unwritable(path)
    return (
        fault(name, f"{path} cannot be written: {why}", f"ask its owner, or {_ELSE}")
        if why
        else ok(name, f"{path} can be written")
    )


def _database(name: str, address: str) -> Finding:
    parts = urlsplit(address)
    host, port = parts.hostname or "localhost", parts.port or (3306 if parts.scheme.startswith("mysql") else 5432)
    if parts.scheme.startswith("postgresql") and installed("psycopg") is None and installed("psycopg2") is None:
        return fault(name, f"{shown(address)} needs psycopg", "pip install 'plastsearch[server]'")
    if (why := unreached(host, port)) is not None:
        return fault(name, f"{shown(address)} does not answer: {why}", f"start it, or {_ELSE}")
    return ok(name, f"{host}:{port} answers; whether it lets you in, the first run shows")


def unreached(host: str, port: int) -> str | None:
    """Why nobody answers there, None if somebody does."""
    try:
        with socket.create_connection((host, port), timeout=PATIENCE_S):
            return None
    except OSError as error:
        return error.strerror or str(error)


def ray(address: str | None) -> list[Finding]:
    """Ray's release, and of a cluster whether it is there and who may use it."""
    name = "Ray"
    release, span = installed("ray"), dict(wanted()).get("ray", "")
    install = f"pip install 'ray[tune]{span}'"
    if release is None:
        found = fault(name, "missing", f"{install}; `--executor inline` needs none")
    elif not fits(release, span):
        found = fault(name, f"{release}, and plastsearch takes {span}: it reaches into Ray's own code", install)
    else:
        found = ok(name, release)
    return [found, authentication(address)]


def authentication(address: str | None) -> Finding:
    """A Ray of the sweep's own is bound to this machine and has a token; a cluster's is that of its operator."""
    name = "Ray's authentication"
    if address is None:
        return ok(name, "a sweep's own Ray is bound to loopback, with a token of its session")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit() and (why := unreached(host, int(port))) is not None:
        return fault(name, f"{address} does not answer: {why}", "start the cluster, or leave --address out")
    mode = os.environ.get("RAY_AUTH_MODE", "")
    if mode != "token":
        return note(
            name, f"RAY_AUTH_MODE is {mode or 'not set'}: whoever reaches {address} may run code there",
            "export RAY_AUTH_MODE=token on all nodes and here (docs/security.md)",
        )  # fmt: skip
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not os.environ.get("RAY_AUTH_TOKEN") and not os.access(file, os.R_OK):
        return fault(
            name, f"RAY_AUTH_MODE is token, but there is none: neither RAY_AUTH_TOKEN nor {file}",
            "put the cluster's token there, or into RAY_AUTH_TOKEN",
        )  # fmt: skip
    return ok(name, "by token")
