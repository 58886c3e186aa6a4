"""`graft index`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from graft.api.indexing import Indexed
    from graft.retrieval.manifest import GraphFile
    from graft.retrieval.threshold import Threshold

SHOWN_PAIRS = {
    "image-text": "pictures with texts",
    "text-text": "texts with texts",
    "image-image": "pictures with pictures",
}
FLAG = Parameter(negative="", show_default=False)


def index(
    run: str,
    data: str | None = None,
    /,
    *,
    add: Annotated[bool, FLAG] = False,
    delete: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    rebuild: Annotated[bool, FLAG] = False,
    index: Path | None = None,
    id: str | None = None,
    input: str | None = None,
    kind: Literal["auto", "exact", "hnsw"] = "auto",
    metric: Literal["cosine", "dot"] | None = None,
    server: str | None = None,
    far: float | None = None,
    calibrate: str | None = None,
    label: str | None = None,
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Make an index of data, which `graft search` searches, or change it.

    Who searches meanwhile sees the old index or the new one. Examples:

        graft index runs/tickets tickets.csv

        graft index runs/tickets more.csv --add

        graft index runs/tickets --delete T-1017 --delete T-1018

        graft index runs/tickets --far 0.001

    Of a run on pictures with captions it holds both, each picture once and each caption once.

    Parameters
    ----------
    run
        A run, or a model as `graft train --model` takes it.
    data
        A table, a folder of images, an image, or `-` for lines of standard input.
    add
        Add the data to the index; what is there is not computed again.
    delete
        Id of a row to delete; may be given several times. A picture goes with its captions.
    rebuild
        With data: replace the index. Without: free the space of deleted rows, and build the
        approximate graph anew.
    index
        Folder of the index; `index` in the run's folder unless given.
    id
        Column of the ids; one named `id` unless given, or else file and row.
    input
        Column of the inputs, where it is not found by name; of pictures with captions the side
        that is indexed alone.
    kind
        Search exactly, or by an approximate graph; `auto` makes one from 200,000 rows on.
    metric
        How vectors are compared; `cosine` unless given.
    server
        Keep the vectors in Qdrant: a folder, or the address of a server.
    far
        Calibrate a threshold that at most this share of unlike pairs reaches; beyond it
        `graft search` answers "unknown".
    calibrate
        Labelled data, pairs, triplets, or pictures with captions, to calibrate on; the run's
        validation rows unless given.
    label
        Column of their labels, where it is not found by name.
    quiet
        Print nothing.
    as_json
        Print what the index holds as JSON.
    """
    from graft.api.indexing import index as index_data
    from graft.cli.quiet import hush_libraries
    from graft.cli.show import show_findings
    from graft.engine.threads import choose_threads, computing_with

    hush_libraries()
    lines = [line.rstrip("\r\n") for line in sys.stdin] if data == "-" else data
    n_threads = choose_threads()
    with computing_with(n_threads):
        found = index_data(
            run,
            lines,
            add=add,
            delete=delete,
            rebuild=rebuild,
            folder=index,
            id=id,
            input=input,
            kind=kind,
            metric=metric,
            server=server,
            far=far,
            calibrate=calibrate,
            label=label,
            n_threads=n_threads,
        )
    show_findings(found.findings)
    if as_json:
        print(json.dumps(_plain(found)))
    elif not quiet:
        _show(found)
    found.refuse_if_many_skipped()


def _show(found: Indexed) -> None:
    from graft.api.searching import SHOWN_SIDES
    from graft.cli.show import console, errors
    from graft.report.words import plural

    parts = [plural(n, SHOWN_SIDES[side]) for side, n in found.n_of_side.items()]
    parts = [" and ".join(parts) or plural(found.n_rows, "row")]
    parts += [f"{found.n_added:,} added"] if found.n_added else []
    parts += [f"{found.n_deleted:,} deleted"] if found.n_deleted else []
    text = f"{found.folder}  {', '.join(parts)} × {found.width}"
    console.print(text, markup=False, soft_wrap=True)
    for graph in found.graphs:
        console.print(_of_graph(graph), soft_wrap=True)
    for pair, limit in found.thresholds.items():
        name = f"threshold of {SHOWN_PAIRS[pair]}" if pair in SHOWN_PAIRS else "threshold"
        console.print(_of_threshold(name, limit), markup=False, soft_wrap=True)
    for note in found.notes:
        errors.print(f"note: {note}", markup=False, soft_wrap=True)


def _of_graph(graph: GraphFile) -> str:
    how = "(measured on rows kept out)"
    if graph.recall_across is None:
        return f"approximate: finds {graph.recall:.1%} of the ten nearest {how}"
    own, other = ("picture", "text") if graph.side == "image" else ("text", "picture")
    shares = f"a {own} finds {graph.recall:.1%}, a {other} {graph.recall_across:.1%}"
    return f"approximate: of the ten nearest {own}s {shares} {how}"


def _of_threshold(name: str, limit: Threshold) -> str:
    def span(low: float, high: float, kind: str) -> str:
        return f"({low:{kind}} to {high:{kind}})"

    score = f"{limit.score:.3f} {span(limit.score_low, limit.score_high, '.3f')}"
    far = f"{limit.far:.2%} {span(limit.far_low, limit.far_high, '.2%')}"
    tar = f"{limit.tar:.1%} {span(limit.tar_low, limit.tar_high, '.1%')}"
    pairs = f"{limit.n_impostors:,} unlike and {limit.n_genuine:,} like pairs of {limit.source}"
    return (
        f"{name}: {score}; false accepts {far}, true accepts {tar}\n"
        f"{pairs}; 95 % intervals over {limit.resampled}"
    )


def _plain(found: Indexed) -> dict[str, object]:
    from dataclasses import asdict

    from graft.serial import plain

    values = {**asdict(found), "folder": str(found.folder)}
    return plain(values)
