"""Registration, definitions, describe, and a file that is run by hand."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import shunt
from conftest import sdk_folder

FILE = '''"""Prices of items."""
import shunt

__version__ = "1.2.0"
service = shunt.Service()


@service.command(effect="none", timeout="2s")
def get(sku: str) -> dict[str, int]:
    """The price of one item.

    In cents.
    """
    return {"cents": 995}


if __name__ == "__main__":
    service.run()
    print("after")
'''


def run_file(tmp_path, source=FILE, **environment):
    file = tmp_path / "prices.py"
    file.write_text(source)
    environment = {**os.environ, "PYTHONPATH": str(sdk_folder()), **environment}
    return subprocess.Popen(
        [sys.executable, str(file)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        pass_fds=[int(environment["SHUNT_DESCRIBE_FD"])] if "SHUNT_DESCRIBE_FD" in environment else (),
    )


def test_describe_writes_the_definition_and_ends(tmp_path):
    read, write = os.pipe()
    process = run_file(tmp_path, SHUNT_DESCRIBE_FD=str(write))
    os.close(write)
    with os.fdopen(read) as pipe:
        definition = json.loads(pipe.read())
    out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")
    assert definition == {
        "sdk": f"python {shunt.__version__}",
        "version": "1.2.0",
        "description": "Prices of items.",
        "commands": {
            "get": {
                "description": "The price of one item.\n\nIn cents.",
                "effect": "none",
                "stream": "unary",
                "timeout": "2s",
                "blocking": True,
                "request": {
                    "type": "object",
                    "properties": {"sku": {"type": "string"}},
                    "required": ["sku"],
                    "additionalProperties": False,
                },
                "response": {"type": "object", "additionalProperties": {"type": "integer"}},
            }
        },
    }


def test_a_file_run_by_hand_says_what_to_type(tmp_path):
    process = run_file(tmp_path)
    out, err = process.communicate()
    assert process.returncode == 2
    assert out == ""
    assert "prices.py is a Shunt service (commands: get)" in err
    assert "shunt run " in err


def test_describe_imports_neither_asyncio_nor_typing_nor_the_extension(tmp_path):
    source = FILE.replace("    service.run()", "    import sys; print(sorted(sys.modules)); service.run()")
    read, write = os.pipe()
    process = run_file(tmp_path, source, SHUNT_DESCRIBE_FD=str(write))
    os.close(write)
    os.close(read)
    out, _ = process.communicate()
    # What an interpreter loads before any of our code is its installation's own affair.
    bare = subprocess.run([sys.executable, "-c", "import sys; print(sorted(sys.modules))"],
                          capture_output=True, text=True, check=True).stdout
    for name in ("asyncio", "typing", "inspect", "dataclasses", "json", "enum", "collections", "shunt._shunt"):
        assert f"'{name}'" not in out or f"'{name}'" in bare


async def is_async():
    pass


def shape(function):
    service = shunt.Service()
    service.command(function)
    definition = service.definition()["commands"][function.__name__]
    return definition["stream"], definition.get("blocking", False)


def test_shapes():
    def unary(a: int): ...

    def server():
        yield 1

    def client(items: shunt.Stream[int]): ...

    def both(items: Iterator[int]):
        yield 1

    async def aunary(): ...

    async def aserver():
        yield 1

    async def aclient(call, items: AsyncIterator[int]): ...

    async def aboth(items: shunt.Stream) -> AsyncIterator[int]:
        yield 1

    assert [shape(each) for each in (unary, server, client, both)] == [
        ("unary", True), ("server", True), ("client", True), ("both", True),
    ]  # fmt: skip
    assert [shape(each) for each in (aunary, aserver, aclient, aboth)] == [
        ("unary", False), ("server", False), ("client", False), ("both", False),
    ]  # fmt: skip


def test_schemas_of_requests_and_answers():
    service = shunt.Service()

    @service.command
    def raw(body: bytes) -> bytes: ...

    @service.command
    def stream(items: shunt.Stream[int]) -> Iterator[dict[str, int]]:
        yield {}

    @service.command
    def options(call, a: int, *, b: str = "x", **rest: float) -> None: ...

    @service.command
    def loose(a, b=3): ...

    commands = service.definition()["commands"]
    assert "request" not in commands["raw"] and "response" not in commands["raw"]
    assert commands["stream"]["request"] == {"type": "integer"}
    assert commands["stream"]["response"] == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert commands["options"]["request"] == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "string", "default": "x"}},
        "required": ["a"],
        "additionalProperties": {"type": "number"},
    }
    assert commands["options"]["response"] == {"type": "null"}
    assert commands["loose"]["request"]["properties"] == {"a": {}, "b": {"default": 3}}
    assert commands["loose"]["response"] == {}


def test_a_decorated_handler_keeps_its_signature():
    def logged(function):
        @functools.wraps(function)
        def inner(*arguments, **keywords):
            return function(*arguments, **keywords)

        return inner

    service = shunt.Service()

    @service.command
    @logged
    def double(n: int) -> int:
        return 2 * n

    assert service.definition()["commands"]["double"]["request"]["required"] == ["n"]


def test_the_function_is_returned_unchanged():
    service = shunt.Service()

    @service.command
    def double(n: int) -> int:
        return 2 * n

    assert double(4) == 8


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda s: s.command(effect="non")(lambda: 1), "effect is 'non'; it may be 'none', 'idempotent', 'any'"),
        (lambda s: s.command(timeout="2")(lambda: 1), "'2' is no duration"),
        (lambda s: s.command(timeout=-1)(lambda: 1), "-1 is no duration"),
        (lambda s: s.command(lambda: 1), "'<lambda>' can't be the name of a command"),
        (lambda s: s.command(name="a.b")(lambda: 1), "'a.b' can't be the name of a command"),
        (lambda s: [s.command(name="a")(lambda: 1) for _ in range(2)], "two commands named 'a'"),
        (lambda s: s.command(name="a")(lambda *rest: 1), "there can't be *rest"),
        (lambda s: s.command("get"), "takes its options by name"),
    ],
)
def test_mistakes_are_told_where_they_are_made(make, text):
    with pytest.raises((ValueError, TypeError)) as caught:
        make(shunt.Service())
    assert text in str(caught.value)


def test_a_wrong_hint_names_command_and_parameter():
    service = shunt.Service()
    with pytest.raises(TypeError, match="command paint: parameter colour: the type complex has no form in JSON"):

        @service.command
        def paint(colour: complex): ...

    with pytest.raises(TypeError, match="parameter items is a stream of requests, so it must be the only one"):

        @service.command
        def mixed(a: int, items: AsyncIterator[int]): ...

    with pytest.raises(TypeError, match="names 'Missing', which does not exist"):

        @service.command
        def lost(a: "Missing"): ...  # noqa: F821


def test_codes_and_errors():
    error = shunt.Error("not_found", "no such item", [{"sku": "x"}])
    assert error.code is shunt.Code.NOT_FOUND
    assert (error.message, error.details, error.id) == ("no such item", [{"sku": "x"}], "")
    assert str(error) == "not_found: no such item"
    assert str(error.code) == "not_found"
    assert shunt.Error(shunt.Code.ABORTED).code == 10
    assert shunt.Error(5, "x").code == shunt.Code.NOT_FOUND
    with pytest.raises(ValueError, match="no status code"):
        shunt.Error("nope")
    with pytest.raises(ValueError, match="can't have the code ok"):
        shunt.Error(0)


def test_codes_are_those_of_the_house():
    from shunt._error import NAMES

    text = (sdk_folder() / "shunt/_code.py").read_text()
    assert [code.name.lower() for code in shunt.Code] == list(NAMES)
    assert "UNAUTHENTICATED = 16" in text
