"""A word left at an experiment of MLflow for who comes next; best effort: a file says the same.

An experiment's tag, not a run's: what ends a sweep for good may do so before it has any run.
"""

import threading
from collections.abc import Callable

from plastsearch.addresses import address_of
from plastsearch.tracking import mlflow_runs as terms
from plastsearch.tracking.follower import in_a_line
from plastsearch.tracking.mlflow_store import open_store

_PATIENCE_S = 30.0  # a server that never answers must not hold back an end


def leave_word(uri: str, experiment: str, key: str, text: str) -> str | None:
    """Tag the experiment, made if need be; what went wrong, if it did."""

    def tag() -> None:
        client = open_store(address_of(uri))
        known = client.get_experiment_by_name(experiment)
        place = known.experiment_id if known is not None else client.create_experiment(experiment)
        client.set_experiment_tag(place, key, text[: terms.TAG_LIMIT])

    return _tried(tag, uri)


def word_left(uri: str, experiment: str, key: str) -> str | None:
    """The text of that tag; None if there is none, or nobody answers."""
    found: list[str] = []

    def look() -> None:
        known = open_store(address_of(uri)).get_experiment_by_name(experiment)
        if known is not None and key in known.tags:
            found.append(str(known.tags[key]))

    _tried(look, uri)
    return found[0] if found else None


def _tried(action: Callable[[], None], uri: str) -> str | None:
    trouble = [f"it did not answer in {_PATIENCE_S:g} s"]

    def act() -> None:
        try:
            action()
            trouble.clear()
        except Exception as error:  # noqa: BLE001 - MLflow's own, its backends' and its transports' errors
            trouble[:] = [in_a_line(error, address_of(uri))]

    thread = threading.Thread(target=act, name="word for the next", daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    return trouble[0] if trouble else None
