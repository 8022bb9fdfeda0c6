"""`k8s render`: a space and an overlay as a folder that `kubectl apply -k` takes, checked before it is there."""

import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plastsearch.errors import PlastsearchError, SpecError
from plastsearch.files import told, whole_folder
from plastsearch.kubernetes import kubectl, schema, tailoring
from plastsearch.kubernetes.check import check
from plastsearch.kubernetes.manifests import KUSTOMIZATIONS, Object, Objects, Tree, dig, outside, parse, read_objects
from plastsearch.kubernetes.object_rules import LARGEST, written_size
from plastsearch.kubernetes.overlays import BY_HAND, overlay, tree
from plastsearch.kubernetes.pod_rules import IMAGE, split_image
from plastsearch.kubernetes.pods import SWEEP
from plastsearch.kubernetes.sweep_rules import SUBMISSION, Reader
from plastsearch.preflight.checks import preflight
from plastsearch.spec.load import load_sweep
from plastsearch.version import __version__

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
MARK = "# Written by `plastsearch k8s render`"
IMAGES = ("plastsearch", "plastsearch-gpu")
_FILES = {"kustomization.yaml", "platform.yaml", "sweep.yaml", "job.yaml", "name-references.yaml"}


@dataclass(frozen=True)
class Wish:
    """What to render."""

    space: Path
    overlay: str
    name: str
    out: Path
    submission: str  # by which attempts of one apply know each other
    sets: Sequence[str] = ()
    gpus: int | None = None
    images: Sequence[str] = ()
    namespace: str | None = None
    platform: bool = False


@dataclass(frozen=True)
class Rendered:
    """What was written, and what to know about it."""

    namespace: str
    objects: int
    trials: int
    runs: int
    parallel: int
    platform: bool  # among the objects
    again: bool  # over what an earlier rendering left
    by_hand: Mapping[str, Sequence[str]]  # Secret → keys, to be made before
    notes: Sequence[str]


def render(wish: Wish, read: Reader) -> Rendered:
    """Write the folder; nothing is written if anything is wrong."""
    tailoring.check_name(wish.name)
    images = dict(named_image(said) for said in wish.images)
    if wish.namespace is not None and not _LABEL.fullmatch(wish.namespace):
        raise PlastsearchError(
            f"--namespace {wish.namespace}: no name for a namespace; use a-z, 0-9 and - inside, 63 characters at most"
        )
    with told(wish.out):
        again = _refuse_other(wish.out)
    spec = load_sweep(wish.space, wish.sets)
    notes = list(preflight(spec, data=False).notes)
    whole = parse(kubectl.kustomize(overlay(wish.overlay)), f"overlay {wish.overlay}")
    job = tailoring.the_job(whole)
    old, before = job.name, job.namespace
    space = _embedded(wish.space)
    mine = [one for one in whole.all if one.labels.get(SWEEP) == old and one.kind != "ConfigMap"]
    platform = [one for one in whole.all if one.labels.get(SWEEP) != old]
    if wish.platform and not platform:
        platform = list(_platform().all)
    trees = [tailoring.renamed(one.tree, old, wish.name) for one in mine]
    (made,) = [one for one in trees if one["kind"] == "RayJob"]
    tailoring.set_command(made, wish.name, f"/spaces/{space}", wish.sets)
    tailoring.mount_space(made, f"{wish.name}-space")
    if wish.gpus is not None:
        tailoring.set_gpus(made, wish.gpus)
    at_a_time = tailoring.parallel(spec, tailoring.declare_groups(made))
    tailoring.set_environment(made, SUBMISSION, wish.submission)
    tailoring.set_metadata(made, spec, wish.name, at_a_time)
    namespace = wish.namespace or before
    files: dict[str, list[Tree]] = {
        "job.yaml": [made],
        "sweep.yaml": [one for one in trees if one is not made],
        "platform.yaml": [one.tree for one in platform],
    }
    files = {name: tailoring.moved(content, before, namespace) for name, content in files.items() if content}
    by_hand = BY_HAND.get(wish.overlay, {})
    with told(wish.out):
        wish.out.parent.mkdir(parents=True, exist_ok=True)
    with told(wish.out), whole_folder(wish.out) as draft:
        draft.mkdir()
        _write(draft, files, wish, space, namespace, images)
        objects, more = _checked(draft, read, platform_there=bool(platform), by_hand=by_hand, moved=(before, namespace))
        _make_room(wish.out)
    return Rendered(
        namespace, objects, spec.search.trials, spec.runs.total, at_a_time, bool(platform), again, by_hand,
        [*notes, *more],
    )  # fmt: skip


def named_image(said: str) -> tuple[str, str]:
    """`registry/plastsearch-gpu:1.2` or `plastsearch-gpu=elsewhere/x:1.2` → which of ours it stands for, and it."""
    name, given, image = said.partition("=")
    if not given:
        image, name = said, split_image(said)[0].rsplit("/", 1)[-1]
    if name not in IMAGES or not image:
        raise PlastsearchError(
            f"--image {said}: which of {' and '.join(IMAGES)} is it? "
            f"Say so: --image {shlex.quote(f'plastsearch={image or said}')}"
        )
    if not split_image(image)[1] and "@" not in image:
        instead = shlex.quote(f"{image.rstrip(':')}:{__version__}")
        raise PlastsearchError(f"--image {said}: has no version; give one, such as {instead}")
    if not IMAGE.fullmatch(image):
        raise PlastsearchError(
            f"--image {said}: {image!r} is no image; write it as HOST/PATH:TAG or HOST/PATH@sha256:DIGEST, "
            "its path in small letters"
        )
    return name, image


def _embedded(space: Path) -> str:
    size = written_size({space.name: space.read_text()})
    if size > LARGEST:
        raise PlastsearchError(
            f"{space}: makes a ConfigMap of {size:,} bytes, and kubectl apply takes {LARGEST:,}; "
            "shorten it, or put it on a volume and write its manifests by hand"
        )
    fits = re.fullmatch(r"[-._a-zA-Z0-9]+", space.name) and space.name not in {*_FILES, *KUSTOMIZATIONS}
    return space.name if fits else "space.yaml"


def _platform() -> Objects:
    return parse(kubectl.kustomize(tree() / "platform"), "platform")


def _write(
    folder: Path, files: Mapping[str, list[Tree]], wish: Wish, space: str, namespace: str, images: Mapping[str, str]
) -> None:
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump_all(content, sort_keys=False, width=120, allow_unicode=True))
    shutil.copyfile(wish.space, folder / space)
    shutil.copyfile(tree() / "sweep" / "name-references.yaml", folder / "name-references.yaml")
    labels = {"app.kubernetes.io/part-of": "plastsearch", SWEEP: wish.name}
    said: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": list(files),
        "configMapGenerator": [{"name": f"{wish.name}-space", "files": [space], "options": {"labels": labels}}],
        "configurations": ["name-references.yaml"],
    }
    if images:
        said["images"] = [_image_entry(name, image) for name, image in images.items()]
    head = f"{MARK} {__version__}: overlay {wish.overlay}. kubectl apply -k takes this folder; change what you like.\n"
    (folder / "kustomization.yaml").write_text(head + yaml.safe_dump(said, sort_keys=False))


def _image_entry(name: str, image: str) -> dict[str, str]:
    before, at, digest = image.partition("@")
    new, tag = split_image(before)
    return {
        "name": name,
        "newName": new,
        **({"newTag": tag} if tag and not at else {}),
        **({"digest": digest} if at else {}),
    }


def _checked(
    folder: Path, read: Reader, *, platform_there: bool, by_hand: Mapping[str, Sequence[str]], moved: tuple[str, str]
) -> tuple[int, list[str]]:
    objects = read_objects(folder)
    there = [outside("Secret", name) for name in by_hand]
    if not platform_there:
        there += [Object(tailoring.moved(one.tree, *moved)) for one in _platform().all]
    newest, *older = schema.releases()
    found, note = check(objects, read, Objects(tuple(there)), [newest])
    if found:
        raise SpecError([str(one) for one in found])
    notes = [note] if note else []
    for release in older:
        if check(objects, read, Objects(tuple(there)), [release])[0]:
            notes.append(f"it needs KubeRay {newest}: {release} lacks a field that this overlay uses")
    return len(objects.all), notes


def _refuse_other(out: Path) -> bool:
    """A folder that holds something else is left alone; one that this command wrote is written again: whether it is."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    own = out / "kustomization.yaml"
    if not own.is_file() or not own.read_text().startswith(MARK):
        raise PlastsearchError(f"{out}: holds something else; name another folder with --out")
    said = yaml.safe_load(own.read_text())
    known = _FILES | {str(name) for name in dig(said, "configMapGenerator", 0, "files") or ()}
    others = sorted(path.name for path in out.iterdir() if path.name not in known)
    if others:
        raise PlastsearchError(
            f"{out}: holds {', '.join(others)} beside what was rendered; move that, or use another --out"
        )
    return True


def _make_room(out: Path) -> None:
    if out.exists():
        # Aside first: the new folder is complete, and takes the name in the very next step.
        aside = out.with_name(f".{out.name}.old.part")
        shutil.rmtree(aside, ignore_errors=True)
        out.rename(aside)
        shutil.rmtree(aside)
