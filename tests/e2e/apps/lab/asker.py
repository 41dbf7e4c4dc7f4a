"""asker: calls the others, synchronously and not."""

import asyncio
import time

import shunt

service = shunt.Service()


@service.command
def ask(call, name: str) -> dict:
    return call.service("shapes").greet(name=name)


@service.command
async def ask_async(call, name: str) -> dict:
    return await call.service("shapes").greet(name=name)


@service.command
async def ask_many(call, count: int) -> int:
    answers = await asyncio.gather(*(call.service("shapes").greet(name=str(n)) for n in range(count)))
    return len({answer["message"] for answer in answers})


@service.command
def collect(call, to: int) -> list:
    return [item["n"] for item in call.service("shapes").stream("count", to=to)]


@service.command
async def collect_async(call, to: int) -> list:
    return [item["n"] async for item in call.service("shapes").stream("count_async", to=to)]


@service.command
def add(call, to: int) -> dict:
    return call.service("shapes").add(n for n in range(to))


@service.command
def relay(call, service: str, command: str, request: dict) -> object:
    return call.service(service).call(command, request)


@service.command
async def relay_async(call, service: str, command: str, request: dict) -> object:
    return await call.service(service).call(command, request)


@service.command
def reverse(call, text: str) -> str:
    return call.service("shapes").reverse(text.encode()).decode()


@service.command
def catches(call, code: str) -> dict:
    try:
        call.service("shapes").refuse(code=code, message="no", details=[{"a": 1}])
    except shunt.Error as error:
        return {"code": error.code.name.lower(), "message": error.message, "details": error.details}
    return {}


@service.command
def remaining_there(call) -> dict:
    return {"here": call.remaining, "there": call.service("shapes").who()["remaining"]}


@service.command
def hang_there(call, name: str) -> dict:
    return call.service("notes").hang(name=name)


@service.command
async def hang_there_async(call, name: str) -> dict:
    return await call.service("notes").hang(name=name)


@service.command
def spin(call, name: str) -> dict:
    """A long computation that looks up now and then."""
    while not call.cancelled:
        time.sleep(0.001)
    print(f"{name} saw it", flush=True)
    return {}


@service.command
def with_timeout(call) -> dict:
    try:
        call.service("notes").with_options(timeout="50ms").hang(name="with_timeout")
    except shunt.Error as error:
        return {"code": error.code.name.lower()}
    return {}


@service.command
def forbidden(call) -> dict:
    return call.service("threads").ping()


if __name__ == "__main__":
    service.run()
