"""`graft environment`, and how what it finds is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from graft.api.environment import Environment


def environment(*, as_json: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Look at the machine and the installed packages, and say what to mend.

    Tries every package that graft and its extras use, compares releases with the oldest that are
    safe, and looks at processors, load, memory and disk. Ends with 2 where something will not work.

    Parameters
    ----------
    as_json
        Print everything as JSON.
    """
    from graft.api.environment import examine_environment
    from graft.serial import to_json

    found = examine_environment()
    if as_json:
        print(to_json(found))
    else:
        show_environment(found)
    return 2 if any(finding.severity == "error" for finding in found.findings) else 0


def show_environment(found: Environment) -> None:
    """Print what an examination of the environment found, the faults last."""
    from graft.cli.show import console, plain_table
    from graft.wording import human_bytes

    quota = "" if found.quota_processors is None else f", a quota of {found.quota_processors:g}"
    load = "" if found.load is None else f", load {found.load:.1f}"
    memory = "" if found.memory_bytes is None else f"{human_bytes(found.memory_bytes)} available"
    for name, text in (
        ("python", f"{found.python} on {found.system}"),
        ("processors", f"{found.n_processors}{quota}{load}"),
        ("memory", memory or "not known"),
        ("cache", f"{found.cache} ({human_bytes(found.free_bytes)} free)"),
    ):
        console.print(f"{name:<11} {text}", markup=False, soft_wrap=True)
    table = plain_table("package", "release", "at least", "")
    for package in found.packages:
        if package.version is not None or package.needed:
            state = "does not import" if package.problem else ""
            table.add_row(package.name, package.version or "missing", package.floor, state)
    console.print(table)
    for finding in found.findings:
        console.print(f"{finding.severity}: {finding}", markup=False, soft_wrap=True)
    if not found.findings:
        console.print("nothing to mend")
