"""`k8s render`: a space becomes a folder that kubectl takes; what cannot become one is refused and leaves nothing."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError, SpecError
from plastsearch.execute.autoscaler import GROUPS, declared_groups
from plastsearch.kubernetes import overlays, tailoring
from plastsearch.kubernetes.rendering import named_image
from plastsearch.spec.load import load_sweep
from tests.rendering import ROOT, SWEEP, environment, groups, of_kind, one, render, walk

pytestmark = pytest.mark.slow  # three hundred renderings

SPACE = ROOT / "search_spaces" / "w2v_layers.yaml"
PLATFORM = {"Namespace", "Deployment", "PersistentVolumeClaim", "Service"}


@pytest.fixture(scope="module", autouse=True)
def _kubectl():
    render(ROOT / "k8s")  # skips, with a reason, where kubectl is not there


@pytest.fixture
def rendered(tmp_path):
    """Type `plastsearch k8s render SPACE --name mine …`: the folder's objects as kubectl sees them, and the answer."""

    def typed(*words, space=SPACE, name="mine", overlay="gpu", folder="out"):
        line = ["k8s", "render", str(space), "--overlay", overlay, "--name", name, "--out", str(tmp_path / folder)]
        result = CliRunner().invoke(app, [*line, *words, "--json"])
        if result.exception is not None:
            raise result.exception
        # A copy under another name, since what is rendered is remembered by its folder.
        seen = shutil.copytree(tmp_path / folder, tmp_path / f"seen{len(list(tmp_path.iterdir()))}")
        return render(seen), json.loads(result.stdout)

    return typed


@pytest.mark.parametrize("overlay", overlays.OVERLAYS)
def test_every_overlay_renders_and_is_found_without_mistakes(rendered, overlay):
    documents, answer = rendered(overlay=overlay, name="other-name")
    assert answer["objects"] == len(documents)
    job = one(documents, "RayJob")
    assert job["metadata"]["name"] == "other-name"
    mine = [d for d in documents if SWEEP in d["metadata"].get("labels", {})]
    assert {d["metadata"]["labels"][SWEEP] for d in mine} == {"other-name"}
    assert {d["kind"] for d in mine} >= {"RayJob", "ServiceAccount", "NetworkPolicy", "ConfigMap"}
    assert all(group["template"]["metadata"]["labels"][SWEEP] == "other-name" for group in groups(job))
    # Nothing is left of the names that the overlay itself has.
    shipped = one(render(overlays.tree() / "overlays" / overlay), "RayJob")["metadata"]["name"]
    assert [value for d in mine for _, value in walk({k: d[k] for k in d if k != "data"}) if value == shipped] == []


def test_what_the_platform_brings_is_rendered_where_it_is_asked_for(rendered):
    assert not {d["kind"] for d in rendered()[0]} & PLATFORM
    assert {d["kind"] for d in rendered("--platform", folder="whole")[0]} >= PLATFORM


def test_two_sweeps_share_no_object(rendered):
    names = [
        {(d["kind"], d["metadata"]["name"]) for d in rendered(name=name, folder=name)[0]} for name in ("one", "two")
    ]
    assert not names[0] & names[1]


def test_the_space_is_embedded_and_its_settings_reach_the_driver_through_a_shell(rendered, tmp_path):
    setting = 'question=What\'s "it" worth; $HOME?'
    documents, _ = rendered("--set", "search.trials=5", "--set", setting)
    job = one(documents, "RayJob")
    (space,) = [d for d in of_kind(documents, "ConfigMap") if d["metadata"]["name"].startswith("mine-space-")]
    assert space["data"] == {"w2v_layers.yaml": SPACE.read_text()}
    heads = [volume for group in groups(job) for volume in group["template"]["spec"]["volumes"]]
    assert {v["configMap"]["name"] for v in heads if "configMap" in v} == {space["metadata"]["name"]}
    # Ray runs the line in a shell: here one that prints each word.
    shown = subprocess.run(["sh", "-c", f"printf '%s\\n' {job['spec']['entrypoint']}"], capture_output=True, text=True)
    said = shown.stdout.splitlines()
    assert said[:5] == ["plastsearch", "sweep", "/spaces/w2v_layers.yaml", "--name", "mine"]
    assert said[-4:] == ["--set", "search.trials=5", "--set", setting]


def test_a_changed_space_is_another_config_map(rendered, tmp_path):
    before = one(rendered()[0], "ConfigMap")["metadata"]["name"]
    changed = tmp_path / "w2v_layers.yaml"
    changed.write_text(SPACE.read_text() + "\n# another thought\n")
    assert one(rendered(space=changed)[0], "ConfigMap")["metadata"]["name"] != before


def test_trials_parallelism_and_budget_stand_in_the_metadata(rendered):
    said = ["search.trials=7", "search.wall_s=360000", "search.gpu_hours=40", "resources.gpu=0.5"]
    documents, answer = rendered(*(word for one in said for word in ("--set", one)), "--gpus", "4")
    job = one(documents, "RayJob")
    notes, stored = job["metadata"]["annotations"], job["spec"]["metadata"]
    runs = load_sweep(SPACE, said).runs.total
    expected = {"trials": "7", "runs": str(runs), "parallel": "8", "budget": "wall time 100 h 00 min, GPU-hours 40"}
    assert {key: notes[f"plastsearch.io/{key}"] for key in expected} == expected
    assert {key: stored[key] for key in expected} == expected
    assert stored["sweep"] == "mine"
    assert answer["parallel"] == 8
    assert job["spec"]["activeDeadlineSeconds"] == 363_600, "the space's own limit comes first"


@pytest.mark.parametrize(
    ("overlay", "gpus", "most"),
    [
        ("gpu", 3, {"gpu": 3}),
        ("spot", 10, {"gpu": 2, "spot": 8}),
        ("spot", 1, {"gpu": 0, "spot": 1}),
        ("kueue", 2, {"gpu": 2}),
    ],
)
def test_gpus_set_the_size_and_tell_the_driver(rendered, overlay, gpus, most):
    documents, answer = rendered("--gpus", str(gpus), overlay=overlay)
    job = one(documents, "RayJob")
    workers = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert {g["groupName"]: g["maxReplicas"] for g in workers if g["groupName"] != "cpu"} == most
    if overlay == "kueue":
        assert all(g["minReplicas"] == g["replicas"] == g["maxReplicas"] for g in workers)
    said = environment(groups(job)[0]["template"]["spec"]["containers"][0], "plastsearch")
    assert [kind.count for kind in declared_groups({GROUPS: said[GROUPS]})] == [g["maxReplicas"] for g in workers]
    assert answer["parallel"] == gpus


def test_slices_of_gpus_are_counted_and_told():
    job = one(render(overlays.overlay("gpu")), "RayJob")
    (group,) = [g for g in groups(job)[1:] if g["groupName"] == "gpu"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    del limits["nvidia.com/gpu"]
    limits["nvidia.com/mig-1g.10gb"] = "2"
    group["rayStartParams"] = {"num-gpus": "2"}
    tailoring.set_gpus(job, 6)
    assert group["maxReplicas"] == 3
    kinds = declared_groups({GROUPS: tailoring.declare_groups(job)})
    assert [(kind.resources.get("GPU", 0), kind.count) for kind in kinds] == [(0, 1), (2, 3)]


def test_images_and_namespace_are_set_everywhere(rendered):
    documents, _ = rendered(
        "--image", "r.example.org/t/plastsearch:1.0", "--image", "plastsearch-gpu=r.example.org/t/cuda:1.0",
        "--namespace", "team", "--platform",
    )  # fmt: skip
    images = {value for d in documents for key, value in walk(d) if key == "image"}
    assert images == {"r.example.org/t/plastsearch:1.0", "r.example.org/t/cuda:1.0"}
    assert {d["metadata"]["namespace"] for d in documents if d["kind"] != "Namespace"} == {"team"}
    assert [d["metadata"]["name"] for d in of_kind(documents, "Namespace")] == ["team"]


def test_each_rendering_is_a_submission_of_its_own(rendered):
    documents, answer = rendered()
    head = groups(one(documents, "RayJob"))[0]["template"]["spec"]["containers"][0]
    assert environment(head, "plastsearch")["PLASTSEARCH_SUBMISSION"] == answer["submission"]
    assert re.fullmatch(r"mine-\d{8}-\d{6}", answer["submission"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--overlay", "cloud"], "--overlay cloud: unknown; known: dev: one node"),
        (["--name", "Mine"], "--name Mine: no name for a RayJob; use a-z, 0-9 and -"),
        (["--name", "m" * 46], "45 characters at most"),
        (["--set", "search.trails=3"], "search.trails: unknown key"),
        (["--set", "space.layers.of=encoder.*.fnn"], "encoder.*.fnn"),
        (
            ["--set", "resources.gpu=2", "--set", "resources.cpu=4"],
            "one trial asks for 2 GPUs (the largest node has 1)",
        ),
        (["--gpus", "4", "--overlay", "dev"], "--gpus: the overlay has no group of GPU workers"),
        (["--gpus", "64"], "may take 64 GPUs, ResourceQuota plastsearch allows 32"),
        (["--image", "r.example.org/other:1"], "which of plastsearch and plastsearch-gpu is it?"),
        (["--image", "plastsearch"], "has no version; give one, such as plastsearch:"),
        (["--image", "plastsearch-gpu:"], "such as plastsearch-gpu:0.1.0"),
        (["--image", "a b:1"], "Say so: --image 'plastsearch=a b:1'"),
        (
            ["--image", "plastsearch=r.example.org/My/App:1"],
            "'r.example.org/My/App:1' is no image; write it as HOST/PATH",
        ),
        (["--image", "plastsearch=r.example.org//app:1"], "is no image; write it as HOST/PATH:TAG"),
        (["--image", "plastsearch=app@sha256:ab"], "is no image; write it as HOST/PATH:TAG"),
        (["--image", "plastsearch=https://r.example.org/app:1"], "is no image; write it as HOST/PATH:TAG"),
        (["--namespace", "My_Team"], "--namespace My_Team: no name for a namespace; use a-z"),
        (["--namespace", "a.b"], "--namespace a.b: no name for a namespace; use a-z"),
        (["--namespace", "t" * 64], "63 characters at most"),
        (["--image", "r.example.org/plastsearch:0.0.9"], "has version 0.0.9, the others"),
    ],
)
def test_what_cannot_work_is_refused_and_leaves_nothing(rendered, tmp_path, words, said):
    with pytest.raises(PlastsearchError) as refused:
        rendered(*words)
    assert said in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_else_is_left_alone(rendered, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    with pytest.raises(PlastsearchError, match="out: holds something else; name another folder"):
        rendered()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_its_own_folder_is_written_anew_and_notes_beside_it_are_kept(rendered, tmp_path):
    rendered(space=ROOT / "search_spaces" / "smoke.yaml")
    documents, _ = rendered("--gpus", "2")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "job.yaml", "kustomization.yaml", "name-references.yaml", "sweep.yaml", "w2v_layers.yaml",
    ]  # fmt: skip
    assert one(documents, "RayJob")["spec"]["rayClusterSpec"]["workerGroupSpecs"][1]["maxReplicas"] == 2
    (tmp_path / "out" / "notes.md").write_text("x")
    with pytest.raises(PlastsearchError, match=r"holds notes\.md beside what was rendered"):
        rendered()
    assert (tmp_path / "out" / "notes.md").is_file()


def test_rendered_again_it_is_said_how_an_ended_job_is_started_anew(rendered):
    assert not [line for line in rendered()[1]["next"] if "delete" in line]
    todo = rendered("--namespace", "team")[1]["next"]
    (place,) = [number for number, line in enumerate(todo) if "delete" in line]
    assert todo[place].startswith("kubectl -n team delete rayjob mine --ignore-not-found  # if it has ended")
    assert todo[place + 1].startswith("kubectl apply -k ")


def test_a_place_that_cannot_be_written_is_named(rendered, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        PlastsearchError, match=r"/file.*: cannot be written \((Not a directory|File exists)\); name another"
    ):
        rendered(folder="file/below")


def test_a_mistake_in_the_result_leaves_the_old_folder(rendered, tmp_path):
    rendered()
    before = (tmp_path / "out" / "job.yaml").read_text()
    with pytest.raises(SpecError, match="ResourceQuota"):
        rendered("--gpus", "64")
    assert (tmp_path / "out" / "job.yaml").read_text() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_to_do_next_are_commands_that_exist(rendered):
    _, answer = rendered(overlay="s3", name="mine", folder="s3")
    todo = answer["next"]
    assert todo[0].startswith(
        "kubectl create secret generic s3 --namespace plastsearch --from-literal=AWS_ACCESS_KEY_ID="
    )
    assert [line.split()[0] for line in todo[1:]] == ["kubectl", "plastsearch", "plastsearch"]
    for line in todo[2:]:
        words = shlex.split(line)[1:]
        assert CliRunner().invoke(app, [*words[:2], "--help"]).exit_code == 0
    _, answer = rendered(folder="plain")
    assert answer["next"][0].startswith("kubectl apply -k ")
    for words in (["--namespace", "team"], ["--image", "r.example.org/plastsearch:0.1.0"]):
        more = ["--image", "r.example.org/plastsearch-gpu:0.1.0"] if words[0] == "--image" else []
        _, answer = rendered(*words, *more, folder=words[0].strip("-"))
        assert "this command with --platform and another --out" in answer["next"][0]
        assert not any(line.startswith("kubectl apply -k") and "platform" in line for line in answer["next"])


@pytest.mark.parametrize(
    "name", ["job.yaml", "kustomization.yaml", "Kustomization", "name-references.yaml", "a b.yaml"]
)
def test_a_space_named_like_a_file_of_ours_overwrites_none(rendered, tmp_path, name):
    space = tmp_path / name
    shutil.copy(SPACE, space)
    documents, _ = rendered(space=space)
    assert one(documents, "RayJob")["spec"]["entrypoint"].startswith("plastsearch sweep /spaces/space.yaml ")
    assert one(documents, "ConfigMap")["data"] == {"space.yaml": SPACE.read_text()}


def test_a_space_that_kubectl_could_not_apply_is_refused(rendered, tmp_path):
    space = tmp_path / "large.yaml"
    space.write_text(SPACE.read_text() + "# é\n" * 50_000)
    with pytest.raises(
        PlastsearchError, match=r"large\.yaml: makes a ConfigMap of 30\d,\d{3} bytes, and kubectl apply"
    ):
        rendered(space=space)


def test_the_longest_name_is_one_that_kuberay_leaves_whole(rendered):
    documents, _ = rendered(name="m" * 45)
    head = one(documents, "RayJob")["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert len(head["serviceAccountName"]) == 50


def test_names_of_images():
    for image in ("r.example.org:5000/plastsearch@sha256:" + "ab" * 32, "R.example.org/a__b/c--d/plastsearch:v1.0_x-y"):
        assert named_image(image) == ("plastsearch", image)
    assert named_image("plastsearch-gpu=x:1") == ("plastsearch-gpu", "x:1")


def test_a_rendered_folder_is_checked_by_the_command_it_names(rendered, tmp_path):
    rendered("--platform")
    result = CliRunner().invoke(app, ["k8s", "check", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "no mistakes (KubeRay 1.6 and 1.7)" in result.stdout


def test_a_wheel_renders_without_a_checkout(tmp_path, monkeypatch):
    """The package laid out as the build's hook says, elsewhere: what the manifests refer to must have come along."""
    plugin = types.ModuleType("hatchling.builders.hooks.plugin.interface")
    plugin.BuildHookInterface = object
    for name in ("hatchling", "hatchling.builders", "hatchling.builders.hooks", "hatchling.builders.hooks.plugin"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    monkeypatch.delitem(sys.modules, "plastsearch.kubernetes.wheel_hook", raising=False)
    from plastsearch.kubernetes.wheel_hook import ManifestsHook

    hook = ManifestsHook()
    hook.root = str(ROOT)
    data, editable = {"force_include": {}}, {"force_include": {}}
    hook.initialize("standard", data)
    hook.initialize("editable", editable)
    assert editable == {"force_include": {}}
    site = tmp_path / "site"
    shutil.copytree(ROOT / "plastsearch", site / "plastsearch", ignore=shutil.ignore_patterns("__pycache__"))
    for source, target in data["force_include"].items():
        shutil.copytree(ROOT / source, site / target)
    line = ["-m", "plastsearch.cli.main", "k8s", "render", str(SPACE), "--overlay", "gpu", "--name", "mine"]
    done = subprocess.run(
        [sys.executable, *line, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout, "the platform to apply is the wheel's own"


def test_an_installation_without_manifests_says_so(tmp_path, monkeypatch):
    (tmp_path / "plastsearch").mkdir()
    monkeypatch.setattr("plastsearch.__file__", str(tmp_path / "plastsearch" / "__init__.py"))
    with pytest.raises(PlastsearchError, match="the manifests are missing from this installation"):
        overlays.tree()


def test_the_build_runs_the_hook():
    import tomllib

    said = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert (ROOT / said["hooks"]["custom"]["path"]).is_file()


def test_overlays_are_those_that_ship():
    assert {path.name for path in (Path(overlays.tree()) / "overlays").iterdir()} == set(overlays.OVERLAYS)
    for name, secrets in overlays.BY_HAND.items():
        text = yaml.safe_dump_all(render(overlays.overlay(name)))
        assert all(key in text for keys in secrets.values() for key in keys)
