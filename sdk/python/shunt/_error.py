"""shunt.Error: a status, as an exception. Raised by a handler it is the answer; raised by a call it is what came back."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ._code import Code

NAMES = (
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
)
NUMBERS = {name: number for number, name in enumerate(NAMES)}

CANCELLED = 1
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14


def code_number(code: Any) -> int:
    """The number of a code given as shunt.Code, as gRPC's number, or as a name in any case."""
    if isinstance(code, str):
        number = NUMBERS.get(code.lower())
        if number is None:
            raise ValueError(f"{code!r} is no status code; they are: {', '.join(NAMES)}")
        return number
    if isinstance(code, int) and not isinstance(code, bool) and 0 <= code < len(NAMES):
        return int(code)
    raise ValueError(f"{code!r} is no status code: use shunt.Code, or one of: {', '.join(NAMES)}")


class Error(Exception):
    """How a call failed.

    Raise it in a handler to answer that status; catch it around a call to another service to see what that one answered.
    A nested call's error that a handler does not catch becomes the handler's own answer.
    """

    def __init__(
        self, code: Code | str | int, message: str = "", details: Sequence[Any] | None = None, *, id: str = "", retry: int = 0
    ) -> None:
        number = code_number(code)
        if number == 0:
            raise ValueError("an error can't have the code ok; return an answer instead")
        super().__init__(message)
        self._number = number
        self.message = message
        #: What a program may read of it: a list of JSON values.
        self.details: list[Any] = (
            [] if details is None else list(details) if isinstance(details, (list, tuple)) else [details]
        )
        #: The stable id of one of Shunt's own errors ("S1004"; `shunt help S1004` explains it), or "".
        self.id = id
        #: What the caller may do: 0 nothing, 1 try later, 2 try again over a new link, 3 try at another instance.
        self.retry = retry

    @property
    def code(self) -> Code:
        from ._code import Code

        return Code(self._number)

    def __str__(self) -> str:
        id = f"{self.id} " if self.id else ""
        return f"{id}{NAMES[self._number]}: {self.message}" if self.message else f"{id}{NAMES[self._number]}"

    def __repr__(self) -> str:
        return f"shunt.Error({NAMES[self._number]!r}, {self.message!r})"

    def __reduce__(self) -> Any:
        return _rebuild, (self._number, self.message, self.details, self.id, self.retry)


def _rebuild(number: int, message: str, details: list[Any], id: str, retry: int) -> Error:
    return Error(number, message, details, id=id, retry=retry)


Error.__module__ = "shunt"
