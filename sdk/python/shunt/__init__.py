"""Shunt: write a service in Python, and call others by name.

    import shunt

    service = shunt.Service()

    @service.command
    def greet(name: str = "world") -> dict:
        "Greets someone."
        return {"message": f"Hello, {name}!"}

    if __name__ == "__main__":
        service.run()

The reference is docs/reference/python.md.
"""

from __future__ import annotations

from ._call import Call, Log, Principal, ServiceClient, Stream
from ._error import Error
from ._service import Service
from ._types import Field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._code import Code as Code

__version__ = "0.1.0"
__all__ = ["Call", "Code", "Error", "Field", "Log", "Principal", "Service", "ServiceClient", "Stream"]


def __getattr__(name: str) -> Any:
    if name == "Code":  # its import costs milliseconds that a worker's start can do without
        from ._code import Code

        globals()["Code"] = Code
        return Code
    if name == "testing":
        from importlib import import_module

        return import_module("shunt.testing")
    raise AttributeError(f"module 'shunt' has no attribute {name!r}")
