"""Read a dataset of the Hugging Face Hub, only where the user asked for it by `hub:`.

Only tables and image archives are fetched, never a script; then the folder that was fetched is
read like any other.
"""

from __future__ import annotations

from dataclasses import replace

from graft.data.faults import data_error, shorten
from graft.data.readers.folder import read_folder
from graft.data.rows import Rows

PREFIX = "hub:"
FETCHED = (
    "*.csv", "*.tsv", "*.jsonl", "*.parquet", "*.arrow", "*.csv.gz", "*.tsv.gz", "*.jsonl.gz",
    "*.zip", "*.tar", "*.tar.gz", "*.tgz", "dataset_dict.json", "*state.json",
    "*.jpg", "*.jpeg", "*.png", "*.webp",
)  # fmt: skip


def read_hub(
    path: str,
    *,
    encoding: str | None = None,
    sep: str | None = None,
    drop_empty_classes: bool = False,
) -> Rows:
    """Read `hub:OWNER/NAME`, or one folder of it as `hub:OWNER/NAME/FOLDER`.

    Args:
        path: the dataset, with `@REVISION` at the end for another than the newest.
        encoding: encoding of the tables in it; UTF-8 if None.
        sep: the character between their cells, where they have one.
        drop_empty_classes: only note class folders without an image.

    Raises:
        DataError: there is no such dataset, it cannot be reached, or holds nothing that is read.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = path.removeprefix(PREFIX).partition("@")
    owner, _, rest = name.strip("/").partition("/")
    title, _, folder = rest.partition("/")
    repository = f"{owner}/{title}" if title else owner
    wanted = [f"{folder}/{pattern}" if folder else pattern for pattern in FETCHED]
    try:
        place = snapshot_download(
            repository, repo_type="dataset", revision=revision or None, allow_patterns=wanted
        )
    except HFValidationError:
        raise data_error("no name of a dataset; write hub:OWNER/NAME", path=path) from None
    except LocalEntryNotFoundError:
        message = "the Hub is not reached and the dataset is not here; go online or pass a folder"
        raise data_error(message, path=path) from None
    except (HfHubHTTPError, OSError) as error:
        why = shorten(" ".join(str(error).split()), 60)
        message = f"cannot be fetched ({why}); correct the name or log in with `hf auth login`"
        raise data_error(message, path=path) from None
    where = f"{place}/{folder}".rstrip("/")
    rows = read_folder(where, encoding=encoding, sep=sep, drop_empty_classes=drop_empty_classes)
    return replace(rows, name=path)
