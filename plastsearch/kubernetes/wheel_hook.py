"""Run by hatchling: puts the manifests and the spaces they refer to into the wheel, from which `k8s render` copies.

A hook, since a build that is given the package alone, such as that of an image, has neither and needs neither.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

INSIDE = (
    "plastsearch/kubernetes/tree"  # kustomizations name the spaces as ../../search_spaces, so both stand side by side
)


class ManifestsHook(BuildHookInterface):
    """Adds `k8s` and `search_spaces`, as far as they are there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """What else belongs into the wheel; an editable installation finds both in its checkout."""
        if version != "editable":
            for name in ("k8s", "search_spaces"):
                if (Path(self.root) / name).is_dir():
                    build_data["force_include"][name] = f"{INSIDE}/{name}"
