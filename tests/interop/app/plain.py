"""plain: no protobuf anywhere; what gRPC sees is derived from these hints."""

import dataclasses
import enum
from collections.abc import AsyncIterator

import shunt

service = shunt.Service()


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclasses.dataclass
class Item:
    sku: str
    count: int = 1
    price: float = 0.0
    colour: Colour | None = None


@dataclasses.dataclass
class Receipt:
    pieces: int
    total: float
    note: str
    skus: list[str]


@dataclasses.dataclass
class Number:
    value: int


@dataclasses.dataclass
class Sum:
    total: int
    count: int


@service.command(effect="none")
def greet(name: str = "world", times: int = 1) -> dict[str, str]:
    """Greets someone."""
    return {"message": f"Hello, {name}!" * times}


@service.command
def order(items: list[Item], note: str = "") -> Receipt:
    """Orders items."""
    return Receipt(sum(item.count for item in items), sum(item.count * item.price for item in items), note,
                   [item.sku for item in items])


@service.command(effect="none")
async def count(to: int) -> AsyncIterator[Number]:
    for value in range(to):
        yield Number(value)


@service.command
async def add(numbers: shunt.Stream[Number]) -> Sum:
    total = count = 0
    async for number in numbers:
        total += number.value
        count += 1
    return Sum(total, count)


@service.command
async def running(numbers: shunt.Stream[Number]) -> AsyncIterator[Sum]:
    total = count = 0
    async for number in numbers:
        total += number.value
        count += 1
        yield Sum(total, count)


@service.command
def reverse(body: bytes) -> bytes:
    return body[::-1]


@service.command
def refuse(code: str, message: str = "as asked"):
    raise shunt.Error(code, message)


if __name__ == "__main__":
    service.run()
