"""The callee of the parity tests in Python. callee.cpp does the same, word for word: whoever calls can't tell them apart."""

import asyncio
from collections.abc import AsyncIterator

import shunt

service = shunt.Service()
waited = {}


def numbers(text):
    return [int(word) for word in text.split()]


def pattern(size, seed):
    period = bytes((i * 31 + seed * 7) & 0xFF for i in range(256))
    return (period * (size // 256 + 1))[:size]


def checksum(data, total=1):
    for byte in data:
        total = (total * 31 + byte) % 4294967291
    return total


def as_asked(code):
    return shunt.Error(code, "as asked", [{"why": "asked"}])


@service.command
async def echo(call, message: bytes) -> bytes:
    call.reply_metadata["x-reply"] = call.metadata.get("x-asked", "nothing")
    call.reply_metadata["x-reply-bin"] = call.metadata.get("x-asked-bin", b"")
    call.trailers["x-end"] = "told"
    return message[::-1]


@service.command
async def who(call, message: bytes) -> bytes:
    principal = call.principal
    deadline = "none" if call.deadline is None else "deadline"
    return f"{principal.kind}|{principal.service}|{principal.user}|{deadline}".encode()


@service.command
async def fail(call, message: bytes) -> bytes:
    call.trailers["x-end"] = "failed"
    raise as_asked(numbers(message)[0])


@service.command(name="raise")
async def raise_(call, message: bytes) -> bytes:
    raise RuntimeError("not for the caller to see")


@service.command
async def make(call, message: bytes) -> bytes:
    return pattern(*numbers(message))


@service.command
async def weigh(call, message: bytes) -> bytes:
    return f"{len(message)} {checksum(message)}".encode()


@service.command
async def wait(call, key: bytes) -> bytes:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        waited[key] = b"cancelled"
        raise
    return b"never seen"


@service.command
async def linger(call, key: bytes) -> AsyncIterator[bytes]:
    yield b"here"
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        waited[key] = b"cancelled"
        raise


@service.command
async def how(call, key: bytes) -> bytes:
    return waited.get(key, b"")


@service.command
async def count(call, request: bytes) -> AsyncIterator[bytes]:
    messages, size, code = numbers(request)
    for i in range(messages):
        yield pattern(size, i)
    call.trailers["x-end"] = "counted"
    if code:
        raise as_asked(code)


@service.command(name="sum")
async def sum_(call, stream: shunt.Stream[bytes]) -> bytes:
    messages = total = 0
    check = 1
    async for message in stream:
        messages += 1
        total += len(message)
        check = checksum(message, check)
    call.trailers["x-end"] = "summed"
    return f"{messages} {total} {check}".encode()


@service.command
async def chat(call, stream: shunt.Stream[bytes]) -> AsyncIterator[bytes]:
    async for message in stream:
        if message == b"enough":
            raise as_asked(9)
        yield message[::-1]


if __name__ == "__main__":
    service.run()
