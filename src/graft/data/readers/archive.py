"""Read a zip or tar archive in place, as the folder that it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from graft.data.archives import open_archive
from graft.data.faults import data_error
from graft.data.readers.class_folders import is_shown
from graft.data.readers.endings import ending_of
from graft.data.readers.folder import read_folder
from graft.data.rows import Rows
from graft.data.split import FOLDER_PARTS


def read_archive(
    path: str,
    *,
    encoding: str | None = None,
    sep: str | None = None,
    drop_empty_classes: bool = False,
) -> Rows:
    """Read what an archive holds; nothing is unpacked to a folder.

    Args:
        path: a `.zip`, `.tar`, `.tar.gz` or `.tgz` file.
        encoding: encoding of the tables in it; UTF-8 if None.
        sep: the character between their cells, where they have one.
        drop_empty_classes: only note class folders without an image.

    Raises:
        DataError: the archive is damaged or unsafe, or holds nothing that is read.
    """
    try:
        archive = open_archive(path)
    except OSError as error:
        message = f"cannot be read ({error.strerror}); change its permissions"
        raise data_error(message, path=path) from None
    if not any(is_shown(name) for listed in archive.folders[""] for name in listed):
        why = f" (first: {archive.findings[0].message.split(';')[0]})" if archive.findings else ""
        raise data_error(f"no file in it that is read{why}; pack it again", path=path)
    # Most archives hold one folder with everything in it.
    top = ""
    while True:
        folders, files = ([n for n in names if is_shown(n)] for names in archive.folders[top])
        inner = f"{top}/{folders[0]}".removeprefix("/") if folders else ""
        if files or len(folders) != 1 or folders[0].casefold() in FOLDER_PARTS:
            break
        if not any(is_shown(n) for n in archive.folders[inner][0]) and not any(
            ending_of(n) for n in archive.folders[inner][1]
        ):
            break
        top = inner
    place = str(Path(f"{path}!") / top)
    rows = read_folder(place, encoding=encoding, sep=sep, drop_empty_classes=drop_empty_classes)
    return replace(rows, name=path, findings=(*archive.found(path), *rows.findings))
