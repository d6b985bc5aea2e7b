"""Every operation of an application, as its own OpenAPI document has it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PARAMETER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Operation:
    """One method at one path. `body` is the first example of the document; None: it takes none."""

    method: str
    path: str
    blueprint: str
    public: bool
    body: Any
    query: frozenset[str] = frozenset()  # the names of its query parameters

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def owned(self) -> tuple[str, ...]:
        """The path up to each of its parameters, e.g. /v1/jobs/{job_id}: what an object has to be made for."""
        return tuple(self.path[: found.end()] for found in PARAMETER.finditer(self.path))

    def at(self, ids: tuple[str, ...]) -> str:
        """Return the address with these ids in it."""
        left = list(ids)
        return PARAMETER.sub(lambda _: left.pop(0), self.path)


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Yield what an application offers."""
    for path, row in document["paths"].items():
        for method, told in row.items():
            if method != "parameters":
                public = told.get("security") == []
                names = frozenset(each["name"] for each in told.get("parameters", ()) if each.get("in") == "query")
                yield Operation(method.upper(), path, told["tags"][0], public, body(told), names)


def body(told: Mapping[str, Any]) -> Any:
    """Return the first example of a request's body."""
    content = told.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    return next(iter(content.get("examples", {}).values()), {"value": {}})["value"]
