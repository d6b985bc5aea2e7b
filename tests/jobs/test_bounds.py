"""What the registry does not take in."""

import pytest
from sqlalchemy import Engine

from llmapi.core.errors import Overloaded, PayloadTooLarge, ValidationFailed
from llmapi.jobs.job import described
from llmapi.jobs.registry import Bounds, Registry
from tests.jobs.parts import Heard, claimed, put


def test_too_many_waiting_jobs_are_refused(engine: Engine, heard: Heard) -> None:
    registry = Registry(engine, heard, bounds=Bounds(queued=3, queued_per_tenant=2))
    put(registry), put(registry)
    with pytest.raises(Overloaded):
        put(registry)
    put(registry, tenant="b")
    with pytest.raises(Overloaded):
        put(registry, tenant="c")
    claimed(registry)
    put(registry, tenant="c")


@pytest.mark.parametrize("value", [(1, 2), float("nan"), {1, 2}, {1: "a"}, 2**64, "\ud800", b"x", object()])
def test_arguments_that_would_not_survive_json_are_refused(registry: Registry, value: object) -> None:
    with pytest.raises(ValidationFailed):
        registry.put("echo", {"value": value}, tenant="a")


def test_sizes_are_bounded(engine: Engine, heard: Heard) -> None:
    registry = Registry(engine, heard, bounds=Bounds(arguments=100, result=100))
    id = put(registry)
    with pytest.raises(PayloadTooLarge):
        registry.put("echo", {"text": "x" * 100}, tenant="a")
    with pytest.raises(PayloadTooLarge):
        registry.succeed(claimed(registry), {"text": "x" * 100})
    assert registry.get(id, "a").status == "running"


@pytest.mark.parametrize("priority", [-1, 10])
def test_a_priority_out_of_range_is_named(registry: Registry, priority: int) -> None:
    with pytest.raises(ValidationFailed) as caught:
        put(registry, priority=priority)
    assert "priority" in caught.value.fields


def test_an_error_is_described_in_plain_json() -> None:
    error = ValidationFailed("no", fields={"text": ["too long"]}, odd=object)
    told = described(error)
    assert (told["code"], told["status"], told["message"]) == ("validation_error", 422, "no")
    assert told["errors"] == {"text": ["too long"]}
    assert isinstance(told["details"]["odd"], str)
