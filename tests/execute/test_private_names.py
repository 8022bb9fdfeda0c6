"""Ray's internals that execute/ray_*.py lean on: a new Ray that moves one is noticed here, and by its name."""

import inspect

import pytest

pytest.importorskip("ray")


def test_what_is_swapped_is_there():
    from importlib import import_module

    from ray._private.node import Node
    from ray.air._internal import usage
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.tune.execution import class_cache
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment.trial import Trial
    from ray.tune.registry import _global_registry
    from ray.tune.trainable.metadata import _TrainingRunMetadata
    from ray.tune.utils.object_cache import _ObjectCache

    for owner, *names in (
        (usage, "tag_callbacks"),
        (import_module("ray.tune.tune"), "ExperimentAnalysis"),
        (_TrainingRunMetadata, "update_metric"),
        (TuneController, "save_to_dir", "_maybe_cache_trial_actor"),
        (_global_registry, "contains", "get"),
        (_ObjectCache, "cache_object", "flush_cached_objects"),
        (RayActorManager, "_actor_task_failed"),
        (Trial, "_get_default_result_or_future"),
        (Node, "start_log_monitor", "start_monitor", "start_api_server"),
    ):
        assert [name for name in names if not callable(getattr(owner, name, None))] == [], owner
    source = inspect.getsource(class_cache._ActorClassCache.get)
    assert [name for name in ("DEFAULT_ENV_VARS", "ENV_VARS_TO_PROPAGATE") if name not in source] == []


@pytest.mark.parametrize(
    ("owner", "used"),
    [
        ("ray.tune.utils.object_cache:_ObjectCache", ["_cached_objects", "_num_cached_objects"]),
        ("ray.air.execution._internal.actor_manager:RayActorManager", ["_live_actors_to_ray_actors_resources"]),
        ("ray.tune.experiment.trial:Trial", ["_default_result_or_future", "pickled_error_file", "temporary_state"]),
        ("ray.tune.execution.tune_controller:TuneController", ["_storage", "experiment_state_file_name"]),
    ],
)
def test_attributes_that_are_read_are_named_in_the_source(owner, used):
    module, _, name = owner.partition(":")
    source = inspect.getsource(getattr(__import__(module, fromlist=[name]), name))
    assert [one for one in used if one not in source] == []


def test_the_session_s_own_doors_are_there():
    import ray

    assert inspect.isclass(ray._private.services.ConsolePopen)
    for name in ("print_to_stdstream", "shutdown"):
        assert callable(getattr(ray._private.worker, name)), name
    assert hasattr(ray._private.worker, "_global_node")
    assert callable(ray._raylet.Config.initialize)
    assert callable(ray._raylet.AuthenticationTokenLoader.instance)


def test_the_autoscaler_answers_as_before():
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.core.generated.autoscaler_pb2 import AutoscalingState, GetClusterStatusReply

    assert "fetch_from_server" in inspect.signature(is_autoscaler_v2).parameters
    assert "autoscaling_state" in GetClusterStatusReply.DESCRIPTOR.fields_by_name
    for name in ("infeasible_gang_resource_requests", "infeasible_resource_requests"):
        assert name in AutoscalingState.DESCRIPTOR.fields_by_name, name
