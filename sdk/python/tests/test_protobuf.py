"""Handlers of generated protobuf classes. The class is a stand-in: the SDK knows them by what they can do."""

import base64
from collections.abc import Iterator

import pytest
import shunt
from shunt.testing import Client


class File:
    def __init__(self, name, *dependencies):
        self.name = name
        self.serialized_pb = name.encode()
        self.dependencies = dependencies


class Descriptor:
    def __init__(self, full_name, file):
        self.full_name = full_name
        self.file = file


class Item:
    DESCRIPTOR = Descriptor("shop.v1.Item", File("shop.proto", File("money.proto"), File("google/protobuf/any.proto")))

    def __init__(self, text=""):
        self.text = text

    @classmethod
    def FromString(cls, data):
        if data.startswith(b"\xff"):
            raise ValueError("it begins with ff")
        return cls(data.decode())

    def SerializeToString(self):
        return self.text.encode()


class Price(Item):
    DESCRIPTOR = Descriptor("shop.v1.Price", File("money.proto"))


def make():
    service = shunt.Service()

    @service.command
    def price(item: Item) -> Price:
        return Price(item.text * 2) if item.text != "wrong" else item

    @service.command
    async def each(call, items: Iterator[Item]) -> Iterator[Price]:
        async for item in items:
            yield Price(item.text)

    @service.command
    def letters(item: Item) -> Iterator[Price]:
        for letter in item.text:
            yield Price(letter)

    @service.command
    def raw(data: bytes) -> Price:
        return Price(data.decode())

    return service


def test_messages_come_and_go():
    client = Client(make())
    assert client.call("price", Item("ab")).text == "abab"
    assert [price.text for price in client.call("letters", Item("xy"))] == ["x", "y"]
    assert [price.text for price in client.request("each", stream=[Item("1"), Item("2")]).messages] == ["1", "2"]
    assert client.call("raw", b"z").text == "z"
    assert client.request("price", Item("a")).metadata == {}


def test_bytes_that_are_no_such_message_are_refused():
    with pytest.raises(shunt.Error) as refused:
        Client(make()).call("price", b"\xff")
    assert (refused.value.code, refused.value.id) == (shunt.Code.INVALID_ARGUMENT, "S1041")
    assert refused.value.message == "these bytes are no shop.v1.Item: it begins with ff"


def test_an_answer_of_another_type_is_our_own_fault(capfd):
    with pytest.raises(shunt.Error) as failed:
        Client(make()).call("price", Item("wrong"))
    assert (failed.value.code, failed.value.id) == (shunt.Code.INTERNAL, "S1032")
    assert "it is a test_protobuf.Item, not a shop.v1.Price" in capfd.readouterr().err


def test_the_definition_has_types_and_files():
    definition = make().definition()
    price = definition["commands"]["price"]
    assert (price["encoding"], price["request-message"], price["response-message"]) == ("proto", "shop.v1.Item", "shop.v1.Price")
    assert "request" not in price and "response" not in price
    raw = definition["commands"]["raw"]
    assert raw["encoding"] == "proto" and "request-message" not in raw
    files = [base64.b64decode(each).decode() for each in definition["descriptors"]]
    assert files == ["money.proto", "shop.proto"]


@pytest.mark.parametrize("hints, message", [
    (("Item", "dict"), "it takes the protobuf message shop.v1.Item, so it must answer one too"),
    (("dict", "Price"), "it answers the protobuf message shop.v1.Price, so its only parameter"),
])
def test_protobuf_stands_on_both_sides(hints, message):
    service = shunt.Service()
    namespace = {"Item": Item, "Price": Price}
    exec(f"def one(request: {hints[0]}) -> {hints[1]}: ...", namespace)
    with pytest.raises(TypeError) as error:
        service.command(namespace["one"])
    assert message in str(error.value)
