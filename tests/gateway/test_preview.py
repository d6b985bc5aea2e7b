"""A dry run says what a call would take, and asks nobody."""

import pytest

from llmapi.core.calls import CacheWish, Message, Target
from llmapi.core.money import FREE, UNPRICED, Cost
from llmapi.gateway.preview import Preview
from tests.gateway.conftest import a_call


@pytest.fixture
def preview(cache, prices):
    return Preview(cache, prices)


def test_a_preview_bounds_the_tokens_and_the_cost(preview):
    said = preview(a_call(messages=(Message("user", "x" * 400),), max_tokens=100))
    assert 100 <= said["input_tokens"] <= 110
    assert 400 <= said["input_tokens_bound"] <= 500
    assert said["output_tokens_bound"] == 100
    assert said["cost_bound"] == Cost(1000 * (said["input_tokens_bound"] + 100), "priced")


@pytest.mark.parametrize(
    ("names", "status"), [(("free", "p"), "priced"), (("free",), "free"), (("p", "unknown"), "unpriced")]
)
def test_the_bound_is_that_of_the_dearest_candidate_and_unknown_is_dearer_than_all(preview, names, status):
    cost = preview(a_call(targets=tuple(Target(name, "m") for name in names)))["cost_bound"]
    assert cost.status == status
    assert {"free": cost == FREE, "unpriced": cost == UNPRICED, "priced": (cost.nanos or 0) > 0}[status]


def test_a_preview_knows_whether_the_cache_would_answer(preview, gateway, provider, clock):
    assert preview(a_call())["would_hit"] is False
    gateway(a_call()).completion()
    clock.now += 10.0
    wishes = [CacheWish(), CacheWish("only"), CacheWish("bypass"), CacheWish("refresh"), CacheWish("use", 9.0)]
    assert [preview(a_call(cache=wish))["would_hit"] for wish in wishes] == [True, True, False, False, False]
    assert len(provider.asked) == 1
