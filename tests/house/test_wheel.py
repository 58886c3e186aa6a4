"""What is built is what is used: the wheel holds every file and works away from the repository."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From a copy: setuptools would leave build/ in the tree, and take old files from it next time.
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, source)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(repository / "src", source / "src", ignore=ignored)
    out = tmp_path_factory.mktemp("dist")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "-w", out, cwd=source)
    (built,) = out.glob("graft-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--no-index", "--target", target, wheel, cwd=target)
    return target


def test_wheel_holds_every_file_of_the_package(repository: Path, wheel: Path) -> None:
    source = repository / "src"
    there = {
        path.relative_to(source).as_posix()
        for path in (source / "graft").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("graft/")}
    assert packed == there


def test_wheel_carries_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())


def test_import_and_help_work_away_from_the_repository(installed: Path, tmp_path: Path) -> None:
    where = run(
        *(sys.executable, "-c", "import graft; print(graft.__file__)"),
        cwd=tmp_path,
        PYTHONPATH=str(installed),
    )
    assert Path(where.strip()).is_relative_to(installed)
    shown = run(sys.executable, "-m", "graft", "--help", cwd=tmp_path, PYTHONPATH=str(installed))
    assert "train" in shown


def test_console_script_works(installed: Path, tmp_path: Path) -> None:
    script = next((installed / "bin").glob("graft*"))
    shown = run(script, "--help", cwd=tmp_path, PYTHONPATH=str(installed))
    assert "train" in shown
