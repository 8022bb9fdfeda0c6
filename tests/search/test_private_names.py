"""Optuna's internals that search/ leans on: a new Optuna that moves one is noticed here, and by its name."""

import inspect

import optuna
from optuna._hypervolume import _solve_hssp
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.storages import InMemoryStorage, JournalStorage


def test_the_sampler_s_parts_are_there():
    sampler = optuna.samplers.TPESampler(seed=0, multivariate=True)
    for name in (
        "_random_sampler",
        "_rng",
        "_n_ei_candidates",
        "_parzen_estimator_cls",
        "_parzen_estimator_parameters",
    ):
        assert hasattr(sampler, name), name
    assert hasattr(sampler._rng, "rng")
    assert sampler._parzen_estimator_cls is _ParzenEstimator
    for name in ("_compare", "_compute_acquisition_func"):
        assert callable(getattr(sampler, name)), name
    assert list(inspect.signature(_ParzenEstimator.__init__).parameters)[1:5] == [
        "observations", "search_space", "parameters", "predetermined_weights",
    ]  # fmt: skip


def test_the_volume_is_solved_as_before():
    names = list(inspect.signature(_solve_hssp).parameters)
    assert len(names) == 4
    assert [name.split("_")[0] for name in names] == ["rank", "rank", "subset", "reference"]


def test_a_study_s_parts_are_there():
    study = optuna.create_study()
    assert isinstance(study._storage, InMemoryStorage)
    study._thread_local.cached_all_trials = None
    trial = study.ask()
    assert study._storage.get_trial(trial._trial_id).number == 0
    for name in ("_get_trial", "_set_trial", "set_trial_system_attr", "set_trial_state_values", "create_new_trial"):
        assert callable(getattr(study._storage, name)), name
    for name in ("get_parent_population", "get_trial_generation"):
        assert callable(getattr(optuna.samplers.NSGAIISampler, name)), name


def test_the_file_s_storage_keeps_its_trials_where_they_are_forgotten(tmp_path):
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "log"))
    storage = JournalStorage(backend)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    with storage._thread_lock:
        assert storage._replay_result._trials[trial._trial_id].number == 0
