"""The wheel works away from the checkout: it migrates, it has its data files, its demo runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_SOURCE = (".venv", ".git", ".*_cache", ".hypothesis", "uv.lock", "dist", "__pycache__", "tests")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment that has the wheel, our dependencies, and not our checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True
    )
    shutil.rmtree(source)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    site = next(environment.glob("lib/python*/site-packages"))
    shutil.unpack_archive(wheel, site, "zip")
    (site / "dependencies.pth").write_text(f"{_without_our_checkout(folder)}\n")
    return environment / "bin" / "python"


def _without_our_checkout(folder: Path) -> Path:
    """A folder that shows everything installed here but the editable project itself."""
    shown = folder / "dependencies"
    shown.mkdir()
    here = next(Path(one) for one in sys.path if one.endswith("site-packages"))
    for item in here.iterdir():
        if "wandb_mirror" not in item.name:
            (shown / item.name).symlink_to(item)
    return shown


def _run(python: Path, *args: str) -> str:
    done = subprocess.run(
        [python, *args], capture_output=True, text=True, timeout=120, cwd=python.parent, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_wheel_can_migrate(installed: Path, tmp_path: Path, postgres_url: str) -> None:
    code = (
        "import sys, mirror; from mirror.store.migrate import script_location; "
        "from mirror.store.store import Store; "
        "assert script_location().name == '_migrations', script_location(); "
        "[Store.open(url, create=True, upgrade=True).close() for url in sys.argv[1:]]; "
        "print(mirror.__file__)"
    )
    said = _run(installed, "-c", code, str(tmp_path / "mirror.db"), postgres_url)
    assert Path(said.strip()).is_relative_to(installed.parent.parent)


def test_an_installed_wheel_runs_its_demo(installed: Path, tmp_path: Path) -> None:
    said = _run(installed, "-m", "mirror", "demo", "--runs", "50", "--folder", str(tmp_path))
    assert "50 new" in said
