"""The Ray that attempts run on: one of our own on this machine, which ends with us, or a running cluster.

The only door to ray, with ray_hooks.py and ray_tune.py, which take it from here: it must be imported
with an environment that is set beforehand.
"""

import atexit
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

# Read when ray is imported: silence, no telemetry, no loggers that would import torch into the driver.
_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints a box per trial even with verbose=0
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # TensorBoardX's imports torch into the driver: 222 MB become 703
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a result without the metric it looks for would end the whole sweep
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # between snapshots, which nobody reads
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",  # by default a worker that does not end would keep its GPU for ten minutes
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",  # spelt as Ray spells it
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "300",  # without its server Ray ends us: there is a report to be written
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # else every relative path of a space means another place in a worker
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # who asks for no GPU still sees those there are
}
for _name, _value in _QUIET.items():
    os.environ.setdefault(_name, _value)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations among Ray's own modules
    import ray
    from ray.autoscaler.v2.sdk import get_cluster_status
    from ray.autoscaler.v2.utils import ClusterStatusFormatter, is_autoscaler_v2
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

from plastsearch.addresses import without_secrets  # noqa: E402
from plastsearch.errors import ClusterLostError  # noqa: E402
from plastsearch.execute.autoscaler import declared_groups  # noqa: E402
from plastsearch.execute.ray_patches import fewer_daemons  # noqa: E402
from plastsearch.execute.resources import NodeKind  # noqa: E402
from plastsearch.execute.warden import warden  # noqa: E402
from plastsearch.private_folder import private_folder  # noqa: E402

SILENT = 100  # above every log level
_CONNECT_S = 10.0
_ASK_S = 10.0
_HEAD = "node:__internal_head__"  # a resource that Ray gives its head and no other node
# Meant for systems whose firewalls ask about every open port, this is Ray's one switch that keeps all of its processes
# on loopback; a loopback `_node_ip_address` it replaces by the machine's own.
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


class Cluster:
    """A Ray of our own, or the one at `address`."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._leaving = ExitStack()
        self.own = not ray.is_initialized()  # else somebody in this process has opened it and will close it
        if self.own:
            try:
                self._open(address)
            except BaseException:
                self.close()
                raise

    @cached_property
    def autoscaled(self) -> bool:
        """Whether more nodes may come than there are."""
        with hush():
            # From the server: this process's own environment says nothing about somebody else's cluster.
            return bool(is_autoscaler_v2(fetch_from_server=True))

    @property
    def nodes_may_come(self) -> bool:
        """Whether to wait for a node is of use: an autoscaler brings it, or the manifest says that it will be there."""
        return self.autoscaled or (self._address is not None and bool(declared_groups()))

    def node_kinds(self) -> list[NodeKind]:
        """The nodes there are, or the head and all that the manifest declares."""
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        # A cluster that is scaled down has no GPU node at all: what counts is what may come.
        # Nor has one of fixed size whose head has just come back: the driver is there before the workers are.
        declared = declared_groups() if self._address is not None else []
        # The head is in no group of workers, and stays whatever becomes of those.
        staying = [resources for resources in alive if _HEAD in resources] if declared else alive
        return [*declared, *(NodeKind(resources, 1) for resources in staying)]

    def infeasible(self) -> list[dict[str, float]]:
        """What the autoscaler says that no node of its groups could ever hold: one entry for each thing asked for."""
        reply = GetClusterStatusReply()
        address = ray.get_runtime_context().gcs_address
        try:
            text = ray._raylet.GcsClient(address).get_cluster_status(timeout_s=_ASK_S)
        except ray.exceptions.RpcError:
            return []  # a server too busy to answer has called nothing infeasible; it is asked again
        reply.ParseFromString(text)
        state = reply.autoscaling_state
        asked = [one for gang in state.infeasible_gang_resource_requests for one in gang.requests]
        return [dict(one.resources_bundle) for one in (*asked, *state.infeasible_resource_requests)]

    def surroundings(self) -> list[str]:
        """The nodes by name and size, and the autoscaler's report (what `ray status` prints) where there is one."""
        lines = [f"node {_described(node)}" for node in ray.nodes() if node["Alive"]]
        if self.autoscaled:
            try:
                report = get_cluster_status(ray.get_runtime_context().gcs_address)
                lines += ClusterStatusFormatter.format(report).splitlines()
            except Exception as error:  # noqa: BLE001 - its formatter trips over reports that are not whole yet
                lines.append(f"no report of the autoscaler ({type(error).__name__})")
        return lines

    def fallen(self) -> str | None:
        """What there is to say if our own Ray is dead: every call would hang for a minute, then end this process."""
        if not self.own:
            return None
        # Asked of the system, not of Ray, which needs its server and its node, and goes on without its monitors.
        dead = [kind for kind, process in _daemons().items() if process.poll() is not None]
        vital = [kind for kind in dead if kind in {"gcs_server", "raylet"}]
        return f"Ray's {vital[0]} on this machine was killed; what ran goes on with the next session" if vital else None

    def close(self, *, dead: bool = False) -> None:
        """End our own Ray; leave a foreign one alone."""
        if self.own and dead:
            _kill_daemons()  # ray.shutdown would ask the dead server, and wait
        elif self.own and ray.is_initialized():
            ray.shutdown()
        self._leaving.close()

    def _open(self, address: str | None) -> None:
        quiet: dict[str, bool | int] = {"log_to_driver": False, "logging_level": SILENT, "configure_logging": True}
        # Ray prints what its daemons say on standard output, where results are, and has no switch for it.
        ray._private.worker.print_to_stdstream = _print_nothing
        with own_signals(), _own_session(), hush():
            if address is not None:
                _connect(address, quiet)
                return
            folder = self._leaving.enter_context(_session_folder())
            self._leaving.enter_context(_for_this_user_alone(folder / "token"))
            _start(folder, quiet)
            sessions = [process.pid for process in _daemons().values()]
            self._leaving.enter_context(warden(folder, sessions))


def _described(node: Mapping[str, Any]) -> str:
    have = {name: amount for name, amount in node["Resources"].items() if name in ("CPU", "GPU", "memory")}
    kinds = [name.partition(":")[2] for name in node["Resources"] if name.startswith("accelerator_type:")]
    sizes = [f"{amount / 1e9:.1f} GB" if name == "memory" else f"{amount:g} {name}" for name, amount in have.items()]
    return f"{node['NodeManagerHostname']} {node['NodeManagerAddress']}: {', '.join(sizes + kinds)}"


def _print_nothing(data: object, ignore_prefix: bool) -> None:
    """In the place of Ray's own, with its arguments."""


def _start(folder: Path, quiet: dict[str, bool | int]) -> None:
    try:
        # `local`: without an address Ray joins any that was started on this machine, which is none of our business.
        # The object store is small, where Ray would take 30 % of the memory: all that crosses here is text.
        with fewer_daemons():
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=100_000_000,
                _temp_dir=str(folder),
                **quiet,
            )
    except Exception as error:  # the very class that Ray raises when its 30 s are over
        if "timed out during startup" not in str(error):
            raise
        raise ClusterLostError(
            "Ray did not start on this machine in the 30 s that it gives itself: too much else runs here; run the same "
            "command again, or with --executor inline, which needs no Ray"
        ) from None


def _connect(address: str, quiet: dict[str, bool | int]) -> None:
    try:
        _refuse_silence(address)
        ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        reason = f"no Ray cluster answers at '{address}' ({str(error).splitlines()[0]})"
        raise ClusterLostError(
            f"{without_secrets(reason, address)}; check --address, or leave it out to use this machine alone"
        ) from None


def _refuse_silence(address: str) -> None:
    """OSError if nobody listens there: Ray itself tries for eight minutes, saying so, before it admits it."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()


@contextmanager
def _session_folder() -> Iterator[Path]:
    """Where everything of this process's Ray lies, its sockets too; what killed drivers left there is removed."""
    # Named by process id and in a folder with a short path: a socket's path may have no more than 107 characters.
    root = private_folder()
    for old in root.iterdir():
        if old.name.isdigit() and not Path("/proc", old.name).exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = root / str(os.getpid())
    shutil.rmtree(folder, ignore_errors=True)  # of a dead driver with our process id
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _for_this_user_alone(token: Path) -> Iterator[None]:
    """A Ray that starts within is bound to loopback, and serves only who can read this file, made here.

    All accounts of a machine share its loopback, and whoever Ray serves may run code as this user.
    """
    # Ray 2.60 would make a token by itself, but under the user's home, one for all clusters, and fail where no home
    # can be written. Never a file that is there already: whoever made it could read it.
    token.touch(mode=0o600, exist_ok=False)
    token.write_text(secrets.token_hex(32))
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), _LOOPBACK: "0"}
    ours["RAY_enable_metrics_collection"] = "0"  # with Ray's dashboard installed, these it shows to whoever asks
    kept = {name: os.environ.pop(name, None) for name in (*ours, "RAY_AUTH_TOKEN")}  # a token itself would come first
    os.environ |= ours
    constants = ray._private.ray_constants
    anywhere = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = False  # the environment's word was read when ray was imported
    _read_authentication()
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = anywhere
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _read_authentication()


def _read_authentication() -> None:
    """Make Ray read mode and token again, which it did when it was imported, and keeps."""
    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _own_session() -> Iterator[None]:
    """Ray's processes apart from ours: Ctrl-C and batch systems signal a whole group, and only we know what to do."""
    services = ray._private.services
    plain = services.ConsolePopen

    class Apart(plain):  # type: ignore[misc, valid-type]
        def __init__(self, *words: object, **more: object) -> None:
            super().__init__(*words, **{**more, "start_new_session": True})

    services.ConsolePopen = Apart
    try:
        yield
    finally:
        services.ConsolePopen = plain


def _daemons() -> dict[str, subprocess.Popen[bytes]]:
    """The processes of our own Ray by kind."""
    node = ray._private.worker._global_node
    return {} if node is None else {kind: entry.process for kind, some in node.all_processes.items() for entry in some}


def _kill_daemons() -> None:
    """End what is left of a Ray that can no longer be asked to end."""
    # Ray registers its shutdown to run at exit, where it would hang like any other call.
    atexit.unregister(ray._private.worker.shutdown)
    for process in _daemons().values():
        if process.poll() is None:
            process.kill()


Handler = Callable[[int, FrameType | None], object] | int | None  # as `signal` gives and takes them


@contextmanager
def own_signals() -> Iterator[None]:
    """Keep our signal handlers, which let trials part at a report, where Ray and Tune put their own in place."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        _restore(kept)


def _restore(handlers: Mapping[signal.Signals, Handler]) -> None:
    # Python lets no thread but the main one touch handlers.
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def hush() -> Iterator[None]:
    """No log line and no warning of Ray's reaches the user: what matters comes back as a reason."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.data", "ray.train")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(SILENT)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
