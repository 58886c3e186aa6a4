"""Let `python -m graft` be the command line."""

from graft.cli import main

main()
