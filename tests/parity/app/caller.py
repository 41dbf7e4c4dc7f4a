"""The caller of the parity tests in Python: makes the call that a script describes, and answers what it heard. caller.cpp
does the same."""

import base64
import json

import shunt

service = shunt.Service()


@service.command
async def drive(
    call,
    service: str,
    command: str,
    messages: list[bytes],
    streams: bool = False,
    timeout_ms: int = 0,
    leave_after: int = -1,
    metadata: dict[str, bytes] = {},  # noqa: B006: never changed
) -> dict:
    options = {"raw": True, "metadata": {key: value if key.endswith("-bin") else value.decode() for key, value in metadata.items()}}
    if timeout_ms:
        options["timeout"] = timeout_ms / 1000
    callee = call.service(service).with_options(**options)

    def said():
        yield from messages

    heard = []
    answer = {"code": 0, "id": "", "text": "", "details": "", "left": False}
    try:
        if leave_after != 0:
            async for message in callee.stream(command, said() if streams else messages[0]):
                heard.append(message)
                if len(heard) == leave_after:
                    answer["left"] = True
                    break
    except shunt.Error as error:
        details = json.dumps(error.details, separators=(",", ":")) if error.details else ""
        answer |= {"code": int(error.code), "id": error.id, "text": error.message, "details": details}
    return {"messages": [base64.b64encode(message).decode() for message in heard], **answer}


if __name__ == "__main__":
    service.run()
