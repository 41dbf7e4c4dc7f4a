"""The service of test_wire.py."""

import asyncio
import os
import sys
import time

import shunt

service = shunt.Service()
IS_ASYNC = os.environ.get("TEST_ASYNC") == "1"


@service.on_start
def started():
    print("on_start", file=sys.stderr, flush=True)


@service.on_stop
def stopped():
    print("on_stop", file=sys.stderr, flush=True)


@service.command
def greet(name: str = "world") -> dict:
    """Greets someone."""
    return {"message": f"Hello, {name}!"}


@service.command
def echo(body: bytes) -> bytes:
    return body


@service.command
def who(call):
    call.log.warning("asked")
    p = call.principal
    return [p.kind, p.service, p.user, sorted(call.metadata_all), call.remaining is not None]


@service.command
def count(to: int):
    for n in range(to):
        yield {"n": n}


@service.command
def blocks(to: int, size: int):
    for n in range(to):
        yield bytes(size)


@service.command
def crash():
    raise KeyError("secret")


@service.command
def find():
    raise shunt.Error("not_found", "no such item", [{"sku": "x"}], id="S1")


@service.command
def price(call, sku: str):
    return call.service("prices").get(sku=sku)


@service.command
def prices(call, to: int):
    return list(call.service("prices").stream("count", to=to))


@service.command
def upload(call, size: int, of: int):
    return call.service("prices").upload(bytes(size) for _ in range(of))


@service.command
def total(items: shunt.Stream[int]) -> int:
    return sum(items)


@service.command
def spin(call):
    print("spin began", file=sys.stderr, flush=True)
    while not call.cancelled:
        time.sleep(0.001)
    print("spin saw its cancellation", file=sys.stderr, flush=True)


if IS_ASYNC:

    @service.command
    async def aprice(call, sku: str):
        return await call.service("prices").get(sku=sku)

    @service.command
    async def aupload(call, size: int, of: int):
        async def blocks():
            for _ in range(of):
                yield bytes(size)

        return await call.service("prices").upload(blocks())

    @service.command
    async def hang(call):
        try:
            print("hang began", file=sys.stderr, flush=True)
            await asyncio.sleep(3600)
        finally:
            print(f"hang was cancelled: {call.cancelled}", file=sys.stderr, flush=True)

    @service.command
    async def wait_for_price(call):
        return await call.service("prices").never()

    @service.command
    async def acount(to: int):
        for n in range(to):
            yield {"n": n}

    @service.command
    async def running(items: shunt.Stream[int]):
        total = 0
        async for item in items:
            total += item
            yield total


if __name__ == "__main__":
    service.run()
