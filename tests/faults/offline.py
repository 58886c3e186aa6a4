"""A process that trains, predicts and embeds while every socket is noted: run by test_offline.py.

Arguments: nothing, or `reach`, which opens a socket to show that it would be noted.
"""

from __future__ import annotations

import json
import sys

NOTED: list[str] = []


def note(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.")):
        NOTED.append(event)


sys.addaudithook(note)

COMMANDS = (
    ["train", "data.csv", "--model", "bert", "--method", "probe", "--out", "run", "--quiet"],
    [
        "train",
        "pictures",
        "--model",
        "timm-folder",
        "--method",
        "probe",
        "--out",
        "run2",
        "--quiet",
    ],
    ["predict", "run", "the cat", "--quiet"],
    ["embed", "run", "the cat", "--out", "a.npy", "--quiet"],
)


def main() -> None:
    from graft.cli import main as graft

    for arguments in COMMANDS:
        try:
            graft(arguments)
        except SystemExit as stopped:
            if stopped.code:
                raise
    print(json.dumps(NOTED))


if __name__ == "__main__":
    if sys.argv[1:] == ["reach"]:
        import socket

        socket.socket().close()
        print(json.dumps(NOTED))
    else:
        main()
