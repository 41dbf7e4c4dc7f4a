"""grpc's own Python client: every shape, deadlines, cancellation, metadata, details, sizes, compression, health, reflection."""

import concurrent.futures
import contextlib
import importlib
import sys
import threading
import uuid

import grpc
import pytest
from google.protobuf import empty_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

import harness
from conftest import protoc

OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


@pytest.fixture(scope="module")
def pb2(generated):
    return generated.messages


@contextlib.contextmanager
def open_channel(node, *options, **more):
    host, port = node.address
    with grpc.insecure_channel(f"{host}:{port}", options=[*OPTIONS, *options], **more) as channel:
        yield channel


@pytest.fixture(scope="module")
def channel(node):
    with open_channel(node) as channel:
        yield channel


@pytest.fixture(scope="module")
def echo(channel, generated):
    return generated.echo(channel)


@pytest.fixture(scope="module", params=["echo", "native"])
def either(request, channel, generated):
    """The same methods of a service in Python and of one in C++."""
    return getattr(generated, request.param)(channel)


def numbers(pb2, *values):
    return (pb2.Number(value=value) for value in values)


def whole_message(pb2):
    message = pb2.Message(text="zwölf Boxkämpfer ☃", number=-7, large=9007199254740993, data=b"\x00\xff", tags=["a", "b"],
                          counts={"x": 1}, colour=pb2.COLOUR_GREEN, maybe=False, ratio=0.1, right=0)
    message.inner.name = "outer"
    message.inner.parts.add(name="inner")
    message.at.FromJsonString("2026-11-21T12:34:56.789Z")
    message.anything.struct_value.update({"deep": [1, None, {"er": True}]})
    return message


# --- Shapes ---


def test_unary(either, pb2):
    message = whole_message(pb2)
    assert either.Unary(message) == message


def test_an_empty_message(either, pb2):
    assert either.Unary(pb2.Message()) == pb2.Message()


def test_server_streaming(either, pb2):
    assert [number.value for number in either.Count(pb2.CountRequest(to=100))] == list(range(100))


def test_an_empty_stream(either, pb2):
    assert list(either.Count(pb2.CountRequest(to=0))) == []


def test_client_streaming(either, pb2):
    assert either.Add(numbers(pb2, 1, 2, 3)) == pb2.Sum(total=6, count=3)


def test_client_streaming_of_nothing(either, pb2):
    assert either.Add(iter([])) == pb2.Sum()


def test_bidirectional_streaming_is_interactive(either, pb2):
    # Each answer is read before the next question is asked.
    asked, may_go_on = iter([5, 6, 7]), threading.Semaphore(1)

    def ask():
        for value in asked:
            assert may_go_on.acquire(timeout=harness.PATIENCE)
            yield pb2.Number(value=value)

    totals = []
    for total in either.Running(ask()):
        totals.append(total.total)
        may_go_on.release()
    assert totals == [5, 11, 18]


def test_the_shunt_path_answers_as_the_protobuf_path_does(channel, pb2):
    message = whole_message(pb2)
    call = channel.unary_unary("/echo/unary", pb2.Message.SerializeToString, pb2.Message.FromString)
    assert call(message) == message


def test_many_calls_at_once(echo, pb2):
    futures = [echo.Unary.future(pb2.Message(number=number)) for number in range(500)]
    assert [future.result(timeout=harness.PATIENCE).number for future in futures] == list(range(500))


def test_many_streams_at_once(either, pb2):
    streams = [either.Count(pb2.CountRequest(to=50)) for _ in range(50)]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        assert set(pool.map(lambda stream: sum(number.value for number in stream), streams)) == {1225}


# --- Errors ---


def failure(call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        answer = call(*arguments, **options)
        for _ in answer if hasattr(answer, "__next__") else []:
            pass
    return caught.value


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_comes_as_it_is(either, pb2, code):
    error = failure(either.Refuse, pb2.RefuseRequest(code=code.value[0], message="über 100 % \n so"))
    assert (error.code(), error.details()) == (code, "über 100 % \n so")


def test_details(either, pb2):
    error = failure(either.Refuse, pb2.RefuseRequest(code=9, message="no", detailed=True))
    status = rpc_status.from_call(error)
    assert (status.code, status.message) == (9, "no")
    found = [error_details_pb2.ErrorInfo.FromString(detail.value) for detail in status.details]
    assert error_details_pb2.ErrorInfo(reason="AS_ASKED", domain="interop") in found


def test_trailers_come_with_an_error_too(echo, pb2):
    error = failure(echo.Refuse, pb2.RefuseRequest(code=5))
    assert dict(error.trailing_metadata())["interop-trailer"] == "told"


def test_a_stream_that_breaks_off_gives_what_came_before(echo, pb2):
    values = []
    with pytest.raises(grpc.RpcError) as caught:
        for number in echo.BreaksOff(pb2.CountRequest(to=3)):
            values.append(number.value)
    assert values == [0, 1, 2]
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("path", ["/interop.v1.Echo/Nothing", "/interop.v1.Nobody/Unary", "/nobody/unary", "/echo/nothing"])
def test_what_does_not_exist_is_unimplemented_or_not_found(channel, path):
    error = failure(channel.unary_unary(path), b"")
    assert error.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND)
    assert error.details()


def test_bytes_that_are_no_message_of_the_type(channel):
    error = failure(channel.unary_unary("/interop.v1.Echo/Unary"), b"\xff\xff\xff")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_call_without_a_message(channel, pb2):
    # A client that half-closes at once, where one message is wanted.
    error = failure(channel.stream_unary("/interop.v1.Echo/Unary"), iter([]))
    assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED)


# --- Deadlines and cancellation ---


def ended(echo, note):
    return lambda: note in echo.Seen(empty_pb2.Empty()).names


def test_a_deadline_ends_the_call_on_both_sides(echo, pb2):
    name = uuid.uuid4().hex
    error = failure(echo.Hang, pb2.Name(name=name), timeout=0.5)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    harness.eventually("the handler to be cancelled", ended(echo, f"{name} cancelled"))


def test_the_deadline_travels(echo, pb2):
    # grpc rounds up to three digits.
    assert 50 < echo.Hear(pb2.Name(), timeout=100).remaining <= 101


def test_cancelling_reaches_the_handler(echo, pb2):
    name = uuid.uuid4().hex
    future = echo.Hang.future(pb2.Name(name=name))
    harness.eventually("the handler to begin", ended(echo, f"{name} began"))
    future.cancel()
    harness.eventually("the handler to be cancelled", ended(echo, f"{name} cancelled"))


def test_cancelling_a_stream_reaches_the_handler(echo, pb2):
    name = uuid.uuid4().hex
    stream = echo.HangAfter(pb2.CountRequest(to=2), metadata=[("interop-name", name)])
    assert [next(stream).value, next(stream).value] == [0, 1]
    stream.cancel()
    harness.eventually("the handler to be cancelled", ended(echo, f"{name} cancelled"))


def test_closing_the_channel_reaches_the_handler(node, echo, generated):
    name = uuid.uuid4().hex
    with open_channel(node) as channel:
        future = generated.echo(channel).Hang.future(generated.messages.Name(name=name))
        harness.eventually("the handler to begin", ended(echo, f"{name} began"))
    assert future.done()
    harness.eventually("the handler to be cancelled", ended(echo, f"{name} cancelled"))


# --- Metadata ---


def test_metadata_both_ways(echo, pb2):
    sent = [("interop-text", "a b"), ("interop-bytes-bin", b"\x00\x01\xfe\xff"), ("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01")]
    answer, call = echo.Hear.with_call(pb2.Name(name="you"), metadata=sent)
    assert answer.texts["interop-text"] == "a b"
    assert answer.bytes["interop-bytes-bin"] == b"\x00\x01\xfe\xff"
    assert answer.texts["traceparent"].startswith("00-aaa")
    assert answer.caller == "gateway"
    assert not any(key.startswith(("grpc-", ":")) or key in ("te", "content-type", "user-agent") for key in answer.texts)
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert initial["interop-reply"] == "hello you"
    assert initial["interop-reply-bin"] == b"\x00\x01\xfe\xff"
    assert trailing["interop-trailer"] == "bye"
    assert trailing["interop-trailer-bin"] == b"\xff\x00"


# --- Sizes, compression, connections ---


def test_four_mebibytes_and_more(either, pb2):
    message = pb2.Message(data=bytes(range(256)) * (5 << 12))
    assert either.Unary(message, timeout=harness.PATIENCE) == message


def test_a_large_stream(either, pb2):
    sizes = [len(number.data) for number in either.Count(pb2.CountRequest(to=64, bytes=256 << 10))]
    assert sizes == [256 << 10] * 64


def test_a_slow_reader_gets_everything(either, pb2):
    stream = either.Count(pb2.CountRequest(to=200, bytes=64 << 10))
    first = next(stream)
    # Others are served while the stream is not read.
    assert either.Unary(pb2.Message(text="between")).text == "between"
    assert first.value == 0 and [number.value for number in stream] == list(range(1, 200))


def test_a_message_beyond_the_limit_is_refused(echo, pb2):
    error = failure(echo.Unary, pb2.Message(data=bytes(17 << 20)), timeout=harness.PATIENCE)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert echo.Unary(pb2.Message(text="still here")).text == "still here"


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate, grpc.Compression.NoCompression])
def test_compressed_messages(node, generated, algorithm):
    with open_channel(node, compression=algorithm) as channel:
        stub = generated.echo(channel)
        message = generated.messages.Message(text="again and " * 100_000)
        assert stub.Unary(message) == message
        assert stub.Add(numbers(generated.messages, *range(100))).total == 4950


def test_a_small_compressed_message_that_is_huge(node, generated):
    with open_channel(node, compression=grpc.Compression.Gzip) as channel:
        stub = generated.echo(channel)
        error = failure(stub.Unary, generated.messages.Message(data=bytes(60 << 20)), timeout=harness.PATIENCE)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Unary(generated.messages.Message(text="still here")).text == "still here"


def test_the_same_behind_tls(secure, authority, generated):
    host, port = secure.address
    with grpc.secure_channel(f"{host}:{port}", grpc.ssl_channel_credentials(authority.read_bytes())) as channel:
        stub = generated.echo(channel)
        message = whole_message(generated.messages)
        assert stub.Unary(message) == message
        assert [number.value for number in stub.Count(generated.messages.CountRequest(to=3))] == [0, 1, 2]


def test_keep_alive_pings_are_answered(node, generated):
    options = [("grpc.keepalive_time_ms", 200), ("grpc.keepalive_timeout_ms", 60_000), ("grpc.http2.max_pings_without_data", 0),
               ("grpc.keepalive_permit_without_calls", 1)]
    with open_channel(node, *options) as channel:
        stub = generated.echo(channel)
        stub.Unary(generated.messages.Message())
        error = failure(stub.Hang, generated.messages.Name(name="pinged"), timeout=1.5)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert stub.Unary(generated.messages.Message(text="still here")).text == "still here"


# --- Health ---


def test_health(channel):
    health = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for name in ("", "echo", "plain", "interop.v1.Echo", "interop.v1.Native"):
        assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == serving, name
    assert failure(health.Check, health_pb2.HealthCheckRequest(service="nobody")).code() is grpc.StatusCode.NOT_FOUND


def test_health_is_listed(channel):
    health = health_pb2_grpc.HealthStub(channel)
    if not hasattr(health, "List"):
        pytest.fail("this grpcio-health-checking has no List")
    statuses = health.List(health_pb2.HealthListRequest()).statuses
    assert statuses["interop.v1.Echo"].status == health_pb2.HealthCheckResponse.SERVING


def test_health_is_watched(channel):
    health = health_pb2_grpc.HealthStub(channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(service="interop.v1.Echo"))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    unknown = health.Watch(health_pb2.HealthCheckRequest(service="nobody"))
    assert next(unknown).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    unknown.cancel()


# --- Reflection ---


class Reflected:
    """A service known by reflection alone, as a tool sees it."""

    def __init__(self, channel, suffix):
        self.channel = channel
        database = ProtoReflectionDescriptorDatabase(channel)
        self.names = list(database.get_services())
        [self.name] = [name for name in self.names if name.lower().endswith(suffix)]
        self.service = DescriptorPool(database).FindServiceByName(self.name)

    def method(self, name):
        [method] = [method for method in self.service.methods if method.name.lower() == name]
        return method

    def call(self, name, *requests, **options):
        """The messages of the answer, as dicts of their JSON."""
        method = self.method(name)
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        shape = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
        call = getattr(self.channel, shape)(f"/{self.name}/{method.name}", request.SerializeToString, response.FromString)
        messages = [ParseDict(value, request()) for value in requests]
        answer = call(iter(messages) if method.client_streaming else messages[0], **options)
        return [MessageToDict(message) for message in (answer if method.server_streaming else [answer])]


def test_reflection_lists_every_service(channel):
    names = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {"interop.v1.Echo", "interop.v1.Native", "grpc.health.v1.Health"} <= names
    assert sum(name.lower().endswith("plain") for name in names) == 1
    assert sum(name.lower().endswith("counted") for name in names) == 1


def test_reflection_of_the_first_version(channel):
    # v1 has the same messages under another path.
    call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                                 reflection_pb2.ServerReflectionRequest.SerializeToString, reflection_pb2.ServerReflectionResponse.FromString)
    [answer] = call(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    assert "interop.v1.Echo" in [service.name for service in answer.list_services_response.service]


def test_reflection_says_what_it_does_not_know(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    requests = [reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.such.Thing"),
                reflection_pb2.ServerReflectionRequest(file_by_filename="messages.proto"),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol="interop.v1.Echo.Unary")]
    unknown, by_name, by_symbol = stub.ServerReflectionInfo(iter(requests))
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert by_symbol.file_descriptor_response.file_descriptor_proto
    assert by_name.HasField("file_descriptor_response") or by_name.HasField("error_response")


def test_a_declared_service_by_reflection_alone(channel):
    echo = Reflected(channel, "v1.echo")
    assert echo.call("unary", {"text": "hi", "counts": {"a": 1}}) == [{"text": "hi", "counts": {"a": 1}}]


def test_a_plain_python_function_by_reflection_alone(channel):
    plain = Reflected(channel, "plain")
    receipt = plain.call("order", {"items": [{"sku": "tea", "count": 2, "price": 1.5, "colour": "green"}, {"sku": "pot"}], "note": "soon"})
    assert receipt == [{"pieces": 3, "total": 3.0, "note": "soon", "skus": ["tea", "pot"]}] or \
        receipt == [{"pieces": "3", "total": 3.0, "note": "soon", "skus": ["tea", "pot"]}]


def values(messages, key):
    return [int(message.get(key, 0)) for message in messages]


@pytest.mark.parametrize("suffix", ["plain", "counted"])
def test_derived_services_stream_in_every_shape(channel, suffix):
    service = Reflected(channel, suffix)
    assert values(service.call("count", {"to": 5} | ({"bytes": 0} if suffix == "counted" else {})), "value") == [0, 1, 2, 3, 4]
    assert values(service.call("add", *({"value": value} for value in (1, 2, 3))), "total") == [6]
    assert values(service.call("running", *({"value": value} for value in (1, 2, 3))), "total") == [1, 3, 6]


def test_an_error_of_a_plain_function(channel):
    plain = Reflected(channel, "plain")
    error = failure(plain.call, "refuse", {"code": "not_found", "message": "gone"})
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "gone")


def test_the_proto_file_that_shunt_prints_is_compiled_and_called(node, channel, tmp_path):
    printed = node.cli("proto", "plain")
    assert printed.code == 0, printed.err
    (tmp_path / "printed_plain.proto").write_text(printed.out)
    protoc("--proto_path", tmp_path, "--python_out", tmp_path, "--grpc_python_out", tmp_path, "printed_plain.proto")
    sys.path.insert(0, str(tmp_path))
    modules = importlib.import_module("printed_plain_pb2"), importlib.import_module("printed_plain_pb2_grpc")
    [stub_class] = [getattr(modules[1], name) for name in dir(modules[1]) if name.endswith("Stub")]
    stub = stub_class(channel)
    [service] = modules[0].DESCRIPTOR.services_by_name.values()
    [method] = [method for method in service.methods if method.name.lower() == "greet"]
    answer = getattr(stub, method.name)(GetMessageClass(method.input_type)(name="Ann"))
    assert "Hello, Ann!" in str(MessageToDict(answer))
