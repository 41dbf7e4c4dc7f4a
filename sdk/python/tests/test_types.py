"""Hints: what fits, what does not and how that is said, and the schema that says the same."""

import dataclasses
import datetime
import enum
import typing
import uuid
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypedDict, Union

import pytest
import shunt
from shunt._types import Compiler, HintError, Mismatch


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Item:
    """One line of a cart."""

    sku: str
    count: int = 1
    notes: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self):
        if self.count < 1:
            raise ValueError("count must be at least 1")


@dataclasses.dataclass
class Node:
    value: int
    children: list["Node"] = dataclasses.field(default_factory=list)


class Point(NamedTuple):
    x: int
    y: float


class Options(TypedDict, total=False):
    colour: typing.Required[Colour]
    size: int


def check(hint, value):
    return Compiler().compile(hint).check(value)


def schema(hint):
    compiler = Compiler()
    return compiler.document(compiler.compile(hint))


def wrong(hint, value):
    with pytest.raises(Mismatch) as caught:
        check(hint, value)
    return str(caught.value)


@pytest.mark.parametrize(
    "hint, given, taken",
    [
        (int, 5, 5),
        (int, 5.0, 5),
        (int, 10**30, 10**30),
        (float, 5, 5.0),
        (float, 1.5, 1.5),
        (str, "é", "é"),
        (bool, True, True),
        (None, None, None),
        (Any, {"a": [1]}, {"a": [1]}),
        (object, 3, 3),
        (list, [1, "a"], [1, "a"]),
        (list[int], [1, 2.0], [1, 2]),
        (dict, {"a": 1}, {"a": 1}),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (dict[str, Any], {"a": 1}, {"a": 1}),
        (tuple, [1], (1,)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
        (set[int], [1, 2], {1, 2}),
        (Optional[int], None, None),
        (int | None, 4, 4),
        (Union[int, str], "a", "a"),
        (float | int, 5, 5),
        (float | int, 5.5, 5.5),
        (int | str, 2.0, 2),
        (Literal["a", "b", 3, None], "b", "b"),
        (Literal["a", "b", 3, None], None, None),
        (Colour, "red", Colour.RED),
        (Level, 2, Level.HIGH),
        (Item, {"sku": "tea"}, Item("tea")),
        (list[Item], [{"sku": "tea", "count": 2, "notes": ["x"]}], [Item("tea", 2, ["x"])]),
        (Node, {"value": 1, "children": [{"value": 2}]}, Node(1, [Node(2)])),
        (Point, [1, 2], Point(1, 2.0)),
        (Options, {"colour": "red"}, {"colour": Colour.RED}),
        (bytes, "aGk=", b"hi"),
        (Annotated[int, "How many"], 3, 3),
        (typing.NewType("Id", int), 3, 3),
        (typing.Sequence[int], [1], [1]),
        (typing.Mapping[str, int], {"a": 1}, {"a": 1}),
        (datetime.date, "2026-01-31", datetime.date(2026, 1, 31)),
        (
            datetime.datetime,
            "2026-01-31T12:00:00Z",
            datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc),
        ),
        (
            uuid.UUID,
            "12345678-1234-5678-1234-567812345678",
            uuid.UUID("12345678-1234-5678-1234-567812345678"),
        ),
    ],
)
def test_what_fits_is_converted(hint, given, taken):
    found = check(hint, given)
    assert found == taken
    assert type(found) is type(taken)


@pytest.mark.parametrize(
    "hint, given, text",
    [
        (int, "5", "expected an integer, found a string"),
        (int, True, "expected an integer, found a boolean"),
        (int, 1.5, "expected an integer, found a number that is not whole"),
        (int, None, "expected an integer, found null"),
        (float, False, "expected a number, found a boolean"),
        (float, 10**400, "is too large for a number"),
        (str, 5, "expected a string, found an integer"),
        (bool, 1, "expected a boolean, found an integer"),
        (list[int], {}, "expected an array, found an object"),
        (tuple[int, str], [1], "expected an array of 2, found one of 1"),
        (set[int], [1, 1], "expected different values, found the same twice"),
        (set[Any], [[]], "expected values that a set can hold, found arrays or objects"),
        (int | None, "x", "expected an integer or null, found a string"),
        (Literal["a", "b"], "c", "expected one of \"a\" or \"b\", found 'c'"),
        (Literal[1], True, "expected 1, found a boolean"),
        (Colour, "blue", "expected one of \"red\" or \"green\", found 'blue'"),
        (Colour, ["red"], "expected one of \"red\" or \"green\", found an array"),
        (bytes, "a", "expected a base64 string, found another string"),
        (datetime.datetime, "2026-01-31T12:00:00", "expected a date and time with its offset"),
        (datetime.date, "x", "expected a date such as 2026-01-31, found 'x'"),
        (uuid.UUID, "x", "expected a UUID, found 'x'"),
        (Item, {"sku": "a", "count": 0}, "count must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused_and_says_why(hint, given, text):
    assert text in wrong(hint, given)


@pytest.mark.parametrize(
    "hint, given, path",
    [
        (list[int], [1, "x"], "[1]"),
        (dict[str, list[int]], {"a b": [0, None]}, "['a b'][1]"),
        (list[Item], [{"sku": "a"}, {"sku": "b", "count": "2"}], "[1].count"),
        (list[Item], [{"skew": "a"}], "[0].sku"),
        (list[Item], [{"sku": "a", "cuont": 1}], "[0].cuont"),
        (Node, {"value": 1, "children": [{"value": 2, "children": [{}]}]}, "children[0].children[0].value"),
        (tuple[int, str], [1, 2], "[1]"),
        (Item | list[int], {"sku": 3}, "sku"),
        (Options, {"size": 1}, "colour"),
    ],
)
def test_a_failure_names_its_place(hint, given, path):
    assert wrong(hint, given).startswith(f"{path}: ")


def test_an_unknown_field_names_the_nearest():
    assert wrong(Item, {"sku": "a", "cuont": 1}) == 'cuont: is not a field of Item; did you mean "count"?'
    assert wrong(Item, {"sku": "a", "zzz": 1}) == "zzz: is not a field of Item; there are: sku, count, notes"


@pytest.mark.parametrize(
    "hint, expected",
    [
        (int, {"type": "integer"}),
        (Any, {}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (int | None, {"type": ["integer", "null"]}),
        (int | float, {"type": ["number"]}),
        (Literal["a", "b"], {"enum": ["a", "b"]}),
        (Literal["a"], {"const": "a"}),
        (Colour, {"title": "Colour", "enum": ["red", "green"]}),
        (set[str], {"type": "array", "uniqueItems": True, "items": {"type": "string"}}),
        (
            tuple[int, str],
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
        ),
        (Annotated[int, "How many"], {"type": "integer", "description": "How many"}),
        (Annotated[int, shunt.Field(3)], {"type": "integer", "x-proto-field": 3}),
        (Annotated[str, shunt.Field(4), "Why"], {"type": "string", "x-proto-field": 4, "description": "Why"}),
        (datetime.datetime, {"type": "string", "format": "date-time"}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (
            Item | None,
            {
                "anyOf": [{"$ref": "#/$defs/Item"}, {"type": "null"}],
                "$defs": {
                    "Item": {
                        "title": "Item",
                        "type": "object",
                        "properties": {
                            "sku": {"type": "string"},
                            "count": {"type": "integer", "default": 1},
                            "notes": {"type": "array", "items": {"type": "string"}},
                        },
                        "required": ["sku"],
                        "additionalProperties": False,
                        "description": "One line of a cart.",
                    }
                },
            },
        ),
        (
            Options,
            {
                "$ref": "#/$defs/Options",
                "$defs": {
                    "Options": {
                        "title": "Options",
                        "type": "object",
                        "properties": {
                            "colour": {"title": "Colour", "enum": ["red", "green"]},
                            "size": {"type": "integer"},
                        },
                        "required": ["colour"],
                        "additionalProperties": False,
                    }
                },
            },
        ),
    ],
)
def test_schema(hint, expected):
    assert schema(hint) == expected


def test_a_class_that_holds_itself_refers_to_itself():
    found = schema(Node)
    assert found["$ref"] == "#/$defs/Node"
    assert found["$defs"]["Node"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}


def test_two_classes_of_one_name_are_kept_apart():
    def make(kind):
        @dataclasses.dataclass
        class Thing:
            value: kind

        return Thing

    a, b = make(int), make(str)
    found = schema(tuple[a, b])
    assert [part["$ref"] for part in found["prefixItems"]] == ["#/$defs/Thing", "#/$defs/Thing_"]


@pytest.mark.parametrize("hint", [complex, dict[int, str], typing.Callable[[], int], type, Literal[b"x"]])
def test_a_hint_without_a_form_in_json_is_an_error_at_once(hint):
    with pytest.raises(HintError):
        Compiler().compile(hint)


def test_checks_agree_with_a_validator_of_json_schema():
    jsonschema = pytest.importorskip("jsonschema")
    values = [None, True, 1, 1.0, 1.5, "x", "red", [], [1], [1, "a"], [1, 1], {}, {"sku": "a"}, {"sku": 1}, {"value": 1}]
    hints = [int, float, str, bool, None, list[int], dict[str, str], tuple[int, str], int | None, Colour, Item, Node, set[int]]
    for hint in hints:
        validator = jsonschema.Draft202012Validator(schema(hint))
        for value in values:
            try:
                check(hint, value)
                fits = True
            except Mismatch:
                fits = False
            assert fits == validator.is_valid(value), (hint, value)


def test_a_field_number_is_one_that_protobuf_permits():
    for number in (0, -1, 19000, 19999, 2**29, True, "3"):
        with pytest.raises(HintError, match="a field's number is 1 to 536870911, without 19000 to 19999"):
            shunt.Field(number)
