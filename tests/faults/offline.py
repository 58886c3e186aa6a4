"""A process that trains and predicts while every socket is noted: run by test_offline.py."""

from __future__ import annotations

import sys

OPENED = []


def note(event, arguments):
    if event.startswith("socket."):
        OPENED.append(f"{event} {arguments[1:]!r}")


sys.addaudithook(note)


def main(folder: str) -> None:
    from graft.cli import main as graft

    for arguments in (
        ["train", "data.csv", "--model", "bert", "--method", "probe", "--out", "run"],
        ["predict", "run", "the cat", "--quiet"],
    ):
        try:
            graft(arguments)
        except SystemExit as stopped:
            if stopped.code:
                raise
    print("sockets:", OPENED)


if __name__ == "__main__":
    main(*sys.argv[1:])
