"""Where feature stores lie unless a recipe says otherwise."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Return where feature stores lie: `$GRAFT_CACHE`, else the user's cache folder.

    A user without a home, as in some containers, gets a folder among the temporary files.
    """
    own = os.environ.get("GRAFT_CACHE")
    if own:
        return Path(own)
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        root = Path(tempfile.gettempdir()) / f"graft-cache-{getattr(os, 'getuid', int)()}"
    return root / "graft" / "features"
