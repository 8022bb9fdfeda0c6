"""Paths in a configuration, made absolute once, where it is read: a worker may stand in another folder.

Earlier sweeps are named by folder or file, too, unless they lie on a server.

A model's weights come from a folder or a hub name. What looks like a path is one, whether the folder is there or not.
"""

import os.path

from pydantic import JsonValue

_PATHS = ("data.root", "data.manifest", "data.search_dev.root", "data.search_dev.manifest")
_MODEL, _AUGMENT, _EARLIER = "model.from", "data.augment", "search.warm_start"


def looks_like_path(source: str) -> bool:
    """Whether weights can only lie in a folder: hub names are `name` or `owner/name`, perhaps with `@revision`."""
    return source.startswith((".", "~", "/")) or "\\" in source or source.partition("@")[0].count("/") > 1


def settle_(data: JsonValue) -> None:
    """Makes every path of a trial's or a search space's plain data absolute; other values are left to validation."""
    if not isinstance(data, dict):
        return
    search = _section(data, "search") or {}
    earlier = search.get("warm_start")
    if isinstance(earlier, list):
        search["warm_start"] = [_settled(_EARLIER, one) for one in earlier]
    space = _section(data, "space") or {}
    base = _section(data, "base")
    trial = data if base is None else base  # of a search space, a trial's values stand one step deeper
    points = data.get("try_first")
    beside_corpus = _at(trial, "data.root") or "data.root" in space
    for key in (_MODEL, *_PATHS, *(() if beside_corpus else (_AUGMENT,))):
        *parents, last = key.split(".")
        holder = _at(trial, ".".join(parents))
        if isinstance(holder, dict) and last in holder:
            holder[last] = _settled(key, holder[last])
        domain = _section(space, key) or {}
        options = domain.get("of")
        if isinstance(options, list):
            domain["of"] = [_settled(key, value) for value in options]
        for point in points if isinstance(points, list) else []:
            if isinstance(point, dict) and key in point:
                point[key] = _settled(key, point[key])


def _section(data: dict[str, JsonValue], key: str) -> dict[str, JsonValue] | None:
    section = data.get(key)
    return section if isinstance(section, dict) else None


def _at(data: JsonValue, path: str) -> JsonValue:
    for part in path.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _settled(key: str, value: JsonValue) -> JsonValue:
    if key == _AUGMENT and isinstance(value, list):
        return [_settled(key, one) for one in value]
    if not isinstance(value, str) or not value:
        return value
    if key == _AUGMENT:  # kind:FOLDER; with a corpus's root a relative folder lies below that
        kind, colon, folder = value.partition(":")
        return f"{kind}:{_absolute(folder)}" if colon and folder else value
    if key == _EARLIER and (value.startswith("mlflow:") or "://" in value):
        return value
    if key == _MODEL and not looks_like_path(value) and not os.path.exists(value):  # noqa: PTH110
        return value
    return _absolute(value)


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - `~nobody` is left as it is
