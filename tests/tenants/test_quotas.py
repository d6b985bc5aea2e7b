"""What calls may use is held before, settled after, and never more than a limit allows."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import func, select

from llmapi.core.errors import BeyondLimit, BeyondQuota, LlmApiError, Overloaded, QuotaExceeded, RateLimited
from llmapi.core.money import NANOS_A_DOLLAR
from llmapi.db.engine import reading
from llmapi.db.tables.limits import counts, holds
from llmapi.tenants.quota_rows import purge
from llmapi.tenants.quotas import Demand, Hold, Quotas
from llmapi.tenants.windows import MONTH, Limit
from tests.jobs.parts import Clock
from tests.servers.databases import Database

LEASE = 100.0
MINUTE = Limit("tenant", "tokens", 60, 1000)
DAY = Limit("tenant", "tokens", 86_400, 5000)
IDS = count()
Take = Callable[..., Hold]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quotas(database: Database, clock: Clock) -> Quotas:
    return Quotas(database.open(connections=4, patience=0.5), now=clock)


@pytest.fixture
def take(quotas: Quotas) -> Take:
    def take(amount: int, *limits: Limit, tenant: str = "acme", lease: float = LEASE) -> Hold:
        return quotas.hold(f"entry_{next(IDS)}", tenant, [Demand(limit, amount) for limit in limits], lease)

    return take


def used(hold: Hold) -> list[int]:
    return [standing.used for standing in hold.standings]


def refused(take: Take, amount: int, *limits: Limit) -> LlmApiError:
    with pytest.raises((RateLimited, QuotaExceeded)) as caught:
        take(amount, *limits)
    return caught.value


def test_what_is_held_counts_until_it_is_settled(quotas: Quotas, take: Take) -> None:
    hold = take(900, MINUTE)
    refused(take, 101, MINUTE)
    quotas.settle(hold, {"tokens": 40})
    assert used(take(960, MINUTE)) == [1000]
    refused(take, 1, MINUTE)


def test_a_refusal_changes_nothing_at_any_level(take: Take) -> None:
    key = Limit("key:k", "tokens", 60, 500)
    take(900, DAY, MINUTE)
    refused(take, 200, DAY, key, MINUTE)
    assert used(take(100, DAY, key, MINUTE)) == [1000, 100, 1000]


def test_levels_units_and_tenants_do_not_meet(take: Take) -> None:
    others = [Limit("user:u", "tokens", 60, 1000), Limit("tenant", "requests", 60, 1000), DAY]
    take(1000, MINUTE)
    assert used(take(1000, *others)) == [1000, 1000, 1000]
    assert used(take(1000, MINUTE, tenant="other")) == [1000]


def test_a_use_is_free_again_a_window_later_and_not_before(take: Take, clock: Clock) -> None:
    take(1000, MINUTE)
    clock.forward(60)
    refused(take, 1, MINUTE)
    clock.forward(1)
    assert used(take(1000, MINUTE)) == [1000]


def test_retry_after_is_true(quotas: Quotas, take: Take, clock: Clock) -> None:
    quotas.settle(take(400, MINUTE), {"tokens": 400})
    clock.forward(20)
    quotas.settle(take(600, MINUTE), {"tokens": 600})
    clock.forward(0.5)
    soon, later = refused(take, 300, MINUTE), refused(take, 401, MINUTE)
    assert soon.retry_after is not None and 39.5 < soon.retry_after <= 41
    assert later.retry_after is not None and 59.5 < later.retry_after <= 61
    clock.forward(soon.retry_after)
    take(300, MINUTE)
    clock.forward(later.retry_after - soon.retry_after)
    take(401, MINUTE)


def test_a_daily_limit_is_never_told_to_come_back_later_than_clients_wait(take: Take) -> None:
    take(5000, DAY)
    error = refused(take, 1, DAY)
    assert (error.code, error.retry_after) == ("rate_limited", 120.0)
    assert error.details == {
        "limit": 5000,
        "unit": "tokens",
        "level": "tenant",
        "window": "86400s",
        "requested": 1,
        "used": 5000,
    }


def test_a_request_that_can_never_fit_says_so_and_is_not_to_be_repeated(take: Take) -> None:
    error = refused(take, 1001, MINUTE)
    assert isinstance(error, BeyondLimit)
    assert (error.code, error.retryable, error.retry_after) == ("rate_limited", False, None)
    assert "never" in error.message and error.details["requested"] == 1001
    money = refused(take, 2 * NANOS_A_DOLLAR, Limit("key:k", "nanos", MONTH, NANOS_A_DOLLAR))
    assert isinstance(money, BeyondQuota)
    assert (money.code, money.details["limit"], money.details["requested"]) == ("quota_exceeded", "1", "2")


MONTHLY = Limit("tenant", "tokens", MONTH, 1000)


@pytest.mark.parametrize(
    ("last", "next_month"),
    [("2026-11-30", "2026-12-01"), ("2026-12-31", "2027-01-01"), ("2028-02-29", "2028-03-01")],
)
def test_a_month_ends_at_midnight_utc(quotas: Quotas, take: Take, clock: Clock, last: str, next_month: str) -> None:
    clock.now = datetime.fromisoformat(f"{last}T23:59:59.999999+00:00")
    old = take(1000, MONTHLY)
    error = refused(take, 1, MONTHLY)
    assert (error.code, error.retry_after, error.retryable) == ("quota_exceeded", 1.0, True)
    assert error.details["resets"] == f"{next_month}T00:00:00.000Z"
    clock.now += timedelta(microseconds=1)
    assert used(take(300, MONTHLY)) == [300]
    quotas.settle(old, {"tokens": 0})  # it was the old month's
    assert used(take(700, MONTHLY)) == [1000]


def test_a_month_is_whole_from_its_first_moment_on(quotas: Quotas, take: Take, clock: Clock) -> None:
    clock.now = datetime(2026, 11, 1, tzinfo=UTC)
    quotas.settle(take(1000, MONTHLY), {"tokens": 1000})
    clock.now = datetime(2026, 11, 30, 23, 58, tzinfo=UTC)
    assert refused(take, 1, MONTHLY).retry_after == 120.0


def test_what_a_dead_worker_held_is_given_back_when_its_lease_ends(take: Take, clock: Clock) -> None:
    take(5000, DAY, lease=30)
    clock.forward(29.9)
    refused(take, 5000, DAY)
    clock.forward(1.1)
    assert used(take(5000, DAY)) == [5000]


def test_who_asks_again_and_again_does_not_put_off_the_search_for_the_dead(take: Take, clock: Clock) -> None:
    take(5000, DAY, lease=5.0)
    for _ in range(15):  # until 0.6 s after the lease: they are looked for once a second
        refused(take, 5000, DAY)
        clock.forward(0.4)
    assert used(take(5000, DAY)) == [5000]


def test_who_settles_after_his_lease_is_still_counted_and_once(quotas: Quotas, take: Take, clock: Clock) -> None:
    late = take(5000, DAY, lease=30)
    clock.forward(31)
    assert quotas.reclaim() == 1
    assert quotas.reclaim() == 0
    quotas.settle(late, {"tokens": 700})
    assert used(take(1, DAY)) == [701]


def test_more_than_was_held_is_counted_too(quotas: Quotas, take: Take) -> None:
    quotas.settle(take(10, MINUTE), {"tokens": 1500})
    refused(take, 1, MINUTE)


def test_a_call_that_outlives_the_window_gives_back_nothing_that_is_not_there(
    quotas: Quotas, take: Take, clock: Clock
) -> None:
    long = take(1000, MINUTE, DAY)
    clock.forward(90)
    quotas.settle(take(100, MINUTE, DAY), {"tokens": 100})
    quotas.settle(long, {"tokens": 10})
    assert used(take(1, MINUTE, DAY)) == [101, 111]


def test_a_clock_set_back_locks_nobody_out_for_long(take: Take, clock: Clock) -> None:
    take(1000, MINUTE)
    clock.forward(-3600)
    assert used(take(1000, MINUTE)) == [1000]


def test_a_little_behind_on_another_machine_counts_in_the_same_window(
    quotas: Quotas, database: Database, take: Take, clock: Clock
) -> None:
    take(600, MINUTE)
    clock.forward(-5)
    refused(take, 401, MINUTE)
    clock.forward(60)
    refused(take, 401, MINUTE)


def test_old_counts_are_deleted_and_no_others(quotas: Quotas, take: Take, database: Database, clock: Clock) -> None:
    engine = database.open()
    quotas.settle(take(5, MINUTE, DAY, MONTHLY), {"tokens": 5})
    clock.forward(62)
    assert purge(engine, clock()) == 1
    assert used(take(1, MINUTE, DAY, MONTHLY)) == [1, 6, 6]
    clock.forward(40 * 86_400)
    assert purge(engine, clock()) == 3
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(counts)) == 0
        assert connection.scalar(select(func.count()).select_from(holds)) == 1  # until its lease is looked at
    assert quotas.reclaim() == 1


def test_a_storage_that_is_held_up_refuses_and_loses_no_answer(
    quotas: Quotas, take: Take, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    hold = take(10, MINUTE)
    with database.held_up("quota_counts"):
        with pytest.raises(Overloaded):
            take(10, MINUTE)
        quotas.settle(hold, {"tokens": 1})
    assert "not counted" in caplog.text
    assert used(take(10, MINUTE)) == [20]
