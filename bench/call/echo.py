"""The echo of ./dev bench call, as a plain function."""

import shunt

service = shunt.Service()


@service.command(effect="none")
def echo(text: str) -> dict:
    return {"text": text}


if __name__ == "__main__":
    service.run()
