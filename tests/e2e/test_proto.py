"""`shunt proto`: the protobuf types that follow from a service's code, as files that protoc takes."""

import json
import re
import shutil
import subprocess

import pytest

import harness
from harness import run, write_app

GOLDEN = harness.ROOT / "tests/golden/proto"

TYPED_PY = '''"""Every kind of hint, once."""

import dataclasses
import datetime
import enum
import uuid
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import shunt

service = shunt.Service()


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Point(NamedTuple):
    x: float
    y: float


@dataclasses.dataclass
class Part:
    """One part of a thing."""

    name: str
    colour: Colour = Colour.RED
    parts: list["Part"] = dataclasses.field(default_factory=list)


class Address(TypedDict, total=False):
    street: str
    zip_code: int


@service.command(effect="idempotent")
def every_kind(
    i: int, f: float, s: str, b: bool, y: bytes, at: datetime.datetime, day: datetime.date, key: uuid.UUID,
    numbers: list[int], names: set[str], counts: dict[str, int], anything: Any, either: int | str, point: Point,
    part: Part, by_name: dict[str, Part], raw: dict, rows: list[list[int]], from_: str,
    note: Annotated[str | None, "Printed on the parcel"] = None,
    speed: Literal["slow", "fast"] = "slow",
    numbered: Annotated[int, shunt.Field(3), "Its number is 3."] = 7,
    home: Address | None = None,
) -> Part:
    """Takes what there is."""
    return part


@service.command(name="with-dashes")
def with_dashes(call):
    return None


@service.command
def reverse(body: bytes) -> bytes:
    return body[::-1]


@service.command
def total(numbers: shunt.Stream[int]) -> int:
    return sum(numbers)


@service.command
async def parts(call, name: str):
    yield Part(name)


@service.command
def scores() -> dict[str, int]:
    return {"a": 2**60}


if __name__ == "__main__":
    service.run()
'''


@pytest.fixture(scope="module")
def typed(start_shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("proto")
    app = write_app(folder / "my-typed", {"name": "my-typed", "type": "python", "args": "typed.py"}, typed_py=TYPED_PY)
    return start_shared(app)


def protoc(folder, file):
    if shutil.which("protoc") is None:
        pytest.skip("protoc is not installed")
    return subprocess.run(["protoc", "-I", folder, "--descriptor_set_out", folder / "out.pb", file], capture_output=True,
                          text=True)


def test_the_carts_types_are_those_of_its_hints(shop):
    assert shop.cli("proto", "cart").out == (GOLDEN / "cart.proto").read_text()


def test_every_hint_has_its_type(typed):
    assert typed.cli("proto", "my-typed").out == (GOLDEN / "typed.proto").read_text()


def test_protoc_takes_what_is_printed(shop, typed, tmp_path):
    for node, service, file in ((shop, "shop.cart", "shop/cart.proto"), (shop, "prices", "shop/prices.proto"),
                                (shop, "stock", "shop/stock.proto"), (shop, "manager", "manager.proto"),
                                (typed, "my-typed", "my_typed.proto")):
        done = node.cli("proto", service, "--out", tmp_path)
        assert done.code == 0 and done.out == f"{tmp_path / file}\n" and done.err == ""
        compiled = protoc(tmp_path, file)
        assert compiled.returncode == 0 and compiled.stderr == "", compiled.stderr


def test_a_descriptor_set_holds_its_imports(shop, tmp_path):
    file = tmp_path / "deep/er/cart.pb"
    assert shop.cli("proto", "cart", "--descriptor-set", file).code == 0
    if shutil.which("protoc") is not None:
        # It reads it as whole: with the file that struct.proto is.
        done = subprocess.run(["protoc", f"--descriptor_set_in={file}", "--python_out", tmp_path, "shop/cart.proto"],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    printed = subprocess.run([harness.SHUNT, "proto", "cart", "--descriptor-set", "-", "--data", shop.data],
                             capture_output=True, env=harness.environment())
    assert printed.stdout == file.read_bytes()


def test_what_there_is_not_is_told(shop, tmp_path):
    done = shop.cli("proto", "carts")
    assert done.code == 1 and "S1002" in done.err and "shop.cart" in done.err
    done = shop.cli("proto", "cart", "--out", "/proc/nothing")
    assert done.code == 1 and "S5023" in done.err
    done = run("proto", "cart", "--out", tmp_path, "--descriptor-set", tmp_path / "x")
    assert done.code == 64


def test_numbers_stay_when_fields_are_added_and_moved(start, tmp_path):
    def numbers(name, fields):
        app = write_app(tmp_path / name, {"name": name, "type": "python", "args": "app.py"}, app_py=(
            "import shunt\nservice = shunt.Service()\n@service.command\n"
            f"def put({', '.join(f'{field}: int' for field in fields)}):\n    pass\n"
            "if __name__ == '__main__':\n    service.run()\n"))
        return dict(re.findall(r"int64 (\w+) = (\d+);", start(app).cli("proto", name).out))

    before = numbers("before", ["sku", "count", "shelf"])
    after = numbers("after", ["colour", "shelf", "sku", "weight", "count"])
    assert len(before) == 3 and len(after) == 5
    assert {field: after[field] for field in before} == before


def test_two_fields_of_one_number_stop_the_service_and_name_both(start, tmp_path):
    app = write_app(tmp_path / "twice", {"name": "twice", "type": "python", "args": "app.py"}, app_py=(
        "from typing import Annotated\nimport shunt\nservice = shunt.Service()\n@service.command\n"
        "def put(a: Annotated[int, shunt.Field(3)], b: Annotated[int, shunt.Field(3)]):\n    pass\n"
        "if __name__ == '__main__':\n    service.run()\n"))
    node = start(app, wait=False)
    harness.eventually("the collision to be told", lambda: "S3070" in node.output)
    assert "the fields 'a' and 'b' of PutRequest both have the protobuf number 3" in node.output
    assert "shunt.Field" in node.output
    assert json.loads(node.cli("ps", "--json").out)["services"][0]["state"] == "failed"


def test_generated_connect_clients_and_handlers_each_have_their_own_json(typed):
    def ask(command, text, **headers):
        return typed.http("POST", f"/my_typed/{command}", text, {"Content-Type": "application/json"} | headers)

    connect = {"Connect-Protocol-Version": "1"}
    # As a generated client writes it: 64-bit integers in strings, a map in the field of a message.
    assert ask("scores", "{}", **connect).json == {"value": {"a": 2**60}}
    assert ask("scores", "{}").json == {"a": 2**60}
    part = {"name": "a", "parts": []}
    request = {"i": "5", "f": "1.5", "s": "", "b": False, "y": "_-8", "at": "2026-01-31T12:00:00Z", "day": "2026-01-31",
               "key": "12345678-1234-5678-1234-567812345678", "numbers": ["1"], "names": [], "counts": {"a": "1"},
               "anything": None, "either": 1, "point": [1, 2], "part": part, "byName": {"b": part}, "raw": {}, "rows": [],
               "from": "me", "home": {"zipCode": "75001"}}
    answer = ask("every_kind", json.dumps(request), **connect)
    assert answer.status == 200 and answer.json["name"] == "a", answer
    assert ask("every_kind", json.dumps(request)).status == 400
    assert ask("reverse", '"AAEC"', **connect).json == "AgEA"
    assert ask("with-dashes", "{}").status == ask("with_dashes", "{}").status == 200


def test_any_grpc_client_calls_a_plain_function(typed):
    address = "grpc://%s:%d" % typed.address
    assert json.loads(run("call", "my_typed.scores", "{}", "--at", address).out) == {"value": {"a": 2**60}}
    assert run("call", "my_typed.parts", '{"name": "x"}', "--at", address).code == 0
