"""Views of corpora that a process keeps, so that the next of many trials does not list and hash every file again.

A view is opened anew once a protocol, a folder of clips or a shard of decoded ones has another time of change. A clip
that is rewritten in place is not noticed: what was decoded of it is read, as by the trials before.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.data.choice import source_of
from plastsearch.data.manifest import Manifest
from plastsearch.data.sources import DataRequest

View = TypeVar("View")
MOST = 4  # of a process; a search may vary the corpus
_all: "list[CachedPrefix[Any]]" = []


class CachedPrefix(Generic[View]):
    """The last few views, the longest unused goes first."""

    def __init__(self, most: int = MOST) -> None:
        _all.append(self)
        self._most = most
        self._views: OrderedDict[Hashable, tuple[View, list[str], list[int]]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], tuple[View, Iterable[str]]]) -> View:
        """The view of that key; `make` opens it and names the files and folders that it rests on."""
        found = self._views.pop(key, None)
        if found is None or _times(found[1]) != found[2]:
            view, places = make()
            listed = list(dict.fromkeys(places))
            found = (view, listed, _times(listed))
        self._views[key] = found
        while len(self._views) > self._most:
            self._views.popitem(last=False)
        return found[0]

    def forget(self) -> None:
        """As in a new process."""
        self._views.clear()


def places_of(manifest: Manifest, clips: pa.Table, shards: Sequence[str]) -> list[str]:
    """What clips rest on: the list that names them, the folders of their files, their decoded samples."""
    folders = pc.unique(pc.replace_substring_regex(clips["path"], "(^|/)[^/]*$", "")).to_pylist()
    below = [os.path.join(manifest.root, folder) for folder in folders]  # noqa: PTH118 - may be many
    return [*manifest.sources.values(), *below, *shards]


def name_of(data: DataRequest, cache: Path) -> Hashable:
    """All of a request that changes which clips are found; how they are cut and changed does not."""
    other = data.search_dev
    scored = (other.policy, other.attacks, other.corpus, other.root, other.variant, other.manifest)
    return source_of(data), scored, data.rate_hz, data.storage, data.on_bad, str(cache.absolute())


def forget_views() -> None:
    """List all files anew at the next opening, as a new process does."""
    for kept in _all:
        kept.forget()


def _times(places: Iterable[str]) -> list[int]:
    """-1 for what is gone."""
    return [_time(place) for place in places]


def _time(place: str) -> int:
    try:
        return os.stat(place).st_mtime_ns  # noqa: PTH116
    except OSError:
        return -1
