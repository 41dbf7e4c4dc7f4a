"""Greets people, and counts."""

import shunt

service = shunt.Service()


@service.command(effect="none")
def greet(name: str = "world") -> dict[str, str]:
    """Greets someone."""
    return {"message": f"Hello, {name}!"}


@service.command(effect="none")
def count_down(start: int):  # a generator streams its answer
    """Counts down to zero."""
    if start > 1000:
        raise shunt.Error("out_of_range", "start: is too far; at most 1000")
    for n in range(start, -1, -1):
        yield {"n": n}


if __name__ == "__main__":
    service.run()
