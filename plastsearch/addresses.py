"""Addresses of servers, which may hold passwords: how they are given, and how they are shown without."""

import os
import re
from urllib.parse import unquote

from plastsearch.errors import PlastsearchError

EXPECTED = "MLFLOW_TRACKING_URI"  # where an address with a password is expected unless another variable was named
NAMED = "env:"  # `--mlflow env:NAME`: the address stands in that environment variable, where nobody else can read it
# A login ends at the last @: passwords that hold @, : or / are common, though an address should quote them.
_LOGIN = re.compile(r"(?<=://)(?:[^\s:/@]*:\S*|[^\s/?#]*)@")
_ALL_LOGIN = re.compile(r"(?<=://)(?:[^:/@]*:.*|[^/?#]*)@", re.DOTALL)
_FIELD = re.compile(r"([?&;][\w.-]*(?:pass|pwd|secret|token|key|sig|credential)[\w.-]*=)[^&;\s'\"]+", re.IGNORECASE)


def shown(address: str) -> str:
    """An address as it may be printed and stored: without login, and without the values of secret fields."""
    return _FIELD.sub(r"\1…", _ALL_LOGIN.sub("…@", address))


def without_secrets(text: str, address: str = "") -> str:
    """A message as it may be printed: every address in it as `shown`, and nothing of this one's login."""
    for login in _ALL_LOGIN.findall(address):
        for form in (login, unquote(login)):
            text = text.replace(form, "…@")
    return _FIELD.sub(r"\1…", _LOGIN.sub("…@", text))


def link(address: str) -> str:
    """What a browser can open: it asks for the login itself."""
    return _ALL_LOGIN.sub("", address).rstrip("/")


def address_of(text: str) -> str:
    """The address that was meant: what was given, or what stands in the environment variable that it names."""
    name = text.removeprefix(NAMED)
    if name == text:
        return text
    found = os.environ.get(name)
    if not found:
        raise PlastsearchError(
            f"--mlflow {text}: the environment variable {name} is not set; put the address there (export {name}=…), "
            "since one with a password is neither printed nor passed on a command line"
        )
    return found


def typed(text: str) -> str:
    """What may be typed and seen in its place: itself, or the environment variable in which it is expected."""
    return text if text.startswith(NAMED) or shown(text) == text else NAMED + EXPECTED
