"""Look at the machine and the installed packages, and say what will not work, with its mend.

Packages are imported in a child process, one after the other: a broken one may raise anything or
end the process. Nothing here imports torch, so that a broken torch can be reported.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from graft.api.cache import cache_folder
from graft.api.machine import (
    judge_cache,
    judge_load,
    nearest_folder,
    processors,
    quota_processors,
)
from graft.data.faults import Finding, shorten
from graft.memory import ENDLESS_BYTES, available_bytes

MODULES = {"pillow": "PIL", "PyYAML": "yaml", "scikit-learn": "sklearn"}
"""Where the module's name is not the distribution's."""
BESIDE = ("torchaudio", "sentencepiece", "bitsandbytes", "flash-attn", "starlette")
"""Not ours, but imported by our libraries where they are installed, so they can break them."""
SAFE_FLOORS = {
    "torch": "2.10",
    "transformers": "5.3",
    "starlette": "0.49.1",
    "pillow": "12.3",
    "safetensors": "0.8",
}
"""Older releases have known vulnerabilities."""
SECONDS_TO_IMPORT = 300
MARK = "graft-imports:"
"""Begins each of our lines among those that the modules may print."""
TRY = """
import importlib, json, os, sys
os.environ.setdefault("HF_HUB_OFFLINE", "1")
def say(*answer):
    print("\\n" + sys.argv[1] + json.dumps(answer), flush=True)
for name in sys.argv[2:]:
    say(name, None)
    try:
        importlib.import_module(name)
        said = ""
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    say(name, said)
"""


@dataclass(frozen=True)
class Package:
    """One package: which release is here, and whether it can be imported.

    Args:
        name: of the distribution.
        version: None where it is not installed.
        floor: the oldest release that serves, or an empty string.
        needed: whether graft itself needs it; else an extra does, or it only lies beside.
        problem: what an attempt to import it said; empty where it went well or was not made.
    """

    name: str
    version: str | None
    floor: str
    needed: bool
    problem: str = ""


@dataclass(frozen=True)
class Environment:
    """What the machine offers, which packages are here, and what is wrong.

    Args:
        python: its version.
        system: name, release and machine.
        n_processors: that this process may run on.
        quota_processors: how many of them a container may keep busy; None without such a limit.
        load: processes that wanted to run, mean of the last minute; None where not known.
        n_threads: `OMP_NUM_THREADS`, or None where it is not set.
        memory_bytes: available now, None where not known.
        cache: folder of feature stores.
        free_bytes: on the disk of that folder.
        packages: those that graft needs, those of its extras, and some that can break these.
        findings: what is wrong, each with its mend.
    """

    python: str
    system: str
    n_processors: int
    quota_processors: float | None
    load: float | None
    n_threads: int | None
    memory_bytes: int | None
    cache: str
    free_bytes: int
    packages: tuple[Package, ...]
    findings: tuple[Finding, ...]


def examine_environment() -> Environment:
    """Return what is installed and what the machine offers; takes some seconds."""
    packages = examine_packages(_asked_for())
    n_processors, quota = processors(), quota_processors()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    cache = cache_folder()
    memory = available_bytes()
    free = shutil.disk_usage(nearest_folder(cache)).free
    threads = os.environ.get("OMP_NUM_THREADS", "")
    findings = (
        *(finding for package in packages for finding in _judge(package, packages)),
        *judge_load(n_processors, quota, load),
        *judge_cache(cache, free),
    )
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        n_processors=n_processors,
        quota_processors=quota,
        load=load,
        n_threads=int(threads) if threads.isdecimal() else None,
        memory_bytes=None if memory == ENDLESS_BYTES else memory,
        cache=str(cache),
        free_bytes=free,
        packages=packages,
        findings=findings,
    )


def _asked_for() -> list[Package]:
    """Return what graft's own metadata asks for, and what lies beside, not yet looked at."""
    found: dict[str, Package] = {}
    try:
        requirements = metadata.requires("graft") or []
    except metadata.PackageNotFoundError:  # run from its source, not installed
        requirements = [f"{name}>={floor}" for name, floor in SAFE_FLOORS.items()]
    for requirement in requirements:
        name = re.split(r"[^\w.-]", requirement)[0]
        floor = re.search(r">=([\w.]+)", requirement.partition(";")[0])
        extra = re.search(r"extra == ['\"](\w+)", requirement)
        if name.lower() == "graft" or (extra and extra[1] in ("dev", "docs", "test")):
            continue
        found.setdefault(name, Package(name, None, floor[1] if floor else "", extra is None))
    for name in BESIDE:
        found.setdefault(name, Package(name, None, SAFE_FLOORS.get(name, ""), needed=False))
    return list(found.values())


def examine_packages(asked_for: Iterable[Package]) -> tuple[Package, ...]:
    """Return the packages with their releases and what importing them said."""
    asked_for = list(asked_for)
    versions = {package.name: _version(package.name) for package in asked_for}
    present = [package.name for package in asked_for if versions[package.name] is not None]
    said = try_imports([_module(name) for name in present])
    return tuple(
        Package(p.name, versions[p.name], p.floor, p.needed, said.get(_module(p.name), ""))
        for p in asked_for
    )


def try_imports(modules: Sequence[str]) -> dict[str, str]:
    """Import modules in a child process; return what each said, empty where it went well."""
    said: dict[str, str] = {}
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }
    left = list(modules)
    while left:
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-W", "ignore", "-c", TRY, MARK, *left],
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                timeout=SECONDS_TO_IMPORT,
                check=False,
            )
            output, ended = done.stdout, f"ended the process with {done.returncode}"
        except subprocess.TimeoutExpired as error:
            # bytes, though text was asked for
            output = error.stdout or b""
            output = output.decode(errors="replace") if isinstance(output, bytes) else output
            ended = "did not come to an end"
        answers = [_answer(line) for line in output.splitlines() if line.startswith(MARK)]
        for name, text in answers:
            # begun and never finished: this one ended the process
            said[name] = ended if text is None else text
        left = [name for name in left if name not in said]
        if not answers:
            return {**said, **dict.fromkeys(left, ended)}
    return said


def _answer(line: str) -> tuple[str, str | None]:
    name, text = json.loads(line.removeprefix(MARK))
    return name, text


def _judge(package: Package, packages: Sequence[Package]) -> list[Finding]:
    name, floor = package.name, package.floor
    wanted = f"'{name}>={floor}'" if floor else name
    if package.version is None:
        text = f"{name} is not installed; run: pip install {wanted}"
        return [Finding("package-missing", "error", text)] if package.needed else []
    findings = []
    safe = SAFE_FLOORS.get(name, "")
    is_unsafe = _is_older(package.version, safe)
    if is_unsafe or _is_older(package.version, floor):
        stated = f"{safe}, the oldest that is safe" if is_unsafe else f"{floor}, which graft needs"
        text = f"{name} {package.version} is older than {stated}; run: "
        text += f"pip install -U '{name}>={max(floor, safe, key=_numbers)}'"
        severity = "error" if package.needed else "warn"
        findings.append(Finding("package-old", severity, text))
    if package.problem:
        findings.append(_judge_broken(package, {p.name: p.version for p in packages}))
    return findings


def _judge_broken(package: Package, versions: Mapping[str, str | None]) -> Finding:
    """Return the finding for a package that is there but does not import."""
    name, problem = package.name, package.problem
    severity = "error" if package.needed else "warn"
    torch = versions.get("torch") or "another release"
    if "torchvision::" in problem or (name == "torchvision" and "undefined symbol" in problem):
        index = " --index-url https://download.pytorch.org/whl/cpu" if "+cpu" in torch else ""
        text = f"torchvision {package.version} was built for another torch than {torch}; run: "
        text += f"pip install -U torch torchvision{index}"
        return Finding("package-clash", severity, text)
    if name == "torchaudio":
        text = f"torchaudio {package.version} does not fit torch {torch}, and transformers imports "
        text += "it; run: pip uninstall torchaudio"
        return Finding("package-clash", "error", text)
    if "NumPy 1.x" in problem or "numpy.dtype size changed" in problem:
        text = f"{name} {package.version} was built for another numpy; run: pip install -U {name}"
        return Finding("package-clash", severity, text)
    text = f"{name} {package.version} does not import ({shorten(problem, 70)}); run: "
    text += f"pip install --force-reinstall --no-deps {name}"
    return Finding("package-broken", severity, text)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _module(name: str) -> str:
    return MODULES.get(name, name.replace("-", "_"))


def _is_older(version: str, floor: str) -> bool:
    return bool(floor) and _numbers(version) < _numbers(floor)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a release: 2.10.0+cpu is (2, 10, 0)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
