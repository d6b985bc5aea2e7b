import pytest

from llmapi.gateway.checked import Checked


def test_nobody_knows_before_the_first():
    assert Checked().error("acme") is None


def test_the_share_of_wrong_ones_has_an_interval_that_narrows():
    checked = Checked()
    for number in range(20):
        checked.note("acme", right=number != 0)
    few = checked.error("acme")
    assert (few["estimate"], few["n"]) == (0.05, 20)
    for end in (few["low"], few["high"]):  # what lies there is 1.96 deviations from what was seen
        assert abs(0.05 - end) == pytest.approx(1.96 * (end * (1 - end) / 20) ** 0.5, rel=1e-2)
    for number in range(180):
        checked.note("acme", right=number % 20 != 0)
    many = checked.error("acme")
    assert many["estimate"] == 0.05 and few["low"] < many["low"] < 0.05 < many["high"] < few["high"]


def test_tenants_are_counted_apart_and_together():
    checked = Checked()
    checked.note("acme", right=True)
    checked.note("other", right=False)
    assert [checked.error(tenant)["n"] for tenant in ("acme", "other", None)] == [1, 1, 2]
