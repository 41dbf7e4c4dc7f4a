"""echo: declared by echo.proto. Its messages come and go as JSON; whatever client it is, they are the same."""

import asyncio
import base64

import shunt

service = shunt.Service()
notes = []

# google.rpc.ErrorInfo {reason: "AS_ASKED", domain: "interop"}, as protobuf writes it.
ERROR_INFO = {"type": "google.rpc.ErrorInfo", "value": base64.b64encode(b"\x0a\x08AS_ASKED\x12\x07interop").decode()}


@service.command
def unary(**message) -> dict:
    """Answers what it was asked."""
    return message


@service.command(effect="none")
def read(**message) -> dict:
    return message


@service.command(effect="none")
async def count(to: int = 0, bytes: int = 0):
    data = base64.b64encode(b"x" * bytes).decode()
    for value in range(to):
        yield {"value": value, "data": data} if bytes else {"value": value}


@service.command
async def add(numbers: shunt.Stream) -> dict:
    total = count = 0
    async for number in numbers:
        total += number.get("value", 0)
        count += 1
    return {"total": total, "count": count}


@service.command
async def running(numbers: shunt.Stream):
    total = count = 0
    async for number in numbers:
        total += number.get("value", 0)
        count += 1
        yield {"total": total, "count": count}


@service.command
def refuse(call, code: int = 0, message: str = "", detailed: bool = False) -> dict:
    call.trailers["interop-trailer"] = "told"
    if code == 0:
        return {}
    raise shunt.Error(code, message, [ERROR_INFO] if detailed else [])


@service.command
async def breaks_off(to: int = 0):
    for value in range(to):
        yield {"value": value}
    raise shunt.Error("failed_precondition", "the thread broke", [ERROR_INFO])


async def wait_for_the_end(name):
    notes.append(f"{name} began")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        notes.append(f"{name} cancelled")
        raise


@service.command
async def hang(name: str = "") -> dict:
    await wait_for_the_end(name)
    return {}


@service.command
async def hang_after(call, to: int = 0):
    for value in range(to):
        yield {"value": value}
    await wait_for_the_end(call.metadata.get("interop-name", "nobody"))


@service.command(effect="none")
def seen() -> dict:
    return {"names": notes}


@service.command
def hear(call, name: str = "") -> dict:
    """What came with the call; and it answers with metadata of both kinds, before and after."""
    call.reply_metadata["interop-reply"] = f"hello {name}"
    call.reply_metadata["interop-reply-bin"] = b"\x00\x01\xfe\xff"
    call.trailers["interop-trailer"] = "bye"
    call.trailers["interop-trailer-bin"] = b"\xff\x00"
    return {
        "texts": {key: value for key, value in call.metadata.items() if isinstance(value, str)},
        "bytes": {key: base64.b64encode(value).decode() for key, value in call.metadata.items() if not isinstance(value, str)},
        "caller": call.principal.kind,
        "remaining": call.remaining or 0.0,
    }


if __name__ == "__main__":
    service.run()
