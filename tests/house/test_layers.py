"""The house's own laws: floors, quiet imports, examples that run."""

import ast
import doctest
import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "graft"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = sorted(
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if path.name != "__main__.py"
)
LIGHT_MODULES = ["graft", "graft.cli"]
HEAVY = ("torch", "torchvision", "timm", "transformers", "accelerate", "sklearn", "scipy")


def imported_rooms(path: Path) -> set[str]:
    """Names of graft's rooms that a file imports, absolute or relative."""
    package = ("graft", *path.relative_to(SOURCE).parent.parts)
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("graft.")}
    return rooms


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(module))
    assert failed == 0


@pytest.mark.parametrize("module", [m for m in LIGHT_MODULES if m in MODULES] or ["graft"])
def test_import_is_light(module: str) -> None:
    script = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not set(HEAVY) & set(json.loads(done.stdout))


def test_floors_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    pytest.importorskip("importlinter", reason="needs import-linter")
    done = subprocess.run(
        [*command, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("room", "allowed"),
    [("runtime", {"runtime", "records", "errors"}), ("errors", set())],
)
def test_room_knows_only(room: str, allowed: set[str]) -> None:
    files = [*(SOURCE / room).rglob("*.py"), *SOURCE.glob(f"{room}.py")]
    for path in files:
        assert imported_rooms(path) <= allowed, path


@pytest.mark.parametrize("room", ["report", "neighbours", "records", "errors"])
def test_room_is_free_of_torch(room: str) -> None:
    for path in [*(SOURCE / room).rglob("*.py"), *SOURCE.glob(f"{room}.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "torch" for name in names), path


def test_every_extra_is_in_dev_or_all() -> None:
    extras = PROJECT["project"]["optional-dependencies"]

    def reached(name: str) -> set[str]:
        inner = [r for r in extras[name] if r.startswith("graft[")]
        names = {n for r in inner for n in r.removeprefix("graft[").rstrip("]").split(",")}
        return {name}.union(*(reached(n) for n in names))

    assert reached("dev") | reached("all") == set(extras)


def test_every_core_dependency_is_argued() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    for requirement in PROJECT["project"]["dependencies"]:
        name = requirement.partition(">")[0].lower()
        assert f"| {name} |" in page, name
