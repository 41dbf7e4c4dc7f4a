"""notes: remembers what happened to calls, and lets tests wait for each other."""

import asyncio

import shunt

service = shunt.Service()
notes = []
waiting = {}
gates = {}


@service.command
async def note(text: str) -> dict:
    notes.append(text)
    return {}


@service.command(effect="none")
async def seen() -> list:
    return notes


@service.command
async def hang(name: str) -> dict:
    """Never answers; notes how it ended."""
    notes.append(f"{name} began")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        notes.append(f"{name} cancelled")
        raise
    return {}


@service.command
async def drip(name: str):
    """Streams one line, and then none."""
    try:
        yield {"drop": 1}
        await asyncio.Event().wait()
    except (asyncio.CancelledError, GeneratorExit):
        notes.append(f"{name} cancelled")
        raise


@service.command
async def flood(name: str):
    """Streams without end."""
    try:
        while True:
            yield {"drop": "x" * 1000}
    except (asyncio.CancelledError, GeneratorExit):
        notes.append(f"{name} cancelled")
        raise


@service.command
async def meet(name: str, count: int) -> dict:
    """Answers once so many wait here at the same time."""
    gate = gates.setdefault(name, asyncio.Event())
    waiting[name] = waiting.get(name, 0) + 1
    if waiting[name] >= count:
        gate.set()
    await gate.wait()
    return {"met": waiting[name]}


if __name__ == "__main__":
    service.run()
