"""Docker's health check of both images: a server that listens in this container, Ray's node or MLflow, has to answer.

A container in which neither listens runs a command, and is well as long as it runs.
"""

import sys
import urllib.error
import urllib.request

SERVERS = {"Ray": "http://127.0.0.1:52365/api/healthz", "MLflow": "http://127.0.0.1:5000/health"}


def complaint(url: str) -> str | None:
    """What is wrong with a server; none if it is well, or not there."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return None
    except urllib.error.URLError as error:
        return None if isinstance(error.reason, ConnectionRefusedError) else str(error)
    except OSError as error:
        return str(error)


def complaints(servers: dict[str, str] = SERVERS) -> str | None:
    """A line for each of them that is ill."""
    ill = {name: why for name, url in servers.items() if (why := complaint(url)) is not None}
    return "\n".join(f"{name} does not answer well: {why}" for name, why in ill.items()) or None


if __name__ == "__main__":
    sys.exit(complaints())
