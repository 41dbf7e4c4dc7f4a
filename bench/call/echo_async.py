"""The echo of ./dev bench call, as a coroutine."""

import shunt

service = shunt.Service()


@service.command(effect="none")
async def echo(text: str) -> dict:
    return {"text": text}


if __name__ == "__main__":
    service.run()
