"""Let `python -m graft.cli` be the command line, as `python -m graft` is."""

from graft.cli import main

main()
