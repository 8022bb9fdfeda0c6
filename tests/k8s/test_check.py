"""`k8s check`: what it reads and says, which releases of KubeRay it knows, and that nothing makes it stumble."""

import copy
import gzip
import json
import random
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from plastsearch.cli.cluster.k8s import read_command
from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.kubernetes import following, make_schemas, object_rules, schema, sweep_rules
from plastsearch.kubernetes.check import check
from plastsearch.kubernetes.manifests import Object, Objects, parse, read_beside
from plastsearch.kubernetes.pods import ANY, selected
from plastsearch.kubernetes.quantities import amount
from plastsearch.sweep import submission
from tests.rendering import COMPONENTS, K8S, OVERLAYS, ROOT, one, render

# What each overlay needs of the cluster beside itself.
BESIDE = {"dev": [], "s3": ["Secret/s3"]}


def typed(*words, **more):
    return CliRunner().invoke(app, ["k8s", "check", *map(str, words)], **more)


@pytest.fixture(scope="module")
def rendered():
    return render(K8S)


def mistakes(documents):
    return [str(found) for found in check(Objects(tuple(map(Object, documents))), read_command)[0]]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("release", ["1.6", "1.7"])
def test_every_overlay_passes(overlay, release):
    render(K8S / "overlays" / overlay)  # skips, with a reason, where kubectl is not there
    beside = [word for said in BESIDE.get(overlay, [K8S / "platform"]) for word in ("--beside", str(said))]
    result = typed(K8S / "overlays" / overlay, *beside, "--kuberay", release)
    if (overlay, release) == ("spot", "1.6"):  # filled first by a field that only 1.7 has, the release the docs ask for
        assert result.stderr.count("\n") == 1
        assert "workerGroupSpecs[2].priority: KubeRay 1.6 has no such field" in result.stderr
    else:
        assert result.exit_code == 0, result.output
        assert f"no mistakes (KubeRay {release})" in result.stdout


@pytest.mark.parametrize(
    "content",
    [{"namespace": "plastsearch", "components": [f"components/{name}" for name in COMPONENTS]},
     {"namespace": "other", "namePrefix": "team-"},
     {"namespace": "plastsearch", "images": [{"name": "plastsearch", "newName": "r.example.org/plastsearch"}]}],
    ids=["components", "another name", "images"],
)  # fmt: skip
def test_components_and_what_kustomize_changes_pass(scratch, content):
    folder = scratch(resources=["."], **content)
    render(folder)
    result = typed(folder)
    assert result.exit_code == 0, result.output


def test_mistakes_are_told_in_sentences_and_by_the_exit_status(rendered, tmp_path):
    broken = copy.deepcopy(rendered)
    one(broken, "RayJob")["spec"]["backofLimit"] = 3
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(broken))
    result = typed(tmp_path / "all.yaml")
    assert result.exit_code == 2
    said = "RayJob w2v-layers: spec.backofLimit: no such field; did you mean backoffLimit?"
    assert result.stderr == f"error: {tmp_path / 'all.yaml'}: {said}\n"
    document = json.loads(typed(tmp_path / "all.yaml", "--json").stdout)
    assert document["ok"] is False
    assert document["mistakes"] == [
        {"object": "RayJob w2v-layers", "field": "spec.backofLimit",
         "mistake": "no such field; did you mean backoffLimit?"},
    ]  # fmt: skip


def test_a_folder_a_file_and_standard_input_are_read_alike(rendered, tmp_path):
    text = yaml.safe_dump_all(rendered)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "some.yaml").write_text(text)
    for words, more in (([tmp_path], {}), ([tmp_path / "deep" / "some.yaml"], {}), (["-"], {"input": text})):
        result = typed(*words, **more)
        assert result.exit_code == 0, result.output
        assert f"{len(rendered)} objects, no mistakes" in result.stdout


def test_a_list_counts_as_what_it_holds(rendered):
    whole = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": rendered})
    assert len(parse(whole, "x").all) == len(rendered)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [1", r"x\.yaml:\d+: .*; mend the YAML"),
        ("apiVersion: v1\nkind: Pod\nkind: Pod\n", r"x\.yaml:3: key 'kind' is given twice"),
        ("1: 2\n", "key 1 is no string"),
        ("- apiVersion: v1\n", "document 1 is no Kubernetes object; give it apiVersion and kind"),
        ("", "holds no Kubernetes object"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(tmp_path, content, said):
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(PlastsearchError, match=said):
        raise typed(tmp_path / "x.yaml").exception


def test_what_is_not_there_is_refused(tmp_path):
    for where, said in ((tmp_path / "no", "no such file or folder"), (tmp_path, "holds neither a kustomization nor")):
        with pytest.raises(PlastsearchError, match=said):
            raise typed(where).exception
    (tmp_path / "kustomization.yaml").write_text("resources: [nowhere.yaml]\n")
    with pytest.raises(PlastsearchError, match=r"cannot be rendered: .*nowhere\.yaml.*; mend its kustomization"):
        raise typed(tmp_path).exception
    with pytest.raises(PlastsearchError, match=r"--kuberay 1\.5: unknown; known: 1\.7, 1\.6"):
        raise typed(K8S, "--kuberay", "1.5").exception


def test_a_sweep_alone_is_told_how_to_name_its_platform():
    render(K8S / "overlays" / "gpu")
    result = typed(K8S / "overlays" / "gpu")
    assert result.exit_code == 2
    assert "names PersistentVolumeClaim results, which is not among these objects" in result.stderr
    assert "Note: what the cluster has already is named with --beside" in result.stderr


def test_the_page_shows_commands_that_exist():
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "kubernetes.md").read_text(), re.DOTALL)
        for line in block.splitlines() if line.startswith("plastsearch ")
    ]  # fmt: skip
    assert {" ".join(line.split()[1:3]) for line in lines} >= {"k8s render", "k8s check", "k8s watch", "k8s fetch"}
    for line in lines:
        understood = read_command(shlex.split(line)[1:])
        assert not isinstance(understood, str), understood


def test_names_are_those_that_the_driver_uses():
    assert (sweep_rules.SUBMISSION, following.VERDICT) == (submission.SUBMISSION, submission.FILE)


def test_variables_of_this_machine_do_not_count(rendered, monkeypatch):
    monkeypatch.setenv("PLASTSEARCH_CACHE", "/home/somebody/cache")
    monkeypatch.setenv("PLASTSEARCH_STORE", "/home/somebody/store")
    assert mistakes(rendered) == []


def test_one_object_may_be_named_instead_of_shown():
    with pytest.raises(
        PlastsearchError, match="--beside Foo/bar: no such folder, and nothing here refers to a Foo; known"
    ):
        read_beside("Foo/bar")
    (found,) = read_beside("Secret/s3").all
    assert (found.kind, found.name) == ("Secret", "s3")


def test_without_the_package_of_core_schemas_the_rest_is_still_checked(rendered, monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes_validate", None)
    found, note = object_rules.core_findings(Objects(tuple(map(Object, rendered))))
    assert found == []
    assert "pip install 'plastsearch[kubernetes]'" in note
    broken = copy.deepcopy(rendered)
    one(broken, "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    assert ["imagePulPolicy: no such field" in said for said in mistakes(broken)] == [True]


@pytest.mark.slow
def test_nothing_makes_it_stumble(rendered):
    """Any value anywhere: a sentence or none, never a traceback."""
    rng = random.Random(0)
    junk = [None, [], {}, "", "x", 7, True, ["x"], {"x": "y"}, [None], [{}], -1, 1e400]
    places = [(n, path) for n, document in enumerate(rendered) for path in _paths(document)]
    for n, path in rng.choices(places, k=150):
        documents = [*rendered[:n], copy.deepcopy(rendered[n]), *rendered[n + 1 :]]
        node = documents[n]
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = rng.choice(junk)
        for said in mistakes(documents):
            assert "\n" not in said


def _paths(node, path=()):
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*path, key)
        yield from _paths(value, (*path, key))


def test_the_shipped_definitions_are_small_and_hold_no_prose():
    packed = make_schemas.DATA.read_bytes()
    assert len(packed) < 20_000
    document = json.loads(gzip.decompress(packed))
    assert document["release"] == "1.7"
    assert "description" not in json.dumps(document)
    words = [value for value in _strings(document) if " " in value]
    assert words == []


def _strings(node):
    if isinstance(node, str):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _strings(value)


def test_definitions_are_made_of_what_is_published(tmp_path, monkeypatch):
    """Names, types and what must be there are kept; of an older release what it lacks and asks for besides."""

    def release(folder, **fields):
        folder.mkdir()
        pod = {"type": "object", "properties": {"image": {"type": "string", "description": "Some prose."},
               "cpu": {"anyOf": [{}], "pattern": "^[0-9]+m?$", "x-kubernetes-int-or-string": True}},
               "required": ["image"]}  # fmt: skip
        spec = {"type": "object", "properties": {
            "head": pod, "workers": {"type": "array", "items": {**pod, "properties": {**pod["properties"], **fields}}},
            "mode": {"type": "string", "default": "a", "enum": ["a", "b"]},
        }, "required": ["mode", "head"]}  # fmt: skip
        for name in make_schemas.FILES.values():
            whole = {"openAPIV3Schema": {"properties": {"spec": spec}}}
            (folder / name).write_text(yaml.safe_dump({"spec": {"versions": [{"name": "v1", "schema": whole}]}}))

    release(tmp_path / "new", priority={"type": "integer", "minimum": 0})
    release(tmp_path / "old")
    monkeypatch.setattr(make_schemas, "DATA", tmp_path / "made.json.gz")
    make_schemas.main([f"2.0={tmp_path / 'new'}", f"1.9={tmp_path / 'old'}"])
    monkeypatch.setattr(schema, "DATA", tmp_path / "made.json.gz")
    schema._data.cache_clear()
    try:
        good = {"head": {"image": "x", "cpu": "500m"}, "workers": [{"image": "x", "priority": 1}]}
        assert list(schema.check_kind("RayJob", good, ["2.0"])) == []
        assert list(schema.check_kind("RayJob", good, ["2.0", "1.9"])) == [
            ("spec.workers[0].priority",
             "KubeRay 1.9 has no such field; leave it out, so that both releases take this"),
        ]  # fmt: skip
        bad = {"mode": "c", "head": {"imag": "x", "cpu": "5 GB"}, "workers": {}}
        assert [at for at, _ in schema.check_kind("RayJob", bad, ["2.0"])] == [
            "spec.mode", "spec.head.image", "spec.head.imag", "spec.head.cpu", "spec.workers",
        ]  # fmt: skip
    finally:
        monkeypatch.undo()
        schema._data.cache_clear()
    with pytest.raises(PlastsearchError, match="name each release and its folder, newest first"):
        make_schemas.main(["1.7"])


@pytest.mark.parametrize(
    ("said", "number"),
    [("500m", 0.5), ("2", 2), (4, 4), ("16Gi", 16 * 2**30), ("1.5G", 1.5e9), ("1e3", 1000), ("2E", 2e18),
     ("1Ei", 2.0**60), ("2GB", None), ("", None), (True, None), (None, None), ("Gi", None), ("1 Gi", None)],
)  # fmt: skip
def test_quantities(said, number):
    assert amount(said) == number


def test_selectors_are_read_in_both_forms():
    labels = {"app": "a", "ray.io/cluster": ANY}
    assert selected(labels, {"app": "a"})
    assert selected(labels, {"matchLabels": {"app": "a", "ray.io/cluster": "whatever"}})
    assert not selected(labels, {"matchLabels": {"app": "b"}})
    assert selected(labels, {})
    cases = [("In", ["a"], True), ("In", ["b"], False), ("NotIn", ["b"], True), ("NotIn", ["a"], False),
             ("Exists", None, True), ("DoesNotExist", None, False), ("Like", None, False)]  # fmt: skip
    for operator, values, expected in cases:
        rule = {"key": "app", "operator": operator, **({"values": values} if values else {})}
        assert selected(labels, {"matchExpressions": [rule]}) is expected


def test_help_imports_nothing_heavy():
    code = "import sys, plastsearch.cli.main; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "plastsearch.cli.cluster.k8s" in shown
    assert [name for name in shown if name in {"yaml", "torch"} or name.startswith("plastsearch.kubernetes")] == []
