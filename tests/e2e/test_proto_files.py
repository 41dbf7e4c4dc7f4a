"""Services with .proto files: what a handler receives is its own choice, and HTTP's JSON is that of the types."""

import base64
import pathlib
import shutil
import subprocess
import sys

import pytest

from harness import MODULES, eventually, run, write_app

ITEMS = """\
syntax = "proto3";
package shop.v1;

import "google/protobuf/timestamp.proto";
import "shop/v1/money.proto";

// Things to buy.
service Items {
  // One item, by its id.
  rpc GetItem(GetItemRequest) returns (Item) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Find(FindRequest) returns (Item) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Typed(GetItemRequest) returns (Item);
  rpc Echo(Item) returns (Item);
  rpc Total(Order) returns (shop.v1.Money);
  rpc Each(Order) returns (stream Item);
  rpc AddUp(stream Item) returns (Money);
}

message GetItemRequest { string item_id = 1; int64 count = 2; }
message FindRequest { repeated string ids = 1; bool exact = 2; }
message Item { string item_id = 1; Money price = 2; google.protobuf.Timestamp made_at = 3; }
message Order { repeated Item items = 1; }
"""
MONEY = 'syntax = "proto3";\npackage shop.v1;\nmessage Money { int64 cents = 1; }\n'

SERVICE = """\
from collections.abc import Iterator

import shunt
from shop.v1 import items_pb2, money_pb2

service = shunt.Service()


@service.command
def get_item(**request) -> dict:
    cents = int(request.get("count", "0")) * 100
    assert isinstance(request.get("count", ""), str)
    return {"item_id": request["itemId"], "price": {"cents": cents}, "madeAt": "2026-01-02T03:04:05Z"}


@service.command
def find(request: items_pb2.FindRequest) -> items_pb2.Item:
    return items_pb2.Item(item_id=",".join(request.ids), price=money_pb2.Money(cents=request.exact))


@service.command
def typed(item_id: str, count: int) -> dict:
    return {"itemId": item_id, "price": {"cents": count}}


@service.command
def echo(data: bytes) -> bytes:
    return data + b"\\x12\\x02\\x08\\x07"


@service.command
def total(order: items_pb2.Order) -> money_pb2.Money:
    if not order.items:
        raise shunt.Error("failed_precondition", "there is nothing in it")
    return money_pb2.Money(cents=sum(item.price.cents for item in order.items))


@service.command
def each(order: items_pb2.Order) -> Iterator[items_pb2.Item]:
    yield from order.items


@service.command
def add_up(items: Iterator[items_pb2.Item]) -> money_pb2.Money:
    total = 0
    for item in items:
        total += item.price.cents
    return money_pb2.Money(cents=total)


service.run()
"""

MANIFEST = {
    "name": "shop",
    "services": {
        "items": {
            "type": "python", "args": "items.py", "proto": "proto/shop/v1/items.proto", "expose": True,
            "env": {"PYTHONPATH": "proto"},
            "commands": {"echo": {"encoding": "proto"}},
        },
    },
}


def python_with_protobuf():
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-c", "import google.protobuf"], capture_output=True).returncode == 0:
            return python
    pytest.fail("no python has the package protobuf: apt-get install python3-protobuf")


def shop(folder, manifest=MANIFEST, service=SERVICE, items=ITEMS):
    folder = write_app(folder / "shop", manifest)
    (folder / "proto/shop/v1").mkdir(parents=True)
    (folder / "proto/shop/v1/items.proto").write_text(items)
    (folder / "proto/shop/v1/money.proto").write_text(MONEY)
    assert shutil.which("protoc"), "protoc is missing: ./dev setup test"
    subprocess.run(["protoc", "--python_out=proto", "--proto_path=proto", "shop/v1/items.proto", "shop/v1/money.proto"],
                   cwd=folder, check=True)
    python = python_with_protobuf()
    text = (folder / "shunt.json").read_text().replace('"type": "python"', f'"type": "python", "python": "{python}"')
    (folder / "shunt.json").write_text(text)
    (folder / "items.py").write_text(service)
    return folder


@pytest.fixture(scope="module")
def node(tmp_path_factory, start_shared):
    return start_shared(shop(tmp_path_factory.mktemp("proto")))


def test_a_json_handler_gets_and_gives_the_json_of_its_types(node):
    answer = node.post("/items/get_item", {"item_id": "tea", "count": 2})
    assert answer.status == 200
    assert answer.json == {"itemId": "tea", "price": {"cents": "200"}, "madeAt": "2026-01-02T03:04:05Z"}
    # A schema with names of the file and integers is read by those.
    assert node.post("/items/typed", {"itemId": "tea", "count": "9007199254740993"}).json == {
        "itemId": "tea", "price": {"cents": "9007199254740993"}}
    assert node.post("/items/typed", {}).json == {"price": {}}


def test_a_bytes_handler_gets_protobuf(node):
    answer = node.post("/items/echo", {"itemId": "tea"})
    assert (answer.status, answer.json) == (200, {"itemId": "tea", "price": {"cents": "7"}})
    assert answer.headers["content-type"].startswith("application/json")


def test_generated_classes_come_and_go(node):
    order = {"items": [{"itemId": "a", "price": {"cents": 3}}, {"itemId": "b", "price": {"cents": "4"}}]}
    assert node.post("/items/total", order).json == {"cents": "7"}
    refused = node.post("/items/total", {})
    assert (refused.status, refused.json["code"]) == (400, "failed_precondition")
    assert node.call("items.each", order).lines == [
        {"itemId": "a", "price": {"cents": "3"}}, {"itemId": "b", "price": {"cents": "4"}}]
    done = node.cli("call", "items.add_up", "-", stdin='{"price":{"cents":1}}\n{"price":{"cents":"2"}}\n')
    assert done.json == {"cents": "3"}


def test_the_protobuf_path_takes_protobuf_and_json(node):
    order = b"\x0a\x04\x12\x02\x08\x05"  # items { price { cents: 5 } }
    for path in ("/shop.v1.Items/Total", "/items/total"):
        answer = node.http("POST", path, order, {"Content-Type": "application/proto"})
        assert (answer.status, answer.headers["content-type"], answer.body) == (200, "application/proto", b"\x08\x05")
    assert node.post("/shop.v1.Items/Total", {"items": [{"price": {"cents": 5}}]}).json == {"cents": "5"}
    # To a handler of JSON, and one of bytes.
    answer = node.http("POST", "/shop.v1.Items/GetItem", b"\x0a\x01a\x10\x02", {"Content-Type": "application/proto"})
    assert answer.body == b"\x0a\x01a\x12\x03\x08\xc8\x01\x1a\x06\x08\xa5\xeb\xdc\xca\x06"
    answer = node.http("POST", "/shop.v1.Items/Echo", b"\x0a\x01a", {"Content-Type": "application/proto"})
    assert answer.body == b"\x0a\x01a\x12\x02\x08\x07"
    refused = node.http("POST", "/shop.v1.Items/GetItem", b"\xff", {"Content-Type": "application/proto"})
    assert (refused.status, refused.json["code"]) == (400, "invalid_argument")
    assert "these bytes are no shop.v1.GetItemRequest" in refused.json["message"]


@pytest.mark.parametrize("command, request_, message", [
    ("total", {"items": [{}, {"price": {"cents": "x"}}]},
     'items[1].price.cents: expected a whole number of 64 bits, found the string "x" (line 1, column '),
    ("get_item", {"itemid": "x"}, "itemid: shop.v1.GetItemRequest has no such field; did you mean 'itemId'?"),
    ("echo", {"madeAt": "now"}, "madeAt: expected a time such as"),
])
def test_bad_json_names_the_field_and_the_place(node, command, request_, message):
    answer = node.post(f"/items/{command}", request_)
    assert (answer.status, answer.json["code"], answer.json["id"]) == (400, "invalid_argument", "S1040")
    assert message in answer.json["message"]
    assert base64.b64decode(answer.json["details"][0]["value"] + "==")


def test_the_proto_file_says_what_the_code_does_not(node):
    assert node.get("/items/get_item?itemId=tea&count=2").status == 200  # NO_SIDE_EFFECTS
    assert node.get("/items/find?ids=a&ids=b&exact=true").json == {"itemId": "a,b", "price": {"cents": "1"}}
    printed = node.cli("proto", "shop.items")
    assert "rpc GetItem" in printed.out and "google.protobuf.Timestamp made_at = 3" in printed.out


def test_the_code_alone_may_say_its_types(tmp_path, start):
    manifest = {"name": "shop", "services": {"items": {"type": "python", "args": "items.py", "expose": True,
                                                       "env": {"PYTHONPATH": "proto"}}}}
    service = SERVICE.replace("def total", "def total_of")
    service = service[:service.index("@service.command\ndef get_item")] + service[service.index("@service.command\ndef total_of"):]
    node = start(shop(tmp_path, manifest, service))
    assert node.post("/items/total_of", {"items": [{"price": {"cents": 3}}]}).json == {"cents": "3"}
    assert "service items {" in node.cli("proto", "shop.items").out


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_generated_classes_in_cpp(tmp_path, start, backend):
    folder = write_app(tmp_path / "shop", {"name": "shop", "services": {"items": {
        "type": "c++", "args": str(MODULES / "libitems.so"), "proto": "items.proto", "expose": True,
        "engine": {"backend": backend}, "commands": {"raw": {"encoding": "proto"}}}}})
    shutil.copy(pathlib.Path(__file__).parent / "modules/items.proto", folder)
    node = start(folder)
    assert node.post("/items/double", {"name": "tea", "unitCount": "4"}).json == {"name": "tea", "unitCount": "8"}
    assert node.post("/items/double", {}).json["message"] == "name is empty"
    assert node.post("/items/raw", {"name": "tea"}).json == {"name": "tea", "unitCount": "7"}
    assert node.post("/items/plain", {"name": "tea", "unitCount": "9007199254740993"}).json == {
        "name": "tea", "unitCount": "9007199254740994"}
    assert node.call("items.count", {"name": "a", "unit_count": 2}).lines == [{"name": "a"}, {"name": "a", "unitCount": "1"}]
    assert "unitCount: expected a whole number" in node.post("/items/plain", {"unitCount": []}).json["message"]


def test_what_is_wrong_with_a_proto_file_is_shown_at_its_line(tmp_path):
    folder = shop(tmp_path, items=ITEMS)
    file = folder / "proto/shop/v1/items.proto"
    file.write_text(ITEMS.replace("returns (Item);", "returns (Itme);", 1))
    done = run("check", folder)
    assert done.code == 1
    assert "shop/proto/shop/v1/items.proto:12:38: error S2072: \"Itme\" is not defined" in done.err
    assert "   12 |   rpc Typed(GetItemRequest) returns (Itme);" in done.err
    assert "fix:   write Item" in done.err
    file.write_text(ITEMS.replace("shop/v1/money", "shop/v1/mony"))
    assert 'S2073: import "shop/v1/mony.proto" is not found' in run("check", folder).err


def test_a_contradiction_names_both_places(tmp_path, start):
    folder = shop(tmp_path)
    (folder / "items.py").write_text(SERVICE.replace("-> Iterator[items_pb2.Item]:\n    yield from order.items",
                                                     "-> items_pb2.Item:\n    return order.items[0]"))
    node = start(folder, wait=False)
    eventually("it is told", lambda: "S2077" in node.output)
    assert "command 'each' has stream unary in items.py, server in proto/shop/v1/items.proto:15" in node.output
