"""Both overlays, as `kubectl apply --kustomize` would send them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.k8s.generate import FOLDER

KUBECTL = Path(sys.executable).with_name("kubectl")
Objects = list[dict[str, Any]]


def render(folder: Path) -> Objects:
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))


@pytest.fixture(scope="session")
def small() -> Objects:
    return render(FOLDER / "overlays" / "small")


@pytest.fixture(scope="session")
def production() -> Objects:
    return render(FOLDER / "overlays" / "production")
