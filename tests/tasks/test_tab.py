"""What one answer has cost: the same as what the books say of its calls."""

import pytest

from llmapi.core.calls import Attempt, Completion, Facts, Usage
from llmapi.core.errors import ProviderBroken
from llmapi.core.money import FREE, UNPRICED, Cost
from llmapi.core.reply import Reply
from llmapi.tasks.tab import Tab
from tests.gateway.conftest import HELLO, PennyPrices, a_call


def asked(answer, facts):
    """Return the tab after one call that was answered like this."""
    tab = Tab(lambda call: Reply.of(answer, facts), PennyPrices())
    tab.ask(a_call())
    return tab


def test_an_attempt_that_failed_costs_what_its_own_model_costs():
    lost = Attempt("free", "a", "provider_unavailable", usage=Usage(100))
    tab = asked(HELLO, Facts("p", "b", attempts=(lost, Attempt("p", "b", "ok"))))
    assert (tab.usage, tab.cost) == (HELLO.usage, Cost(7000, "priced"))


def test_an_attempt_of_a_model_without_a_price_leaves_the_sum_unknown():
    lost = Attempt("unknown", "a", "provider_broken", usage=Usage(1))
    assert asked(HELLO, Facts("p", "b", attempts=(lost,))).cost == UNPRICED


def test_an_answer_nobody_counted_is_not_told_to_be_free():
    assert asked(Completion("Hello."), Facts("p", "b")).cost == UNPRICED
    assert asked(Completion("Hello."), Facts("free", "b")).cost == FREE


def test_a_kept_answer_is_free():
    assert asked(HELLO, Facts("p", "b", cache="hit")).cost == FREE


def test_a_call_that_failed_costs_what_it_was_billed():
    def broken(call):
        error = ProviderBroken("cut", usage=Usage(5))
        error.attempts = (Attempt("p", "b", "provider_broken", usage=Usage(5)),)
        raise error

    tab = Tab(broken, PennyPrices())
    with pytest.raises(ProviderBroken):
        tab.ask(a_call())
    assert (tab.usage, tab.cost) == (Usage(5), Cost(5000, "priced"))
