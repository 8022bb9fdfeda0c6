"""Kustomizations written by a test, which must lie beside the repository's own: kustomize takes relative paths only."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rendering import K8S, kustomization


@pytest.fixture
def scratch(tmp_path: Path) -> Callable[..., Path]:
    """Write a kustomization whose resources and components are folders of k8s/."""
    made = iter(range(100))

    def write(**content: Any) -> Path:
        folder = tmp_path / str(next(made))
        for key in "resources", "components":
            if key in content:
                content[key] = [os.path.relpath(K8S / name, folder) for name in content[key]]
        return kustomization(folder, **content)

    return write
