"""shapes: a command of every form."""

import asyncio
import dataclasses
import enum
import os
import sys

import shunt

service = shunt.Service()


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclasses.dataclass
class Item:
    sku: str
    count: int = 1
    colour: Colour | None = None


@service.command
def greet(name: str = "world") -> dict:
    """Greets someone."""
    return {"message": f"Hello, {name}!"}


@service.command(effect="none")
async def wave(call, name: str = "world", times: int = 1, loud: bool = False) -> dict:
    """Waves at someone."""
    return {"name": name, "times": times, "loud": loud}


@service.command
def order(items: list[Item]) -> dict:
    return {"pieces": sum(item.count for item in items)}


@service.command(effect="none")
def count(to: int):
    for n in range(to):
        yield {"n": n}


@service.command
async def count_async(to: int):
    for n in range(to):
        await asyncio.sleep(0)
        yield {"n": n}


@service.command
def breaks_off(after: int):
    for n in range(after):
        yield {"n": n}
    raise shunt.Error("failed_precondition", "the thread broke", [{"after": after}])


@service.command
def explodes_late(after: int):
    for n in range(after):
        yield {"n": n}
    raise RuntimeError("secret-late")


@service.command
def add(numbers: shunt.Stream[int]) -> dict:
    return {"sum": sum(numbers)}


@service.command
async def running(numbers: shunt.Stream[int]):
    total = 0
    async for number in numbers:
        total += number
        yield total


@service.command
def reverse(body: bytes) -> bytes:
    return body[::-1]


@service.command
def pixel(call) -> bytes:
    call.reply_metadata["content-type"] = "image/gif"
    return b"GIF89a"


@service.command
def refuse(code: str, message: str = "as asked", details: list | None = None):
    raise shunt.Error(code, message, details or [])


@service.command
def explode(secret: str):
    raise RuntimeError(f"boom {secret}")


@service.command
async def explode_async(secret: str):
    raise RuntimeError(f"boom {secret}")


@service.command
def unspeakable():
    return {"it": object()}


@service.command(effect="none")
def who(call) -> dict:
    return {
        "kind": call.principal.kind,
        "service": call.principal.service,
        "user": call.principal.user,
        "metadata": {key: value for key, value in call.metadata.items() if isinstance(value, str)},
        "remaining": call.remaining,
        "command": call.command,
    }


@service.command(effect="none")
def about() -> dict:
    return {"pid": os.getpid(), "executable": sys.executable, "prefix": sys.prefix, "flavour": os.environ.get("FLAVOUR", "")}


@service.command
def say(text: str, times: int = 1) -> None:
    for _ in range(times):
        print(text, flush=True)


@service.command
def say_log(call, text: str) -> None:
    call.log.warning("%s", text)


if __name__ == "__main__":
    service.run()
