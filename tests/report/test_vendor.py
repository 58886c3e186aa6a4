"""The libraries that draw are those that are named, and their licences lie beside them."""

from __future__ import annotations

import importlib.util
import shutil
import sys

import pytest

from graft.report.page import HERE


@pytest.fixture(scope="module")
def script(repository):
    place = repository / "scripts" / "vendor_vega.py"
    spec = importlib.util.spec_from_file_location("vendor_vega", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules["vendor_vega"] = module
    spec.loader.exec_module(module)
    return module


def test_files_are_the_named_releases(script):
    assert script.faults(HERE / "vendor") == []
    assert {p.name for p in (HERE / "vendor").iterdir()} == {part.name for part in script.PARTS}


def test_each_package_has_its_licence(script):
    for package in {part.package for part in script.PARTS}:
        text = (HERE / "vendor" / f"{package}.LICENSE.txt").read_text()
        assert "Redistribution and use in source and binary forms" in text


def test_another_byte_is_noticed(script, tmp_path):
    shutil.copytree(HERE / "vendor", tmp_path / "vendor")
    with (tmp_path / "vendor" / "vega.js").open("a") as file:
        file.write(" ")
    (tmp_path / "vendor" / "vega-lite.js").unlink()
    assert [fault.rpartition(": ")[2][:10] for fault in script.faults(tmp_path / "vendor")] == [
        "is not bui",
        "is missing",
    ]
