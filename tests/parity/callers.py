"""Who makes the calls of the parity tests: a service of a node, told by a script what to call, or gRPC's own client outside.
What they heard has one form, so that it can be compared."""

import base64
import dataclasses

import grpc

import harness


@dataclasses.dataclass
class Heard:
    messages: list
    code: int = 0
    id: str = ""
    text: str = ""
    details: str = ""
    left: bool = False
    metadata: dict | None = None  # Where the caller can see them: those that begin with x-.
    trailers: dict | None = None

    def of(self, *names):
        return {name: getattr(self, name) for name in names}


class Service:
    """A service of the node: drive() of caller.cpp or caller.py."""

    def __init__(self, node, kind):
        self.node, self.kind, self.name = node, kind, f"near.caller-{kind}"

    def call(self, service, command, *messages, streams=False, timeout_ms=0, leave_after=-1, metadata=None):
        answer = self.node.post(f"/{self.name}/drive", {
            "service": service, "command": command, "messages": [base64.b64encode(m).decode() for m in messages],
            "streams": streams, "timeout_ms": timeout_ms, "leave_after": leave_after,
            "metadata": {key: base64.b64encode(value).decode() for key, value in (metadata or {}).items()}})
        assert answer.status == 200, answer.body
        said = answer.json
        return Heard(**(said | {"messages": [base64.b64decode(message) for message in said["messages"]]}))


def _said(pairs):
    return {key: value for key, value in pairs or () if key.startswith("x-")}


# google.protobuf.BytesValue: field 1, bytes.
def _to_proto(message):
    size, head = len(message), b"\x0a"
    while size > 127:
        head += bytes([size & 127 | 128])
        size >>= 7
    return head + bytes([size]) + message if message else b""


def _from_proto(data):
    if not data:
        return b""
    assert data[0] == 0x0A
    at = 1
    while data[at] & 128:
        at += 1
    return data[at + 1:]


class Outside:
    """grpcio, at the node's own address."""

    kind = "outside"

    def __init__(self, node):
        host, port = node.address
        self.channel = grpc.insecure_channel(f"{host}:{port}", options=[
            ("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)])

    def close(self):
        self.channel.close()

    def call(self, service, command, *messages, streams=False, timeout_ms=0, leave_after=-1, metadata=None):
        call = self.channel.stream_stream(f"/{service}/{command}", _to_proto, _from_proto)(
            iter(messages), timeout=timeout_ms / 1000 or harness.PATIENCE,
            metadata=[(key, value if key.endswith("-bin") else value.decode()) for key, value in (metadata or {}).items()])
        heard = Heard([])
        try:
            for message in call:
                heard.messages.append(message)
                if len(heard.messages) == leave_after:
                    heard.left = True
                    call.cancel()
                    return heard
        except grpc.RpcError as error:
            heard.code, heard.text = error.code().value[0], error.details()
        heard.metadata, heard.trailers = _said(call.initial_metadata()), _said(call.trailing_metadata())
        return heard
