"""Compare what graft claims with what shows it.

`claims.toml` holds one entry per promise; each names the pytest node or the benchmark that shows
it. This script reads the entries, the tests' source (never running it) and, where present, the
results of the last `make test`, and prints for each claim:

    shown     the test exists, and passed when last run
    stale     nothing speaks for the present: not in the last run, skipped in it for a listed
              reason, or seen before the file that shows it changed
    missing   the test or benchmark is not there, or nothing was measured
    open      missing, and said so in claims.toml: work that is still to come
    skipped   the test was skipped for a reason that the claim does not list
    failed    the test failed when last run

The exit status is 1 where a claim is missing, skipped or failed.

    python scripts/claims.py            the table
    python scripts/claims.py --check    without results of runs; docs/claims.md must be current
    python scripts/claims.py --docs     write docs/claims.md
"""

from __future__ import annotations

import argparse
import ast
import datetime
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
FAULTS = ("missing", "skipped", "failed")
ORDER = ("shown", "stale", "open", *FAULTS)


@dataclass(frozen=True)
class Claim:
    """Say one thing about graft, and what shows it.

    Args:
        id: part and short name, `part1.replay.zoo`.
        claim: the promise, one sentence.
        part: number of the part of the roadmap that makes it.
        shown_by: pytest node ids and benchmark files; all of them are needed.
        limit: the bound that the promise names, in words.
        measured: what was seen, with its unit.
        date: when it was measured.
        skips: beginnings of the reasons for which its test may be skipped.
        open: whether the test is still to be written.
    """

    id: str
    claim: str
    part: int
    shown_by: tuple[str, ...]
    limit: str = ""
    measured: str = ""
    date: datetime.date | None = None
    skips: tuple[str, ...] = ()
    open: bool = False


@dataclass(frozen=True)
class Outcome:
    """Keep how one test ended.

    Args:
        kind: `passed`, `skipped` or `failed`.
        reason: why it was skipped.
        ran_at: when the run ended, in seconds of the epoch.
    """

    kind: str
    reason: str = ""
    ran_at: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """Keep a claim's status, one of `ORDER`, and what explains it."""

    claim: Claim
    status: str
    why: str = ""


def read_claims(path: Path) -> list[Claim]:
    """Read `claims.toml`.

    Raises:
        SystemExit: an entry lacks a field, has an unknown one, or repeats an id.
    """
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    common = tuple(document.get("skips", ()))
    claims = []
    for number, entry in enumerate(document.get("claim", ()), start=1):
        fields = dict(entry)
        shown_by = fields.pop("shown_by", ())
        shown_by = (shown_by,) if isinstance(shown_by, str) else tuple(shown_by)
        skips = common + tuple(fields.pop("skips", ()))
        try:
            claim = Claim(shown_by=shown_by, skips=skips, **fields)
        except TypeError as error:
            raise SystemExit(f"{path.name} claim {number}: {error}") from None
        if not shown_by:
            raise SystemExit(f"{path.name} {claim.id}: shown_by names no test or benchmark")
        claims.append(claim)
    repeated = [name for name, n in Counter(claim.id for claim in claims).items() if n > 1]
    if repeated:
        raise SystemExit(f"{path.name}: id given twice: {', '.join(sorted(repeated))}")
    return claims


def tests_in(path: Path) -> set[str]:
    """Name the test functions of a file, methods as `Class::test_name`, without importing it."""

    def named(body: Iterable[ast.stmt], prefix: str = "") -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield from named(node.body, f"{prefix}{node.name}::")
            elif isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                yield prefix + node.name

    return set(named(ast.parse(path.read_text(encoding="utf-8")).body))


def exists(node_id: str, root: Path) -> bool:
    """Tell whether a pytest node or a file is there; a node's parameters are not looked at."""
    file, _, test = node_id.partition("::")
    path = root / file
    if not path.is_file():
        return False
    return not test or test.partition("[")[0] in tests_in(path)


def read_outcomes(junit_files: Iterable[Path]) -> dict[str, Outcome]:
    """Read junit files into outcomes by node id, `tests/room/test_file.py::Class::test[case]`."""
    outcomes = {}
    for path in junit_files:
        ran_at = path.stat().st_mtime
        for case in ElementTree.parse(path).iter("testcase"):
            outcomes[_node_id(case)] = _outcome(case, ran_at)
    return outcomes


def _node_id(case: ElementTree.Element) -> str:
    if not case.get("classname"):  # a file that was skipped, or failed, as a whole
        return case.get("name", "").replace(".", "/") + ".py"
    # "tests.engine.test_cut.TestTied" in junit is "tests/engine/test_cut.py::TestTied" for pytest.
    modules: list[str] = []
    classes: list[str] = []
    for name in case.get("classname", "").split("."):
        (classes if classes or name[:1].isupper() else modules).append(name)
    return "::".join(["/".join(modules) + ".py", *classes, case.get("name", "")])


def _outcome(case: ElementTree.Element, ran_at: float) -> Outcome:
    if case.find("failure") is not None or case.find("error") is not None:
        return Outcome("failed", ran_at=ran_at)
    skipped = case.find("skipped")
    if skipped is None:
        return Outcome("passed", ran_at=ran_at)
    reason = skipped.get("message", "")
    if reason == "collection skipped":  # the text is then "(path, line, 'Skipped: reason')"
        reason = str(ast.literal_eval(skipped.text or "('',)")[-1]).removeprefix("Skipped: ")
    return Outcome("skipped", reason, ran_at)


def changed_on(file: str, root: Path) -> datetime.date | None:
    """Say on which day a file was last committed; None where git does not know it."""
    command = ["git", "log", "-1", "--format=%cs", "--", file]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    text = done.stdout.strip()
    return datetime.date.fromisoformat(text) if text else None


def _speaks_for(name: str, node: str) -> bool:
    """Tell whether a result is the node's own, one of its cases, or its whole file's."""
    return name in (node, node.partition("::")[0]) or name.startswith(node + "[")


def judge(claim: Claim, *, root: Path, outcomes: Mapping[str, Outcome] | None) -> Verdict:
    """Hold one claim against the tree and the last run.

    Args:
        claim: what is claimed.
        root: the repository.
        outcomes: how the tests ended, by node id; None where no run is to be looked at.
    """
    absent = [node for node in claim.shown_by if not exists(node, root)]
    if absent:
        return Verdict(claim, "open" if claim.open else "missing", f"no {', '.join(absent)}")
    stale = ""
    for node in claim.shown_by:
        file, _, test = node.partition("::")
        if not test:
            if not claim.measured:
                return Verdict(claim, "open" if claim.open else "missing", "nothing measured")
            continue
        if outcomes is None:
            continue
        seen = [o for name, o in outcomes.items() if _speaks_for(name, node)]
        if any(o.kind == "failed" for o in seen):
            return Verdict(claim, "failed", node)
        reasons = {o.reason for o in seen if o.kind == "skipped"}
        unlisted = sorted(r for r in reasons if not r.startswith(claim.skips))
        if unlisted:
            return Verdict(claim, "skipped", f"{node}: {unlisted[0]}")
        if not seen:
            stale = stale or f"not in the last run: {node}"
        elif all(o.kind == "skipped" for o in seen):
            stale = stale or f"skipped here: {min(reasons)}"
        elif (root / file).stat().st_mtime > min(o.ran_at for o in seen):
            stale = stale or f"changed since the last run: {file}"
    if claim.date is not None:
        for file in {node.partition("::")[0] for node in claim.shown_by}:
            changed = changed_on(file, root)
            if changed is not None and changed > claim.date:
                stale = stale or f"measured {claim.date}, {file} changed {changed}"
    if claim.open:
        stale = stale or "marked open, yet its tests are there"
    return Verdict(claim, "stale", stale) if stale else Verdict(claim, "shown")


def as_table(verdicts: Sequence[Verdict]) -> str:
    """Lay out verdicts as text for the terminal, with their counts as the last line."""
    width = max((len(v.claim.id) for v in verdicts), default=0)
    lines = []
    for verdict in sorted(verdicts, key=lambda v: (v.claim.part, ORDER.index(v.status))):
        claim = verdict.claim
        lines.append(f"{verdict.status:8} {claim.id:{width}}  {claim.claim}")
        note = verdict.why or ", ".join(filter(None, (claim.limit, claim.measured)))
        if note:
            lines.append(f"{'':8} {'':{width}}  ({note})")
    counts = Counter(v.status for v in verdicts)
    total = ", ".join(f"{counts[status]} {status}" for status in ORDER if counts[status])
    return "\n".join([*lines, "", f"{len(verdicts)} claims: {total or 'none'}"])


def as_markdown(claims: Sequence[Claim]) -> str:
    """Write the documentation's page, a table per part; it depends on `claims.toml` alone."""
    lines = [
        "<!-- Written by scripts/claims.py --docs from claims.toml: change that, not this. -->",
        "",
        "# Claims",
        "",
        "What graft promises, and the test or benchmark that shows it. `make claims` prints which",
        "are shown on your machine; a claim whose test is absent fails the checks.",
    ]
    for part in sorted({claim.part for claim in claims}):
        lines += ["", f"## Part {part}", ""]
        lines += ["| claim | shown by | limit | measured |", "|---|---|---|---|"]
        for claim in (c for c in claims if c.part == part):
            shown = "to come" if claim.open else "<br>".join(f"`{n}`" for n in claim.shown_by)
            measured = f"{claim.measured} ({claim.date})" if claim.date else claim.measured
            cells = (claim.claim, shown, claim.limit, measured)
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = argparse.ArgumentParser(description="what graft claims, and what shows it")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="tests exist and docs are current")
    what.add_argument("--docs", action="store_true", help="write docs/claims.md")
    options = parser.parse_args(arguments)
    root: Path = options.root
    claims = read_claims(root / "claims.toml")
    page = root / "docs" / "claims.md"
    if options.docs:
        page.write_text(as_markdown(claims), encoding="utf-8")
        return 0
    junit_files = [] if options.check else sorted((root / ".pytest_cache").glob("junit-*.xml"))
    outcomes = read_outcomes(junit_files) if junit_files else None
    verdicts = [judge(claim, root=root, outcomes=outcomes) for claim in claims]
    print(as_table(verdicts))
    status = int(any(verdict.status in FAULTS for verdict in verdicts))
    if outcomes is None and not options.check:
        print("No results of tests yet: run make test to see which claims hold here.")
    if options.check and page.read_text(encoding="utf-8") != as_markdown(claims):
        print("docs/claims.md is not what claims.toml says: run python scripts/claims.py --docs")
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
