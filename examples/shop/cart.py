"""cart: what a basket costs, and buying it. Asks prices and stock, which are written in C++."""

import asyncio
from dataclasses import dataclass

import shunt

service = shunt.Service()


@dataclass
class Line:
    sku: str
    count: int = 1


@service.command(effect="none")
async def total(call, items: list[Line]) -> dict:
    """What the items cost together."""
    return {"cents": await sum_up(call, items)}


@service.command
async def checkout(call, items: list[Line]) -> dict:
    """Takes the items off the shelves, and says what is to be paid."""
    if not items:
        raise shunt.Error("invalid_argument", "items is empty")
    cents = await sum_up(call, items)
    stock = call.service("stock")
    for line in items:
        await stock.reserve(sku=line.sku, count=line.count)
    return {"cents": cents, "items": sum(line.count for line in items)}


async def sum_up(call, items: list[Line]) -> int:
    prices = call.service("prices")
    answers = await asyncio.gather(*(prices.get(sku=line.sku) for line in items))
    return sum(answer["cents"] * line.count for answer, line in zip(answers, items))


if __name__ == "__main__":
    service.run()
