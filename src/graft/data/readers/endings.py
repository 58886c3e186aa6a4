"""The table of readers, and which of them an ending means."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from graft.data.rows import Rows

READERS: dict[str, tuple[str, str]] = {
    "csv": ("graft.data.readers.delimited:read_csv", "a table with a header line, comma-separated"),
    "csv.gz": ("graft.data.readers.delimited:read_csv", "the same, packed with gzip"),
    "tsv": ("graft.data.readers.delimited:read_tsv", "a table with a header line, tab-separated"),
    "tsv.gz": ("graft.data.readers.delimited:read_tsv", "the same, packed with gzip"),
    "jsonl": ("graft.data.readers.jsonl:read_jsonl", "one JSON object per line"),
    "jsonl.gz": ("graft.data.readers.jsonl:read_jsonl", "the same, packed with gzip"),
    "parquet": ("graft.data.readers.arrow:read_parquet", "a Parquet file"),
    "arrow": ("graft.data.readers.arrow:read_arrow", "an Arrow file or stream"),
    "zip": ("graft.data.readers.archive:read_archive", "any of these in a zip, read in place"),
    "tar": ("graft.data.readers.archive:read_archive", "any of these in a tar, read in place"),
    "tar.gz": ("graft.data.readers.archive:read_archive", "any of these in a gzipped tar"),
    "tgz": ("graft.data.readers.archive:read_archive", "the same"),
    "folder": (
        "graft.data.readers.folder:read_folder",
        "class folders of images, the tables of a split, or a saved Hugging Face dataset",
    ),
    "hub": ("graft.data.readers.hub:read_hub", "`hub:NAME`, a dataset of the Hugging Face Hub"),
}
"""ending → (where the function is, one-line summary)."""

NO_ENDINGS = frozenset(["folder", "hub"])
ARCHIVES = frozenset(["zip", "tar", "tar.gz", "tgz"])


def load(name: str) -> Callable[..., Rows]:
    """Return the function of a reader."""
    module, _, function = READERS[name][0].partition(":")
    return getattr(importlib.import_module(module), function)


def ending_of(name: str, *, archives: bool = False) -> str | None:
    """Return the ending of a file that some reader reads, the longest that fits; else None.

    Args:
        name: the file's name.
        archives: whether archives count.
    """
    known = READERS.keys() - NO_ENDINGS - (frozenset() if archives else ARCHIVES)
    fitting = [ending for ending in known if name.lower().endswith(f".{ending}")]
    return max(fitting, key=len, default=None)
