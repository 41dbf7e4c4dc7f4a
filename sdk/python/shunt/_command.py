"""A command: a handler with what its hints say of its requests and answers."""

from __future__ import annotations

from ._call import Stream
from ._error import INVALID_ARGUMENT, Error
from ._json import loads
from ._types import ANY, Compiler, Fields, HintError, Mismatch, clean_docstring, parameters_of, with_default

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CODE_GENERATOR = 0x20
_CODE_COROUTINE = 0x80 | 0x100
_CODE_ASYNC_GENERATOR = 0x200

SYNC = 0
SYNC_GENERATOR = 1
ASYNC = 2
ASYNC_GENERATOR = 3

EFFECTS = ("none", "idempotent", "any")

_STREAM_IN = ("AsyncIterator", "AsyncIterable", "AsyncGenerator", "Iterator", "Iterable", "Stream")
_STREAM_OUT = ("AsyncIterator", "AsyncIterable", "AsyncGenerator", "Iterator", "Iterable", "Generator")


def is_command_name(name: str) -> bool:
    return (
        0 < len(name) <= 63
        and name.isascii()
        and (name[0].isalpha() or name[0] == "_")
        and name.replace("_", "a").replace("-", "a").isalnum()
    )


def kind_of_function(function: Any) -> int:
    """What calling the function gives. A decorator that wraps an async function is async too."""
    flags = 0
    seen = 0
    each = function
    while each is not None and seen < 32:
        code = getattr(each, "__code__", None) or getattr(getattr(type(each), "__call__", None), "__code__", None)
        if code is None and hasattr(each, "func"):  # functools.partial
            each = each.func
            continue
        flags |= code.co_flags if code is not None else 0
        each = getattr(each, "__wrapped__", None)
        seen += 1
    if flags & _CODE_ASYNC_GENERATOR:
        return ASYNC_GENERATOR
    if flags & _CODE_COROUTINE:
        return ASYNC
    return SYNC_GENERATOR if flags & _CODE_GENERATOR else SYNC


class Command:
    """Compiled once, when it is registered."""

    __slots__ = (
        "description",
        "effect",
        "function",
        "is_proto",
        "is_simple",
        "kind",
        "name",
        "read",
        "read_stream",
        "request_message",
        "request_schema",
        "response_message",
        "response_schema",
        "slow",
        "stream_parameter",
        "takes_call",
        "timeout",
    )

    def __init__(self, function: Any, name: str, effect: str, timeout: str | None, description: str | None) -> None:
        self.function = function
        self.name = name
        self.effect = effect
        self.timeout = timeout
        self.kind = kind_of_function(function)
        self.description = clean_docstring(function.__doc__) if description is None else description
        #: How often it must still be quick before its answers may wait for others to be sent with; see _runtime.
        self.slow = 1
        self.stream_parameter = ""
        #: Bytes of a request -> the handler's keyword arguments. Raises Error(invalid_argument).
        self.read: Callable[[bytes], dict[str, Any]]
        #: Bytes of one request of a stream, and its number -> the value.
        self.read_stream: Callable[[bytes, int], Any] | None = None

        target = function
        while hasattr(target, "__wrapped__"):
            target = target.__wrapped__
        try:
            parameters, rest, returned = parameters_of(target)
        except HintError as error:
            raise HintError(f"command {name}: {error}") from None
        self.takes_call = bool(parameters) and parameters[0].name == "call"
        if self.takes_call:
            del parameters[0]
        #: The generated protobuf classes of a request and of an answer, where the hints are such.
        self.request_message: Any = None
        self.response_message: Any = None
        self._compile_request(parameters, rest)
        self._compile_response(returned)
        self.is_proto = self.request_message is not None
        self._check_messages()
        #: One request, answered at once by a plain function: the short way through the runtime.
        self.is_simple = self.kind == SYNC and not self.stream_parameter

    def _compile_request(self, parameters: list[Any], rest: Any) -> None:
        if len(parameters) == 1 and rest is None:
            only = parameters[0]
            if only.hint is bytes:
                key = only.name
                self.read = lambda data: {key: data}
                self.request_schema: Any = None
                return
            if is_message(only.hint):
                self.request_message = only.hint
                self.request_schema = None
                parse = _parser(only.hint)
                self.read = lambda data: {key: parse(data)}
                key = only.name
                return
            if self._is_stream(only.hint, _STREAM_IN):
                self._compile_request_stream(only)
                return
        compiler = Compiler()
        fields = Fields()
        for parameter in parameters:
            if self._is_stream(parameter.hint, _STREAM_IN[:3]) or parameter.hint is Stream:
                raise HintError(
                    f"command {self.name}: parameter {parameter.name} is a stream of requests, so it must be the only one "
                    f"(beside call); send what else there is in the metadata or in the first message"
                )
            type = self._compile(compiler, parameter.hint, f"parameter {parameter.name}")
            if not parameter.required:
                type = with_default(type, parameter.default)
            fields.add(parameter.name, type, parameter.required)
        if rest is not None:
            fields.rest = self._compile(compiler, rest, "**keywords")
        check = fields.compile(f"an argument of {self.name}")

        def read(data: bytes) -> dict[str, Any]:
            try:
                arguments: dict[str, Any] = check(loads(data.decode()) if data else {})
                return arguments
            except Mismatch as mismatch:
                raise Error(INVALID_ARGUMENT, str(mismatch), id="S1030") from None
            except (ValueError, RecursionError) as error:
                raise not_json(error) from None

        self.read = read
        root = fields.schema()
        self.request_schema = self._document(compiler, root)

    def _compile_request_stream(self, parameter: Any) -> None:
        self.stream_parameter = parameter.name
        self.read = lambda data: {}
        arguments = getattr(parameter.hint, "__args__", None)
        hint = arguments[0] if arguments else object
        if hint is bytes:
            self.read_stream = lambda data, index: data
            self.request_schema = None
            return
        if is_message(hint):
            self.request_message = hint
            self.request_schema = None
            parse = _parser(hint)
            self.read_stream = lambda data, index: parse(data)
            return
        compiler = Compiler()
        type = self._compile(compiler, hint, f"parameter {parameter.name}")
        check = type.check

        def read_stream(data: bytes, index: int) -> Any:
            try:
                return check(loads(data.decode()) if data else {})
            except Mismatch as mismatch:
                mismatch.path.insert(0, index)
                mismatch.path.insert(0, parameter.name)
                raise Error(INVALID_ARGUMENT, str(mismatch), id="S1030") from None
            except (ValueError, RecursionError) as error:
                raise not_json(error) from None

        self.read_stream = read_stream
        self.request_schema = compiler.document(type)

    def _compile_response(self, hint: Any) -> None:
        if self.kind in (SYNC_GENERATOR, ASYNC_GENERATOR) and self._is_stream(hint, _STREAM_OUT):
            arguments = getattr(hint, "__args__", None)
            hint = arguments[0] if arguments else object
        if hint is bytes or hint is bytearray or hint is memoryview:
            self.response_schema: Any = None
            return
        if is_message(hint):
            self.response_message = hint
            self.response_schema = None
            return
        compiler = Compiler()
        try:
            type = self._compile(compiler, hint, "the answer")
        except HintError:
            # An answer is written as what it is; a hint that says more than JSON can is no error.
            type = ANY
        self.response_schema = self._document(compiler, type.schema)

    def _check_messages(self) -> None:
        """A handler works with protobuf on both sides, or on none; raw bytes may stand on one of them."""
        request, response = self.request_message, self.response_message
        if request is not None and response is None and self.response_schema is not None:
            raise HintError(
                f"command {self.name}: it takes the protobuf message {request.DESCRIPTOR.full_name}, so it must answer one "
                f"too: write `-> {request.__name__}`, or whichever it is"
            )
        if response is not None and request is None:
            if self.request_schema is not None:
                raise HintError(
                    f"command {self.name}: it answers the protobuf message {response.DESCRIPTOR.full_name}, so its only "
                    f"parameter (beside call) must be a protobuf message too"
                )
            self.is_proto = True

    def _document(self, compiler: Compiler, root: dict[str, Any]) -> dict[str, Any]:
        from ._types import Type

        return compiler.document(Type(ANY.check, root, "", ()))

    def _compile(self, compiler: Compiler, hint: Any, where: str) -> Any:
        try:
            return compiler.compile(hint)
        except HintError as error:
            raise HintError(f"command {self.name}: {where}: {error}") from None

    @staticmethod
    def _is_stream(hint: Any, names: tuple[str, ...]) -> bool:
        origin = getattr(hint, "__origin__", hint)
        if origin is Stream:
            return "Stream" in names
        return getattr(origin, "__module__", "") in ("collections.abc", "typing") and getattr(
            origin, "__name__", ""
        ) in names

    @property
    def is_async(self) -> bool:
        return self.kind >= ASYNC

    def definition(self) -> dict[str, Any]:
        """As describe tells it to the node."""
        streams_out = self.kind in (SYNC_GENERATOR, ASYNC_GENERATOR)
        streams_in = bool(self.stream_parameter)
        out: dict[str, Any] = {
            "effect": self.effect,
            "stream": ("both" if streams_out else "client") if streams_in else ("server" if streams_out else "unary"),
        }
        if self.description:
            out["description"] = self.description
        if self.request_schema is not None:
            out["request"] = self.request_schema
        if self.response_schema is not None:
            out["response"] = self.response_schema
        if self.is_proto:
            out["encoding"] = "proto"
            if self.request_message is not None and self.response_message is not None:
                out["request-message"] = self.request_message.DESCRIPTOR.full_name
                out["response-message"] = self.response_message.DESCRIPTOR.full_name
        if self.timeout is not None:
            out["timeout"] = self.timeout
        if not self.is_async:
            out["blocking"] = True
        return out


def not_json(error: BaseException) -> Error:
    what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return Error(INVALID_ARGUMENT, f"the request is not JSON: {what}", id="S1030")


def is_message(hint: Any) -> bool:
    """Whether it is a class that protoc generated. By what it can do: the package protobuf is not ours to import."""
    return (
        isinstance(hint, type)
        and hasattr(hint, "DESCRIPTOR")
        and hasattr(hint, "FromString")
        and hasattr(hint, "SerializeToString")
    )


def _parser(message: Any) -> Callable[[bytes], Any]:
    from_string = message.FromString
    name = message.DESCRIPTOR.full_name

    def parse(data: bytes) -> Any:
        try:
            return from_string(data)
        except Exception as error:
            raise Error(INVALID_ARGUMENT, f"these bytes are no {name}: {error}", id="S1041") from None

    return parse


def descriptors_of(commands: Any) -> list[str]:
    """The files that the commands' messages are declared in, serialized, each after those that it imports; as base64."""
    from binascii import b2a_base64

    out: dict[str, str] = {}

    def add(file: Any) -> None:
        if file.name in out or file.name.startswith("google/protobuf/"):
            return
        for each in file.dependencies:
            add(each)
        out[file.name] = b2a_base64(file.serialized_pb, newline=False).decode("ascii")

    for command in commands:
        for message in (command.request_message, command.response_message):
            if message is not None:
                add(message.DESCRIPTOR.file)
    return list(out.values())
