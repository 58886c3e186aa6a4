"""Law: no socket is opened unless the user names something on a hub; no home is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.backbones import images
from tests.tiny import write_checkpoint, write_table

SCRIPT = Path(__file__).with_name("offline.py")


def noted(folder, *arguments, **environment):
    """Run the script in a folder without a home; return what it noted of the network."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=folder,
        env={
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
            "GRAFT_CACHE": str(folder / "cache"),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_socket_would_be_noted(tmp_path):
    assert noted(tmp_path, "reach") == ["socket.__new__"]


@pytest.mark.slow
def test_training_and_predicting_open_no_socket(tmp_path):
    write_checkpoint(tmp_path / "bert")
    write_table(tmp_path / "data.csv", 10)
    images.saved("timm:resnet", tmp_path / "timm-folder")
    for number in range(24):
        path = tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = np.full((24, 24, 3), 9 * number, np.uint8)
        Image.fromarray(shade).save(path)
    assert noted(tmp_path) == []
    assert (tmp_path / "a.npy").is_file()
    assert (tmp_path / "run2" / "model" / "manifest.json").is_file()
