"""A value of another kind in any place of any request is refused, or taken: it is nobody's defect."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.matrix.document import operations
from tests.api.matrix.house import running
from tests.house.test_house import ROOT

DOCUMENT = json.loads((ROOT / "openapi/openapi.json").read_text(encoding="utf-8"))
ASKED = [each for each in operations(DOCUMENT) if each.body]
TURNS = [{"role": "user", "content": [{"type": ["text"]}]}]
ODD = (None, True, 2**63 - 1, 1e308, "", [], [[]], {"type": []}, TURNS)
Place = tuple[str | int, ...]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with running(tmp_path_factory.mktemp("odd"), auth="off") as client:
        yield client


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Yield where in a value something else can stand, the whole of it too."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from places(each, (*at, name))


def replaced(value: Any, at: Place, odd: Any) -> Any:
    """Return a value with something else in a place of it."""
    if not at:
        return odd
    value = copy.copy(value)
    value[at[0]] = replaced(value[at[0]], at[1:], odd)
    return value


@pytest.mark.parametrize("operation", ASKED, ids=str)
def test_an_odd_value_anywhere_is_never_a_500(client, operation):
    path = operation.at(("x",) * len(operation.owned))
    wrong = []
    for at in places(operation.body):
        for odd in ODD:
            answer = client.open(path, method=operation.method, json=replaced(operation.body, at, odd))
            if answer.status_code == 500:
                wrong.append((at, odd))
    assert wrong == []
