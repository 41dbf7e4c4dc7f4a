"""The examples of docs/reference/python.md and of the template that `shunt new python` copies."""

import json
import pathlib
import re

import pytest
import shunt
from conftest import SOURCES
from shunt.testing import Client

ROOT = SOURCES.parent.parent
PAGE = ROOT / "docs/reference/python.md"
TEMPLATE = ROOT / "src/cli/templates/python"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line{PAGE.read_text()[: PAGE.read_text().index(block)].count(chr(10)) + 1}")
def test_example_of_the_reference(block, tmp_path, monkeypatch):
    # A file, so that dataclasses and tracebacks find their module.
    import importlib.util
    import sys

    file = tmp_path / "example.py"
    file.write_text(block)
    spec = importlib.util.spec_from_file_location("example", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "example", module)
    spec.loader.exec_module(module)
    assert module.service.definition()["commands"]


def template(name, path):
    identifier = name.replace("-", "_")
    text = (TEMPLATE / path).read_text()
    return text.replace("@NAME@", name).replace("@IDENTIFIER@", identifier).replace("@SHUNT_PREFIX@", "/opt/shunt")


def test_the_template_runs():
    namespace = {"__name__": "greeter"}
    exec(template("my-greeter", "@IDENTIFIER@.py"), namespace)
    client = Client(namespace["service"])
    assert client.call("greet", name="Ann") == {"message": "Hello, Ann!"}
    assert client.call("count_down", start=2) == [{"n": 2}, {"n": 1}, {"n": 0}]
    with pytest.raises(shunt.Error, match="out_of_range"):
        client.call("count_down", start=2000)


def test_the_template_manifest_names_its_file():
    manifest = json.loads(re.sub(r"^\s*//.*$", "", template("my-greeter", "shunt.json"), flags=re.M))
    assert manifest["args"] == "my_greeter.py"
    assert "@" not in template("my-greeter", "README.md").replace("@service", "")
