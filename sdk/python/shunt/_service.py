"""shunt.Service: the commands of one service, and how its process runs."""

from __future__ import annotations

from ._command import EFFECTS, Command, descriptors_of, is_command_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, NoReturn, TypeVar, overload

    from ._call import ServiceClient

    F = TypeVar("F", bound=Callable[..., Any])
else:

    def overload(function: Any) -> Any:
        return function


class Service:
    """A service: a named set of commands. A process has one; its name stands in the manifest.

    `description` defaults to the docstring of the module that makes the service, `version` to its `__version__`.
    """

    def __init__(self, *, description: str | None = None, version: str | None = None) -> None:
        import sys

        module = sys._getframe(1).f_globals
        self._module = module
        self._description = description
        self._version = version
        self._runtime: Any = None
        self.commands: dict[str, Command] = {}
        self._on_start: list[Any] = []
        self._on_stop: list[Any] = []

    @overload
    def command(self, function: F, /) -> F: ...

    @overload
    def command(
        self,
        /,
        *,
        name: str | None = None,
        effect: Literal["none", "idempotent", "any"] = "any",
        timeout: str | float | None = None,
        description: str | None = None,
    ) -> Callable[[F], F]: ...

    def command(
        self,
        function: Any = None,
        /,
        *,
        name: str | None = None,
        effect: str = "any",
        timeout: str | float | None = None,
        description: str | None = None,
    ) -> Any:
        """Makes a function a command: `@service.command`, or `@service.command(effect="none", timeout="2s")`.

        effect: "none" reads only (may be called by GET, and again), "idempotent" may be called again, "any" may not.
        timeout: the default deadline of its calls; seconds, or a text with its unit.
        The function itself is returned unchanged.
        """
        if effect not in EFFECTS:
            raise ValueError(f"effect is {effect!r}; it may be {', '.join(map(repr, EFFECTS))}")
        if timeout is not None:
            from ._call import parse_seconds

            seconds = parse_seconds(timeout)
            if not isinstance(timeout, str):
                timeout = f"{max(1, round(seconds * 1000))}ms"

        def register(function: Any) -> Any:
            own_name = name or str(getattr(function, "__name__", ""))
            if not is_command_name(own_name):
                raise ValueError(
                    f"{own_name!r} can't be the name of a command: use letters, digits, _ and -, beginning with a letter "
                    f"or _, at most 63; give another one with @service.command(name=...)"
                )
            if own_name in self.commands:
                raise ValueError(f"there are two commands named {own_name!r}; give one of them another name")
            self.commands[own_name] = Command(function, own_name, effect, timeout, description)
            return function

        if function is None:
            return register
        if not callable(function):
            raise TypeError("@service.command takes its options by name: @service.command(name=..., effect=...)")
        return register(function)

    def on_start(self, function: F) -> F:
        """The function (plain or async) runs once in a worker, before its first call; not when the node asks a file what
        its commands are. An exception ends the worker."""
        self._on_start.append(function)
        return function

    def on_stop(self, function: F) -> F:
        """The function (plain or async) runs once, after the last call."""
        self._on_stop.append(function)
        return function

    def service(self, name: str) -> ServiceClient:
        """Another service, called on this service's own behalf: in on_start, on_stop and background tasks.
        A handler uses `call.service()`, by which deadline, user and trace travel along."""
        if self._runtime is None:
            raise RuntimeError("the service is not running: other services can be called once run() has begun")
        client: ServiceClient = self._runtime.service(name)
        return client

    def definition(self) -> dict[str, Any]:
        """What the service is, as the node learns it: its commands, their types and docs."""
        from ._types import clean_docstring

        text = self._description
        if text is None:
            text = clean_docstring(self._module.get("__doc__"))
        from . import __version__ as sdk_version

        out: dict[str, Any] = {
            "sdk": f"python {sdk_version}",
            "commands": {name: command.definition() for name, command in self.commands.items()},
        }
        descriptors = descriptors_of(self.commands.values())
        if descriptors:
            out["descriptors"] = descriptors
        if text:
            out["description"] = text
        version = self._version if self._version is not None else self._module.get("__version__")
        if isinstance(version, str) and version:
            out["version"] = version
        return out

    def run(self) -> None:
        """Serves until the node says to stop, finishes what is open, and returns. Call it last:

        if __name__ == "__main__":
            service.run()
        """
        import os

        describe_fd = os.environ.get("SHUNT_DESCRIBE_FD")
        if describe_fd:
            self._describe(describe_fd)
        if not os.environ.get("SHUNT_LINKS"):
            self._explain()
        from . import _runtime

        _runtime.run(self)

    def _describe(self, fd_text: str) -> NoReturn:
        import os
        import sys

        from ._json import dumps

        data = dumps(self.definition())
        fd = int(fd_text)
        while data:
            data = data[os.write(fd, data) :]
        os.close(fd)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # whatever threads the import has started

    def _explain(self) -> NoReturn:
        import os
        import sys

        file = self._module.get("__file__") or "the service"
        folder = os.path.dirname(os.path.abspath(file)) if self._module.get("__file__") else "FOLDER"
        relative = os.path.relpath(folder) if folder != "FOLDER" else folder
        names = ", ".join(self.commands) or "none"
        print(
            f"{os.path.basename(file)} is a Shunt service (commands: {names}); a node runs it. Try:\n"
            f"  shunt run {relative}\n"
            f"and then, from another terminal:\n"
            f"  shunt call SERVICE.COMMAND '{{...}}'\n"
            f"`shunt new python NAME` makes a folder with the manifest that it needs.",
            file=sys.stderr,
        )
        sys.exit(2)


Service.__module__ = "shunt"
