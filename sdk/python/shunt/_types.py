"""Type hints -> what checks and converts a JSON value, and the JSON Schema (2020-12) that says the same.

Compiled once, when a command is registered. A check returns the value to hand to the handler, or raises Mismatch; paths
are built on the way out of a failure only, so that a value which fits costs nothing but its checks. Heavy modules
(typing, datetime) are imported only when a hint needs them: a worker's start pays for each.
"""

from __future__ import annotations

from ._json import kind_of, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Check = Callable[[Any], Any]

_NONE = type(None)
_CODE_VARARGS = 0x04
_CODE_VARKEYWORDS = 0x08


class Mismatch(Exception):
    """A value is not what the hint says. `path` is where, from the outside in."""

    def __init__(self, text: str, *path: str | int) -> None:
        self.text = text
        self.path: list[str | int] = list(path)

    def __str__(self) -> str:
        return f"{self.where() or 'the request'}: {self.text}"

    def where(self) -> str:
        out = ""
        for step in self.path:
            if isinstance(step, int):
                out += f"[{step}]"
            elif step.isidentifier():
                out += f".{step}" if out else step
            else:
                out += f"[{step!r}]"
        return out


class HintError(TypeError):
    """A hint that no JSON value can be checked against. Raised when a command is registered."""


class Field:
    """`Annotated[int, shunt.Field(3)]`: the parameter or field has the number 3 in protobuf messages, whatever its name."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        if type(number) is not int or not (1 <= number < 2**29) or 19000 <= number <= 19999:
            raise HintError(f"a field's number is 1 to {2**29 - 1}, without 19000 to 19999; found {number!r}")
        self.number = number

    def __repr__(self) -> str:
        return f"shunt.Field({self.number})"


class Type:
    """One compiled hint."""

    __slots__ = ("check", "expected", "kinds", "schema")

    def __init__(self, check: Check, schema: dict[str, Any], expected: str, kinds: tuple[type, ...]) -> None:
        self.check = check
        self.schema = schema
        self.expected = expected  # "an integer"
        self.kinds = kinds  # the Python types of JSON that it may accept


_ALL = (_NONE, bool, int, float, str, list, dict)


def _any(value: Any) -> Any:
    return value


def _wrong(expected: str, value: Any) -> Mismatch:
    return Mismatch(f"expected {expected}, found {kind_of(value)}")


def _check_int(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is float:
        if value.is_integer():  # JSON has one kind of number: 2.0 is an integer
            return int(value)
        raise Mismatch("expected an integer, found a number that is not whole")
    raise _wrong("an integer", value)


def _check_float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise Mismatch("is too large for a number") from None
    raise _wrong("a number", value)


def _check_str(value: Any) -> str:
    if type(value) is str:
        return value
    raise _wrong("a string", value)


def _check_bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise _wrong("a boolean", value)


def _check_none(value: Any) -> None:
    if value is None:
        return None
    raise _wrong("null", value)


def _check_dict(value: Any) -> dict[str, Any]:
    if type(value) is dict:
        return value
    raise _wrong("an object", value)


def _check_list(value: Any) -> list[Any]:
    if type(value) is list:
        return value
    raise _wrong("an array", value)


def _check_base64(value: Any) -> bytes:
    if type(value) is not str:
        raise _wrong("a base64 string", value)
    from binascii import Error, a2b_base64

    try:
        return a2b_base64(value.encode("ascii"), strict_mode=True)
    except (Error, UnicodeEncodeError):
        raise Mismatch("expected a base64 string, found another string") from None


ANY = Type(_any, {}, "anything", _ALL)
_simple: dict[Any, Type] = {
    int: Type(_check_int, {"type": "integer"}, "an integer", (int,)),
    float: Type(_check_float, {"type": "number"}, "a number", (float, int)),
    str: Type(_check_str, {"type": "string"}, "a string", (str,)),
    bool: Type(_check_bool, {"type": "boolean"}, "a boolean", (bool,)),
    None: Type(_check_none, {"type": "null"}, "null", (_NONE,)),
    _NONE: Type(_check_none, {"type": "null"}, "null", (_NONE,)),
    dict: Type(_check_dict, {"type": "object"}, "an object", (dict,)),
    list: Type(_check_list, {"type": "array"}, "an array", (list,)),
    object: ANY,
    bytes: Type(
        _check_base64, {"type": "string", "contentEncoding": "base64"}, "a base64 string", (str,)
    ),
}


def _list_of(item: Type) -> Check:
    check = item.check
    if check is _any:
        return _check_list

    def check_list(value: Any) -> list[Any]:
        if type(value) is not list:
            raise _wrong("an array", value)
        try:
            return [check(element) for element in value]
        except Mismatch:
            pass
        # Once more, to learn which it was.
        for index, element in enumerate(value):
            try:
                check(element)
            except Mismatch as mismatch:
                mismatch.path.insert(0, index)
                raise
        raise AssertionError("a check answered twice differently")

    return check_list


def _set_of(item: Type, make: type) -> Check:
    check_list = _list_of(item)

    def check_set(value: Any) -> Any:
        values = check_list(value)
        try:
            out = make(values)
        except TypeError:
            raise Mismatch("expected values that a set can hold, found arrays or objects") from None
        if len(out) != len(values):
            raise Mismatch("expected different values, found the same twice")
        return out

    return check_set


def _dict_of(item: Type) -> Check:
    check = item.check
    if check is _any:
        return _check_dict

    def check_dict(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise _wrong("an object", value)
        out = {}
        for key, element in value.items():
            try:
                out[key] = check(element)
            except Mismatch as mismatch:
                mismatch.path.insert(0, key)
                raise
        return out

    return check_dict


def _tuple_of(items: list[Type], make: Check) -> Check:
    checks = [item.check for item in items]
    expected = f"an array of {len(items)}"

    def check_tuple(value: Any) -> Any:
        if type(value) is not list:
            raise _wrong("an array", value)
        if len(value) != len(checks):
            raise Mismatch(f"expected {expected}, found one of {len(value)}")
        out = []
        for index, check in enumerate(checks):
            try:
                out.append(check(value[index]))
            except Mismatch as mismatch:
                mismatch.path.insert(0, index)
                raise
        return make(out)

    return check_tuple


def _choices(values: dict[tuple[type, Any], Any], shown: str) -> Check:
    def check_choice(value: Any) -> Any:
        kind = type(value)
        if kind not in (list, dict):
            found = values.get((kind, value), values)
            if found is not values:
                return found
        given = repr(value) if kind in (str, int, float) else kind_of(value)
        raise Mismatch(f"expected {shown}, found {given[:80]}")

    return check_choice


def nearest(wrong: str, known: Any) -> str:
    """'; did you mean "x"?' or ''."""
    from difflib import get_close_matches

    found = get_close_matches(wrong, list(known), 1)
    return f'; did you mean "{found[0]}"?' if found else ""


def json_name(name: str) -> str:
    """How a Python name is written in JSON: `from_` is "from", since no parameter can have a keyword's name."""
    if name.endswith("_"):
        from keyword import iskeyword

        if iskeyword(name[:-1]):
            return name[:-1]
    return name


class Fields:
    """The properties of an object: a command's arguments, a dataclass, a TypedDict."""

    __slots__ = ("names", "rest", "table")

    def __init__(self) -> None:
        self.table: list[tuple[str, Type, bool]] = []  # name in JSON, type, required
        self.names: dict[str, str] = {}  # name in JSON -> in Python
        self.rest: Type | None = None  # of **kwargs

    def add(self, name: str, type: Type, required: bool, key: str = "") -> None:
        key = key or json_name(name)
        self.table.append((key, type, required))
        self.names[key] = name

    def compile(self, noun: str) -> Check:
        check_fields = self._compile(noun)
        renamed = {key: name for key, name in self.names.items() if key != name}
        if not renamed:
            return check_fields
        return lambda value: {renamed.get(key, key): each for key, each in check_fields(value).items()}

    def _compile(self, noun: str) -> Check:
        table = [(name, type.check, required) for name, type, required in self.table]
        rest = self.rest.check if self.rest is not None else None

        def check_fields(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise _wrong("an object", value)
            out = {}
            for name, check, required in table:
                if name in value:
                    try:
                        out[name] = check(value[name])
                    except Mismatch as mismatch:
                        mismatch.path.insert(0, name)
                        raise
                elif required:
                    raise Mismatch(f"is missing: expected {self.expected(name)}", name)
            if len(out) != len(value):
                for name, element in value.items():
                    if name in out:
                        continue
                    if rest is None:
                        raise Mismatch(f"is not {noun}{nearest(name, self.names) or self.listed()}", name)
                    try:
                        out[name] = rest(element)
                    except Mismatch as mismatch:
                        mismatch.path.insert(0, name)
                        raise
            return out

        return check_fields

    def expected(self, name: str) -> str:
        return next(type.expected for known, type, _ in self.table if known == name)

    def listed(self) -> str:
        return f"; there are: {', '.join(name for name, _, _ in self.table)}" if self.table else "; there are none"

    def schema(self) -> dict[str, Any]:
        out: dict[str, Any] = {"type": "object"}
        if self.table:
            out["properties"] = {name: type.schema for name, type, _ in self.table}
        required = [name for name, _, required in self.table if required]
        if required:
            out["required"] = required
        out["additionalProperties"] = False if self.rest is None else (self.rest.schema or True)
        return out


class Compiler:
    """Compiles the hints of one schema document; classes become its $defs."""

    def __init__(self) -> None:
        self.definitions: dict[str, dict[str, Any]] = {}
        self._classes: dict[Any, Type] = {}

    def document(self, type: Type) -> dict[str, Any]:
        """The type's schema, whole."""
        if not self.definitions:
            return type.schema
        used: dict[str, Any] = {}
        self._collect(type.schema, used)
        return {**type.schema, "$defs": used} if used else type.schema

    def _collect(self, schema: Any, used: dict[str, Any]) -> None:
        if isinstance(schema, dict):
            name = schema.get("$ref", "").removeprefix("#/$defs/") if isinstance(schema.get("$ref"), str) else ""
            if name and name not in used:
                used[name] = self.definitions[name]
                self._collect(used[name], used)
            for part in schema.values():
                self._collect(part, used)
        elif isinstance(schema, list):
            for part in schema:
                self._collect(part, used)

    def compile(self, hint: Any) -> Type:
        try:
            found = _simple.get(hint)
        except TypeError:  # not hashable: Annotated[int, []]
            found = None
        if found is not None:
            return found
        origin = getattr(hint, "__origin__", None)
        if origin is not None:
            return self._generic(hint, origin, getattr(hint, "__args__", ()))
        if isinstance(hint, type) and hint.__module__ != "typing":  # Any is a class, of all things
            return self._class(hint)
        return self._special(hint)

    # Generics: list[int], Optional[str], Annotated[...]

    def _generic(self, hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Type:
        metadata = getattr(hint, "__metadata__", None)
        if metadata is not None:  # Annotated
            inner = self.compile(origin)
            said: dict[str, Any] = {}
            for part in metadata:
                if isinstance(part, str):
                    said.setdefault("description", part)
                elif isinstance(part, Field):
                    said["x-proto-field"] = part.number
            if not said:
                return inner
            return Type(inner.check, {**inner.schema, **said}, inner.expected, inner.kinds)
        if origin is list or origin is dict or origin is tuple or origin is set or origin is frozenset:
            return self._container(origin, arguments)
        import collections.abc
        import typing

        if origin is typing.Union:
            return self._union(arguments)
        if origin is typing.Literal:
            return self._literal(arguments)
        if origin in (collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Iterable,
                      collections.abc.Collection):
            return self._container(list, arguments)
        if origin in (collections.abc.Mapping, collections.abc.MutableMapping):
            return self._container(dict, arguments)
        if origin in (collections.abc.Set, collections.abc.MutableSet):
            return self._container(set, arguments)
        if origin in (typing.Required, typing.NotRequired, typing.Final, typing.ClassVar):
            return self.compile(arguments[0])
        if hasattr(hint, "__value__"):  # a generic alias of a `type` statement
            return self.compile(hint.__value__[arguments])
        if isinstance(origin, type):
            return self._class(origin)
        raise HintError(f"the hint {hint!r} has no form in JSON")

    def _container(self, origin: type, arguments: tuple[Any, ...]) -> Type:
        if origin is list:
            item = self.compile(arguments[0]) if arguments else ANY
            schema: dict[str, Any] = {"type": "array"}
            if item.schema:
                schema["items"] = item.schema
            return Type(_list_of(item), schema, "an array", (list,))
        if origin is dict:
            if not arguments:
                return _simple[dict]
            key = arguments[0]
            if key is not str and not (isinstance(key, type) and issubclass(key, str)) and self.compile(key) is not ANY:
                raise HintError(f"an object's keys are strings in JSON: write dict[str, ...], not dict[{_shown(key)}, ...]")
            item = self.compile(arguments[1])
            schema = {"type": "object"}
            if item.schema:
                schema["additionalProperties"] = item.schema
            return Type(_dict_of(item), schema, "an object", (dict,))
        if origin is tuple:
            if not arguments:
                return Type(lambda value: tuple(_check_list(value)), {"type": "array"}, "an array", (list,))
            if len(arguments) == 2 and arguments[1] is Ellipsis:
                inner = self._container(list, arguments[:1])
                check = inner.check
                return Type(lambda value: tuple(check(value)), inner.schema, "an array", (list,))
            return self._tuple([self.compile(argument) for argument in arguments if argument != ()], tuple)
        item = self.compile(arguments[0]) if arguments else ANY
        schema = {"type": "array", "uniqueItems": True}
        if item.schema:
            schema["items"] = item.schema
        return Type(_set_of(item, origin), schema, "an array", (list,))

    def _tuple(self, items: list[Type], make: Check) -> Type:
        schema = {
            "type": "array",
            "prefixItems": [item.schema for item in items],
            "minItems": len(items),
            "maxItems": len(items),
        }
        return Type(_tuple_of(items, make), schema, f"an array of {len(items)}", (list,))

    def _union(self, arguments: tuple[Any, ...]) -> Type:
        members = [self.compile(argument) for argument in arguments]
        if any(member.check is _any for member in members):
            return ANY
        # 5 is an int before it is a float, and a string is a date before it is a str only where the hint says so.
        order = sorted(members, key=lambda member: member.check is _check_float)
        by_kind = {kind: [member.check for member in order if kind in member.kinds] for kind in _ALL}
        if not by_kind[float]:
            by_kind[float] = by_kind[int]  # 2.0 is an integer
        shown = _or([member.expected for member in members])
        kinds = tuple(kind for kind in _ALL if by_kind[kind])

        def check_union(value: Any) -> Any:
            checks = by_kind.get(type(value))
            if not checks:
                raise _wrong(shown, value)
            if len(checks) == 1:
                return checks[0](value)
            deepest = None
            for check in checks:
                try:
                    return check(value)
                except Mismatch as mismatch:
                    if deepest is None or len(mismatch.path) > len(deepest.path):
                        deepest = mismatch
            if deepest is not None and deepest.path:
                raise deepest
            raise Mismatch(f"expected {shown}, found {kind_of(value)} that is none of them")

        simple = all(set(member.schema) == {"type"} for member in members)
        schema: dict[str, Any]
        if simple:
            names = [member.schema["type"] for member in members]
            schema = {"type": [name for name in names if name != "integer" or "number" not in names]}
        else:
            schema = {"anyOf": [member.schema for member in members]}
        return Type(check_union, schema, shown, kinds)

    def _literal(self, arguments: tuple[Any, ...]) -> Type:
        for argument in arguments:
            if type(argument) not in (str, int, bool, _NONE):
                return self._enum_values({argument.value if hasattr(argument, "value") else argument: argument
                                          for argument in arguments}, "Literal")
        return self._enum_values_typed([(argument, argument) for argument in arguments])

    def _enum_values(self, values: dict[Any, Any], where: str) -> Type:
        for value in values:
            if type(value) not in (str, int, float, bool, _NONE):
                raise HintError(f"{where}: the value {value!r} has no form in JSON; use strings or numbers")
        return self._enum_values_typed(list(values.items()))

    def _enum_values_typed(self, values: list[tuple[Any, Any]]) -> Type:
        from ._json import dumps

        shown = _or([dumps(value).decode() for value, _ in values])
        if len(values) > 1:
            shown = f"one of {shown}"
        table = {(type(value), value): member for value, member in values}
        schema = {"const": values[0][0]} if len(values) == 1 else {"enum": [value for value, _ in values]}
        kinds = tuple({type(value) for value, _ in values})
        return Type(_choices(table, shown), schema, shown, kinds)

    # Classes

    def _class(self, kind: type) -> Type:
        found = self._classes.get(kind)
        if found is not None:
            return found
        if hasattr(kind, "__dataclass_fields__"):
            return self._object(kind, self._dataclass_fields)
        if issubclass(kind, dict) and hasattr(kind, "__total__"):
            return self._object(kind, self._typed_dict_fields)
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            hints = _hints(kind)
            make = getattr(kind, "_make")
            out = self._tuple([self.compile(hints.get(name, object)) for name in kind._fields], make)
            out = Type(out.check, {"title": kind.__name__, **out.schema}, out.expected, out.kinds)
            self._classes[kind] = out
            return out
        if hasattr(kind, "__members__"):
            members = {member.value: member for member in kind}  # type: ignore[attr-defined]
            out = self._enum_values(members, type_name(kind))
            out = Type(out.check, {"title": kind.__name__, **out.schema}, out.expected, out.kinds)
            self._classes[kind] = out
            return out
        if kind is tuple or kind is set or kind is frozenset:
            return self._container(kind, ())
        if kind.__module__ == "datetime" or kind.__module__ == "uuid":
            found = _text_type(kind)
            if found is not None:
                return found
        raise HintError(
            f"the type {type_name(kind)} has no form in JSON; use int, float, str, bool, None, list, dict, tuple, set, "
            f"Literal, Enum, datetime, UUID, a dataclass, a TypedDict or a NamedTuple"
        )

    def _object(self, kind: type, fill: Callable[[type, Fields], Check]) -> Type:
        name = kind.__name__
        while name in self.definitions:  # another class of the same name
            name += "_"
        self.definitions[name] = {}
        # Entered before its fields are compiled: a class may hold itself.
        check: list[Check] = [_any]
        out = Type(lambda value: check[0](value), {"$ref": f"#/$defs/{name}"}, f"an object ({kind.__name__})", (dict,))
        self._classes[kind] = out
        fields = Fields()
        make = fill(kind, fields)
        check_fields = fields.compile(f"a field of {kind.__name__}")
        check[0] = check_fields if make is _any else lambda value: make(check_fields(value))
        out.check = check[0]
        schema = {"title": kind.__name__, **fields.schema()}
        text = clean_docstring(kind.__doc__)
        if text and not text.startswith(f"{kind.__name__}("):  # dataclasses write their signature as a docstring
            schema["description"] = text
        self.definitions[name].update(schema)
        return out

    def _dataclass_fields(self, kind: type, fields: Fields) -> Check:
        from dataclasses import MISSING

        hints = _hints(kind)
        for name, field in kind.__dataclass_fields__.items():  # type: ignore[attr-defined]
            if field._field_type.name != "_FIELD" or not field.init:
                continue
            required = field.default is MISSING and field.default_factory is MISSING
            type = self.compile(hints.get(name, object))
            if field.default is not MISSING:
                type = with_default(type, field.default)
            fields.add(name, type, required)

        def make(values: dict[str, Any]) -> Any:
            try:
                return kind(**values)
            except ValueError as error:  # a __post_init__ that looks closer than a hint can
                raise Mismatch(str(error) or f"is not a valid {kind.__name__}") from None

        return make

    def _typed_dict_fields(self, kind: type, fields: Fields) -> Check:
        required: frozenset[str] = getattr(kind, "__required_keys__", frozenset())
        hints = _hints(kind)
        # Under `from __future__ import annotations` the class itself can't see Required and NotRequired.
        import typing

        for name, hint in hints.items():
            needed = name in required
            origin = getattr(hint, "__origin__", None)
            if origin is typing.Required or origin is typing.NotRequired:
                needed = origin is typing.Required
            fields.add(name, self.compile(hint), needed, name)
        return _any

    def _special(self, hint: Any) -> Type:
        if hasattr(hint, "__supertype__"):  # NewType
            return self.compile(hint.__supertype__)
        if hasattr(hint, "__value__"):  # a `type` statement
            return self.compile(hint.__value__)
        if type(hint).__name__ == "UnionType":  # int | None
            return self._union(hint.__args__)
        import typing

        if hint is typing.Any:
            return ANY
        if isinstance(hint, typing.TypeVar):
            return self.compile(hint.__bound__) if hint.__bound__ is not None else ANY
        raise HintError(f"the hint {hint!r} has no form in JSON")


def with_default(type: Type, value: Any) -> Type:
    """The type with its default in the schema, where the default has a form in JSON."""
    from ._json import dumps, loads

    try:
        shown = loads(dumps(value).decode())
    except (TypeError, ValueError, RecursionError):
        return type
    return Type(type.check, {**type.schema, "default": shown}, type.expected, type.kinds)


def _text_type(kind: type) -> Type | None:
    import datetime

    if kind is datetime.datetime:

        def check_datetime(value: Any) -> Any:
            if type(value) is not str:
                raise _wrong("a date and time", value)
            try:
                out = datetime.datetime.fromisoformat(value)
            except ValueError:
                out = None
            if out is None or out.tzinfo is None:
                raise Mismatch(f"expected a date and time with its offset, such as 2026-01-31T12:00:00Z, found {value[:40]!r}")
            return out

        return Type(check_datetime, {"type": "string", "format": "date-time"}, "a date and time", (str,))
    if kind is datetime.date:
        return _parsed(datetime.date.fromisoformat, "date", "a date such as 2026-01-31")
    if kind is datetime.time:
        return _parsed(datetime.time.fromisoformat, "time", "a time such as 12:00:00Z")
    if kind.__name__ == "UUID":
        return _parsed(kind, "uuid", "a UUID")
    return None


def _parsed(parse: Callable[[str], Any], format: str, expected: str) -> Type:
    def check(value: Any) -> Any:
        if type(value) is not str:
            raise _wrong(expected, value)
        try:
            return parse(value)
        except ValueError:
            raise Mismatch(f"expected {expected}, found {value[:40]!r}") from None

    return Type(check, {"type": "string", "format": format}, expected, (str,))


def _shown(hint: Any) -> str:
    return type_name(hint) if isinstance(hint, type) else repr(hint)


def _or(words: list[str]) -> str:
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _hints(thing: Any) -> dict[str, Any]:
    """The annotations of a class or function, evaluated."""
    annotations = getattr(thing, "__annotations__", None) or {}
    if not isinstance(thing, type) and all(_is_plain(hint) for hint in annotations.values()):
        return annotations
    import typing

    try:
        return typing.get_type_hints(thing, include_extras=True)
    except NameError as error:
        raise HintError(f"a hint of {thing.__qualname__} names {error.name!r}, which does not exist when it runs") from None


def _is_plain(hint: Any) -> bool:
    """True when no string hides in the hint: it needs no evaluation, and no `import typing`."""
    if isinstance(hint, str):
        return False
    arguments = getattr(hint, "__args__", None)
    if arguments is None:
        return hint is None or isinstance(hint, type)
    return all(_is_plain(argument) or argument is Ellipsis for argument in arguments)


def clean_docstring(text: str | None) -> str:
    """The docstring without its indentation."""
    if not text:
        return ""
    lines = text.expandtabs().splitlines()
    margins = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    margin = min(margins, default=0)
    return "\n".join([lines[0].strip(), *(line[margin:].rstrip() for line in lines[1:])]).strip()


class Parameter:
    """One parameter of a function, as far as a call by keyword needs it."""

    __slots__ = ("default", "hint", "name", "required")

    def __init__(self, name: str, hint: Any, required: bool, default: Any) -> None:
        self.name = name
        self.hint = hint
        self.required = required
        self.default = default


def parameters_of(function: Any) -> tuple[list[Parameter], Any, Any]:
    """The function's parameters, the hint of its **keywords (or None) and of what it returns (or `object`).

    For plain functions without `inspect`, whose import would cost a worker's start several milliseconds.
    """
    code = getattr(function, "__code__", None)
    if code is None:
        return _parameters_by_inspection(function)
    name = function.__qualname__
    hints = _hints(function)
    count = code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames
    if code.co_posonlyargcount and names[0] != "call" or code.co_posonlyargcount > 1:
        raise HintError(f"{name}: arguments come by name, so there can't be positional-only parameters (before the /)")
    if code.co_flags & _CODE_VARARGS:
        raise HintError(f"{name}: arguments come by name, so there can't be *{names[count]}")
    defaults = dict(zip(names[: code.co_argcount][::-1], (function.__defaults__ or ())[::-1]))
    defaults.update(function.__kwdefaults__ or {})
    out = [
        Parameter(each, hints.get(each, object), each not in defaults, defaults.get(each)) for each in names[:count]
    ]
    rest = None
    if code.co_flags & _CODE_VARKEYWORDS:
        rest = hints.get(names[count], object)
    return out, rest, hints.get("return", object)


def _parameters_by_inspection(function: Any) -> tuple[list[Parameter], Any, Any]:
    import inspect

    signature = inspect.signature(function)
    target = function if hasattr(function, "__annotations__") else type(function).__call__
    hints = _hints(target)
    out = []
    rest = None
    for name, parameter in signature.parameters.items():
        hint = hints.get(name, object)
        if parameter.kind is parameter.VAR_KEYWORD:
            rest = hint
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise HintError(f"{function!r}: arguments come by name, so there can't be positional parameters")
        else:
            required = parameter.default is parameter.empty
            out.append(Parameter(name, hint, required, None if required else parameter.default))
    return out, rest, hints.get("return", object)
