"""sick: misbehaves as its arguments say."""

import asyncio
import os
import signal
import sys
import time

import shunt

how = sys.argv[1] if len(sys.argv) > 1 else ""

service = shunt.Service()


@service.on_start
def begin():
    print(f"starting as {how or 'well'}", flush=True)
    if how == "hangs":
        while True:
            time.sleep(60)
    if how == "dies":
        print("last words on stdout", flush=True)
        print("last words on stderr", file=sys.stderr, flush=True)
        os._exit(7)


@service.command
def ping() -> dict:
    return {"pid": os.getpid()}


@service.command
def deaf() -> dict:
    """From now on it ignores being told to end, and blocks."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    return {"pid": os.getpid()}


@service.command
def block(call) -> dict:
    """Holds the worker, and heeds nothing."""
    while True:
        time.sleep(60)


@service.command
def nap(ms: int) -> dict:
    time.sleep(ms / 1000)
    return {"pid": os.getpid()}


@service.command
async def wait(call) -> dict:
    await asyncio.Event().wait()
    return {}


@service.command(effect="none")
async def peek(path: str) -> dict:
    """Waits for a file; says in another who does."""
    with open(path + ".pids", "a") as pids:
        pids.write(f"{os.getpid()}\n")
    while not os.path.exists(path):
        await asyncio.sleep(0.01)
    return {"pid": os.getpid()}


@service.command
async def poke(path: str) -> dict:
    """The same, but it may change something."""
    return await peek(path)


@service.command
async def drip():
    yield {"drop": 1}
    await asyncio.Event().wait()


@service.command
async def sleep(ms: int) -> dict:
    await asyncio.sleep(ms / 1000)
    return {"pid": os.getpid()}


if __name__ == "__main__":
    service.run()
