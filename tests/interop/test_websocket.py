"""The websockets package of Python: a command's two streams as messages."""

import asyncio
import json
import ssl

import pytest
import websockets

import harness


def address(node, path):
    return node.url.replace("http", "ws", 1) + path


def talk(node, path, body, **options):
    """Runs body(socket); the messages that it returns, and how the socket was closed."""

    async def run():
        async with websockets.connect(address(node, path), open_timeout=harness.PATIENCE, **options) as socket:
            result = await asyncio.wait_for(body(socket), harness.PATIENCE)
            await socket.wait_closed()
            return result, socket.close_code, socket.close_reason

    return asyncio.run(run())


async def everything(socket):
    return [message async for message in socket]


@pytest.mark.parametrize("path", ["/plain/running", "/counted/running"])
@pytest.mark.parametrize("compression", ["deflate", None])
def test_both_streams(node, path, compression):
    async def body(socket):
        totals = []
        for value in (5, 6, 7):
            await socket.send(json.dumps({"value": value} | ({"data": ""} if "counted" in path else {})))
            totals.append(json.loads(await socket.recv())["total"])
        await socket.close()
        return totals

    assert talk(node, path, body, compression=compression)[0] == [5, 11, 18]


def test_an_answer_that_streams(node):
    async def body(socket):
        await socket.send(json.dumps({"to": 100}))
        return [json.loads(message)["value"] for message in await everything(socket)]

    assert talk(node, "/plain/count", body) == (list(range(100)), 1000, "")


def test_bytes_are_bytes(node):
    async def body(socket):
        await socket.send(bytes(range(256)))
        return await socket.recv()

    assert talk(node, "/plain/reverse", body)[0] == bytes(range(256))[::-1]


def test_the_close_code_carries_the_status(node):
    async def body(socket):
        await socket.send(json.dumps({"code": "not_found", "message": "gone"}))
        assert json.loads(await socket.recv())["$error"]["code"] == "not_found"
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()

    _, code, reason = talk(node, "/plain/refuse", body)
    assert 4000 <= code <= 4999 and "gone" in reason


def test_a_message_that_does_not_fit_closes_with_its_reason(node):
    async def body(socket):
        await socket.send(json.dumps({"to": "three"}))
        assert "to" in json.loads(await socket.recv())["$error"]["message"]
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()

    _, code, reason = talk(node, "/plain/count", body)
    assert code != 1000 and "to" in reason


def test_pings_are_answered(node):
    async def body(socket):
        waiter = await socket.ping()
        await waiter
        await socket.close()
        return True

    assert talk(node, "/plain/running", body)[0]


def test_closing_reaches_the_handler(node):
    async def body(socket):
        await socket.send(json.dumps({"name": "websocket"}))
        harness.eventually("the handler to begin", lambda: "websocket began" in node.post("/echo/seen").json.get("names", []))
        await socket.close()

    talk(node, "/echo/hang", body)
    harness.eventually("the handler to be cancelled", lambda: "websocket cancelled" in node.post("/echo/seen").json.get("names", []))


def test_the_same_behind_tls(secure, authority):
    async def body(socket):
        await socket.send(json.dumps({"to": 3}))
        return [json.loads(message)["value"] for message in await everything(socket)]

    trusted = ssl.create_default_context(cafile=authority)
    assert talk(secure, "/plain/count", body, ssl=trusted) == ([0, 1, 2], 1000, "")


def test_a_page_of_another_origin_is_refused(node):
    with pytest.raises(websockets.InvalidStatus) as caught:
        talk(node, "/plain/running", everything, origin="http://elsewhere.example")
    assert caught.value.response.status_code == 403


def test_what_does_not_exist_is_said_before_the_socket_opens(node):
    with pytest.raises(websockets.InvalidStatus) as caught:
        talk(node, "/plain/nothing", everything)
    assert caught.value.response.status_code >= 400
