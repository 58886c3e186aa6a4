"""Every fault that graft reports, in one tree.

    GraftError
    ├── InputError            exit 2   the user can mend it: data, recipe, names, files, memory
    │   ├── DataError                  names file, row and column
    │   │   └── Unread                 a thread that reads ahead hangs at a file
    │   ├── RecipeError                names the path inside the recipe
    │   ├── UnknownName                lists the closest known names
    │   ├── ModelError                 a backbone, checkpoint or run folder is not what it must be
    │   ├── MissingExtra               an optional dependency is absent or broken
    │   └── OutOfMemory                what is asked does not fit into this machine
    ├── SkippedTooMany        exit 3   the work finished, but more rows were skipped than allowed
    ├── StorageError          exit 74  disk full, read-only, locked
    ├── Diverged              exit 1   the loss stopped being finite
    └── NotRepeated           exit 1   a run, repeated, gave other weights

`Stopped` stands outside: it is a KeyboardInterrupt, so no `except Exception` holds it up, and its
exit code is 128 and the signal's number.

A message is one line of at most 200 characters: what was found, where, and, in the
imperative, what to do. User faults raise one of these; broken laws of our own assert.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LISTED_CHARACTERS = 60
"""How much of a long table a message about an unknown name shows."""


class GraftError(Exception):
    """Stand at the root of the tree; `exit_code` is what the command line returns."""

    exit_code: int = 1


class InputError(GraftError):
    """Report something that the user gave and can mend."""

    exit_code = 2


class DataError(InputError):
    """Report a fault in a data file.

    Args:
        message: what was found and the mend, without the place.
        path: the file or folder, as the user named it.
        row: 1-based number of the data row (the header is not counted).
        column: name of the column.
    """

    def __init__(
        self,
        message: str,
        *,
        path: object = None,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        self.path = None if path is None else str(path)
        self.row = row
        self.column = column
        place = self.path or ""
        if row is not None:
            place += f" row {row}"
        if column is not None:
            place += f" column `{column}`"
        place = place.strip()
        super().__init__(f"{place}: {message}" if place else message)


class Unread(DataError):
    """Report an example that a thread did not read in time; the thread may never end."""


class RecipeError(InputError):
    """Report all faults of a recipe at once, one per line, each with its path."""


class ModelError(InputError):
    """Report a backbone, checkpoint or run folder that cannot be used as asked."""


class MissingExtra(InputError):
    """Report an optional dependency that is absent, with the command that installs it."""


class UnknownName(InputError):
    """Report a name that no table knows, with the closest ones that it does.

    >>> str(UnknownName("method", "prob", ["probe", "full"]))
    "unknown method 'prob': did you mean 'probe'? (known: full, probe)"
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        close = difflib.get_close_matches(name, known, n=2)
        hint = " or ".join(repr(c) for c in close)
        question = f": did you mean {hint}?" if hint else ""
        listed = ", ".join(known)
        if len(listed) > LISTED_CHARACTERS:
            listed = f"{listed[:LISTED_CHARACTERS].rsplit(', ', 1)[0]}, … {len(known)} in all"
        super().__init__(f"unknown {kind} {name[:40]!r}{question} (known: {listed})")
        self.name = name
        self.close = tuple(close)


class OutOfMemory(InputError):
    """Report that what is asked needs more memory than there is."""


class SkippedTooMany(GraftError):
    """Report that more rows had to be skipped than `max_skip` allows."""

    exit_code = 3


class StorageError(GraftError):
    """Report that a file could not be written or read back.

    Args:
        message: one line.
        is_full: space is what is missing, so it may help to wait.
    """

    exit_code = 74

    def __init__(self, message: str, *, is_full: bool = False) -> None:
        super().__init__(message)
        self.is_full = is_full


class Diverged(GraftError):
    """Report that the loss stayed non-finite for several steps in a row."""


class NotRepeated(GraftError):
    """Report that a run, repeated from its own folder, gave other weights."""


class Stopped(KeyboardInterrupt):
    """End a run because a signal asked for it.

    Args:
        signal: its number.
        saved: where training stands in the checkpoint; empty where none was written for it.
        folder: of the run, if it has one already.
    """

    def __init__(self, signal: int, saved: str = "", folder: str = "") -> None:
        super().__init__(signal)
        self.signal = signal
        self.saved = saved
        self.folder = folder

    @property
    def exit_code(self) -> int:
        return 128 + self.signal


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory was asked for and not given.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(sign in text for sign in NO_MEMORY)


NO_MEMORY = ("can't allocate memory", "bad_alloc", "could not create a memory", "out of memory")
"""How torch, the C++ library and oneDNN say it on a CPU, and CUDA's libraries on a GPU."""
