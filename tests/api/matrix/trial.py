"""Asking: with the ids of one's own objects, of another tenant's, and of none."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.api.matrix.document import Operation
from tests.api.matrix.objects import MAKERS, NEW_PATH, PUTTING, SHARED, STATES, Owner

PASSING = ("date", "server-timing", "ratelimit", "x-ratelimit", "content-length")  # what headers begin with, or are


def made(operation: Operation, owner: Owner) -> tuple[str, ...]:
    """Return the ids of new objects for an address; an address nobody can make them for fails the test."""
    ids: list[str] = []
    for prefix in operation.owned:
        if prefix not in MAKERS:
            pytest.fail(NEW_PATH.format(path=prefix), pytrace=False)
        ids.append(STATES.get(operation.path, MAKERS[prefix])(owner, *ids))
    return tuple(ids)


def ids_for(operation: Operation, owner: Owner, *, fresh: bool, kept: dict[Any, tuple[str, ...]]) -> tuple[str, ...]:
    """Return ids of new objects, or (not `fresh`) of some that were made for the same before."""
    name = owner.tenant, operation.owned, operation.path in STATES
    if fresh or name not in kept:
        ids = made(operation, owner)
        return ids if fresh else kept.setdefault(name, ids)
    return kept[name]


def is_shared(operation: Operation) -> bool:
    """Say whether these objects are not a tenant's own, or their names are everybody's."""
    return operation.owned[-1] in SHARED or str(operation) in PUTTING


def unknown(ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return ids of the same form that nobody has."""
    return tuple(id[:-4] + ("0000" if id[-4:] != "0000" else "1111") for id in ids)


def ask(operation: Operation, asker: Owner, ids: tuple[str, ...] = (), *, empty: bool = False) -> TestResponse:
    """Ask; `empty`: without the body it takes, which is enough to see whether one may."""
    body: dict[str, Any] = {} if empty or operation.body is None else {"json": operation.body}
    answer = asker.ask(operation.method, operation.at(ids), **body)
    answer.get_data()
    return answer


def seen(answer: TestResponse, ids: tuple[str, ...]) -> tuple[Any, ...]:
    """Return all of an answer that could tell one case from another; the ids are the asker's own words."""
    text = answer.get_data(as_text=True)
    for id in ids:
        text = text.replace(id, "ID")
    headers = {name: value for name, value in answer.headers.items() if not name.lower().startswith(PASSING)}
    return answer.status_code, text, headers
