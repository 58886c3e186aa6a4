"""The command line: one small file per verb, which imports what takes long when it is called."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import Any

from graft.cli.app import app
from graft.engine.processes import leave

__all__ = ["app", "main"]

NO_MEMORY = (
    "out of memory; choose a smaller --model, pass a smaller --micro-batch-size, or leave out what "
    "else runs on this machine"
)


def main(tokens: list[str] | None = None) -> None:
    """Run the command line and exit with the code of the error, if there is one."""
    # read when torch is loaded: its hints on distributed training are for developers
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    arguments = sys.argv[1:] if tokens is None else tokens
    is_debug = "--debug" in arguments or os.environ.get("GRAFT_DEBUG") == "1"
    arguments = [a for a in arguments if a != "--debug"]
    code = _run(arguments, is_debug)
    # a reader hangs at a file, and Python would wait for it
    hangs = code and any(t.name.startswith("graft-ahead") for t in threading.enumerate())
    if hangs or leave():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # whoever read it has gone, or it is closed
                stream.flush()
        os._exit(code or 0)
    sys.exit(code)


def _run(arguments: list[str], is_debug: bool) -> Any:
    from graft.errors import GraftError, OutOfMemory, Stopped, is_out_of_memory

    try:
        return app(arguments)
    except Stopped as stop:
        return stop.exit_code
    except GraftError as error:
        if is_debug:
            raise
        if _is_first():
            print(f"graft: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if is_debug or not is_out_of_memory(error):
            raise
        if _is_first():
            print(f"graft: {NO_MEMORY}", file=sys.stderr)
        return OutOfMemory.exit_code


def _is_first() -> bool:
    """Return whether this process may print: one of several under torchrun may not."""
    from graft.engine.processes import is_main

    return is_main()
