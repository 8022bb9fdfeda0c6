"""Notice that a node is about to be taken away: its trials checkpoint and part, while there still is time.

Kubernetes tells the first process of a Pod (SIGTERM), which is Ray's; from then on Ray calls the node draining, gives
it no more work, and ends it with all that runs there after 30 s. It tells nobody who runs there, so workers ask.
"""

import os
import signal
import threading
import time
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations among Ray's own modules
    import ray

ASK_S = 3.0  # a tenth of the notice; a thousand workers then ask their cluster's server 333 times a second


def heed() -> None:
    """Begin to ask, in a thread: a trial says nothing for minutes."""
    if not ray.is_initialized():  # outside of a worker, where merely to ask for the node would start a Ray
        return
    threading.Thread(target=_watch, name="notice", daemon=True).start()


def _watch() -> None:
    node = ray.get_runtime_context().get_node_id()
    client = ray._private.worker.global_worker.gcs_client
    while node not in _draining(client):
        time.sleep(ASK_S)
    # The signal for which a trial keeps a checkpoint (training/checkpoint.py); where none is at work, the process ends.
    os.kill(os.getpid(), signal.SIGTERM)


def _draining(client: "ray._raylet.GcsClient") -> dict[str, int]:
    """Nodes that are to end, each with its time; none while the server cannot be asked."""
    try:
        return dict(client.get_draining_nodes(timeout=ASK_S))
    except ray.exceptions.RpcError:
        return {}
