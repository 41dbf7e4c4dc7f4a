"""JSON, quickly: the interpreter's own C scanner and encoder, made once, and used without the package's conveniences.

A worker's start and each of its calls pay for what is imported and done here, so `json` itself is a fallback only: for
interpreters without the C parts, and for texts with white space around them. NaN and the infinities are refused both ways.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


class _Options:
    """What the C scanner reads of a JSONDecoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)


def _slow_loads(text: str) -> Any:
    import json

    return json.loads(text, parse_constant=_refuse_constant)


def default(value: Any) -> Any:
    """What JSON does not know itself, as something that it does. Raises TypeError naming the type."""
    kind = type(value)
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        out = {name: getattr(value, name) for name, field in fields.items() if field._field_type.name == "_FIELD"}
        return renamed(out) if any(name.endswith("_") for name in out) else out
    convert = _conversions.get(kind.__module__)
    if convert is not None:
        found = convert(value)
        if found is not None:
            return found
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        from binascii import b2a_base64

        return b2a_base64(value, newline=False).decode("ascii")
    if hasattr(kind, "__members__") and hasattr(value, "value"):  # an Enum, without the import
        return value.value
    if hasattr(kind, "keys") and hasattr(kind, "__getitem__"):  # a Mapping
        return {key: value[key] for key in value.keys()}
    raise TypeError(f"a value of type {type_name(kind)} can't be written as JSON")


def renamed(values: dict[str, Any]) -> dict[str, Any]:
    """With the names that they have in JSON: `from_` is "from"."""
    from ._types import json_name

    return {json_name(name): value for name, value in values.items()}


def _datetime(value: Any) -> Any:
    text = getattr(value, "isoformat", None)
    return text() if text is not None else None


def _uuid(value: Any) -> Any:
    return str(value) if type(value).__name__ == "UUID" else None


_conversions = {"datetime": _datetime, "uuid": _uuid}


def type_name(kind: type) -> str:
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"


try:
    from _json import encode_basestring as _encode_string, make_encoder as _make_encoder, make_scanner as _make_scanner

    _scan = _make_scanner(_Options)  # type: ignore[arg-type]
    _encode = _make_encoder(None, default, _encode_string, None, ":", ",", False, False, False)

    def loads(text: str) -> Any:
        """The value of a JSON text. Raises ValueError (or RecursionError for one that is nested too deeply)."""
        try:
            value, end = _scan(text, 0)
        except (StopIteration, SystemError):
            # The scanner takes its error's type from json.decoder, and fails with a SystemError where nobody has
            # imported that yet; the package imports it, and tells what is wrong.
            return _slow_loads(text)
        return value if end == len(text) else _slow_loads(text)

    def dumps(value: Any) -> bytes:
        """The JSON text of a value, as UTF-8. Raises TypeError, ValueError or RecursionError."""
        return "".join(_encode(value, 0)).encode()

    if dumps({"a": [1, "b", None, 1.5]}) != b'{"a":[1,"b",null,1.5]}' or loads('{"a":[1]}') != {"a": [1]}:
        raise ImportError("the interpreter's JSON parts differ from what this file knows")
except (ImportError, TypeError, AttributeError):  # another interpreter, or a later one
    import json as _json_package

    _encoder = _json_package.JSONEncoder(default=default, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    loads = _slow_loads

    def dumps(value: Any) -> bytes:
        return _encoder.encode(value).encode()


def kind_of(value: Any) -> str:
    """How the value is called in JSON, with its article, for error messages."""
    kind = type(value)
    found = _kinds.get(kind)
    if found is not None:
        return found
    return type_name(kind)


_kinds = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}
