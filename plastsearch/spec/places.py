"""Paths in a configuration, made absolute once, where it is read: a worker may stand in another folder.

A model's weights come from a folder or a hub name. What looks like a path is one, whether the folder is there or not.
"""

import os.path
from typing import Any

_PATHS = ("data.root", "data.manifest", "data.search_dev.root", "data.search_dev.manifest")
_MODEL, _AUGMENT = "model.from", "data.augment"


def looks_like_path(source: str) -> bool:
    """Whether weights can only lie in a folder: hub names are `name` or `owner/name`, perhaps with `@revision`."""
    return source.startswith((".", "~", "/")) or "\\" in source or source.partition("@")[0].count("/") > 1


def settle_(data: Any) -> None:
    """Makes every path of a trial's or a search space's plain data absolute; other values are left to validation."""
    if not isinstance(data, dict):
        return
    space = data.get("space")
    space = space if isinstance(space, dict) else {}
    bases = [data["base"]] if isinstance(data.get("base"), dict) else [data]
    points = data.get("try_first")
    beside_corpus = any(_at(base, "data.root") for base in bases) or "data.root" in space
    for key in (_MODEL, *_PATHS, *(() if beside_corpus else (_AUGMENT,))):
        for base in bases:
            *parents, last = key.split(".")
            holder = _at(base, ".".join(parents))
            if isinstance(holder, dict) and last in holder:
                holder[last] = _settled(key, holder[last])
        domain = space.get(key)
        if isinstance(domain, dict) and isinstance(domain.get("of"), list):
            domain["of"] = [_settled(key, value) for value in domain["of"]]
        for point in points if isinstance(points, list) else []:
            if isinstance(point, dict) and key in point:
                point[key] = _settled(key, point[key])


def _at(data: Any, path: str) -> Any:
    for part in path.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _settled(key: str, value: Any) -> Any:
    if key == _AUGMENT and isinstance(value, list):
        return [_settled(key, one) for one in value]
    if not isinstance(value, str) or not value:
        return value
    if key == _AUGMENT:  # kind:FOLDER; with a corpus's root a relative folder lies below that
        kind, colon, folder = value.partition(":")
        return f"{kind}:{_absolute(folder)}" if colon and folder else value
    if key == _MODEL and not looks_like_path(value) and not os.path.exists(value):  # noqa: PTH110
        return value
    return _absolute(value)


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - `~nobody` is left as it is
