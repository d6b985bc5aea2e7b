"""What a key's row says, and who may change it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, func, select

from llmapi.core.calls import Usage
from llmapi.core.errors import CircuitOpen, IdempotencyInProgress, IdempotencyKeyReused, IdempotencyOutcomeUnknown
from llmapi.core.errors import LlmApiError, Overloaded, ProviderBroken, ProviderHungUp, ProviderInvalid, ProviderTimeout
from llmapi.core.errors import ProviderUnavailable, UnreadableAnswer
from llmapi.db.engine import open_engine, reading
from llmapi.db.schema import upgrade
from llmapi.db.tables.idempotency import idempotency_keys
from llmapi.gateway.idempotency import Keys
from llmapi.gateway.idempotency_held import Held, Name
from llmapi.gateway.idempotency_kept import Kept
from tests.gateway.conftest import run
from tests.jobs.parts import Clock

NAME = Name("acme", "/v1/text/generate", "k1")
ANSWER = Kept(200, (("Content-Type", "application/json"),), b'{"a": 1}')
LEASE = 30.0


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine("", folder=tmp_path)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def time() -> Clock:
    return Clock()


@pytest.fixture
def keys(engine: Engine, time: Clock) -> Keys:
    return Keys(engine, lease=LEASE, now=time)


def held(keys: Keys, name: Name = NAME, body: str = "body") -> Held:
    found = keys.claim(name, body)
    assert isinstance(found, Held)
    return found


def test_the_first_works_and_the_next_get_the_same_bytes(keys: Keys) -> None:
    held(keys).keep(ANSWER)
    assert [keys.claim(NAME, "body") for _ in range(2)] == [ANSWER, ANSWER]


@pytest.mark.parametrize("size", [0, 4096, 4097, 1_000_000])
def test_an_answer_of_any_size_comes_back_as_it_was(keys: Keys, size: int) -> None:
    kept = Kept(404, (), bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    held(keys).keep(kept)
    assert keys.claim(NAME, "body") == kept


def test_an_answer_that_was_not_kept_is_not_worked_for_again(keys: Keys) -> None:
    held(keys).keep(Kept(200, (), None))
    with pytest.raises(IdempotencyOutcomeUnknown, match="too large"):
        keys.claim(NAME, "body")


def test_fifty_at_once_are_one(engine: Engine) -> None:
    everyone = [Keys(engine) for _ in range(5)]  # as in five processes
    found = run(*[lambda at=at: everyone[at % 5].claim(NAME, "body") for at in range(50)])
    assert sum(isinstance(each, Held) for each in found) == 1
    assert sum(isinstance(each, IdempotencyInProgress) for each in found) == 49


@pytest.mark.parametrize("until", ["claimed", "sent", "done", "unknown"])
def test_another_body_is_refused_whatever_became_of_the_first(keys: Keys, until: str) -> None:
    first = held(keys)
    if until != "claimed":
        first.sending()
    if until == "done":
        first.keep(ANSWER)
    if until == "unknown":
        first.give_up()
    with pytest.raises(IdempotencyKeyReused):
        keys.claim(NAME, "other")


def test_tenants_and_routes_do_not_share_keys(keys: Keys) -> None:
    held(keys)
    for name in (NAME._replace(tenant="b"), NAME._replace(route="/v1/chat"), NAME._replace(key="K1")):
        held(keys, name, "other")


def test_what_was_never_sent_frees_its_key(keys: Keys) -> None:
    held(keys).give_up()
    held(keys, body="other")


NOT_SENT = [CircuitOpen("x"), Overloaded("x"), ProviderUnavailable("x"), ProviderInvalid("x")]


@pytest.mark.parametrize("error", NOT_SENT, ids=lambda error: type(error).__name__)
def test_a_failure_that_generated_nothing_frees_the_key(keys: Keys, error: LlmApiError) -> None:
    first = held(keys)
    first.sending()
    first.refused(error)
    assert not first.paid
    first.give_up()
    held(keys)


DOUBTFUL = [ProviderTimeout("x"), ProviderHungUp("x"), ProviderBroken("x")]


@pytest.mark.parametrize("error", DOUBTFUL, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("then", [None, ProviderUnavailable("x")], ids=["alone", "then_503"])
def test_a_failure_that_may_have_been_paid_is_never_repeated(
    keys: Keys, error: LlmApiError, then: LlmApiError | None
) -> None:
    first = held(keys)
    for each in (error, then):
        if each is not None:
            first.sending()
            first.refused(each)
    assert not first.paid
    first.give_up()
    with pytest.raises(IdempotencyOutcomeUnknown):
        keys.claim(NAME, "body")


def test_a_failure_that_was_billed_is_known_to_be_paid(keys: Keys) -> None:
    first = held(keys)
    first.sending()
    first.refused(UnreadableAnswer("x", usage=Usage(5, 2)))
    assert first.paid


def test_a_request_is_noted_once_however_often_it_asks(keys: Keys, engine: Engine) -> None:
    first = held(keys)
    run(*[first.sending] * 8)
    with reading(engine) as connection:
        assert connection.execute(select(idempotency_keys.c.state)).scalars().all() == ["sent"]


def test_a_dead_worker_s_claim_is_free_after_its_lease_and_not_before(keys: Keys, time: Clock) -> None:
    held(keys)
    time.forward(LEASE - 0.1)
    with pytest.raises(IdempotencyInProgress):
        keys.claim(NAME, "body")
    time.forward(0.1)
    held(keys)


def test_what_a_dead_worker_had_sent_is_not_known_after_its_lease(keys: Keys, time: Clock) -> None:
    first = held(keys)
    time.forward(LEASE - 1)
    first.sending()
    time.forward(LEASE - 0.1)
    with pytest.raises(IdempotencyInProgress):
        keys.claim(NAME, "body")
    time.forward(0.1)
    with pytest.raises(IdempotencyOutcomeUnknown):
        keys.claim(NAME, "body")


def test_a_worker_that_lost_its_claim_sends_nothing_and_changes_nothing(keys: Keys, time: Clock) -> None:
    first = held(keys)
    time.forward(LEASE)
    second = held(keys)
    with pytest.raises(IdempotencyInProgress):
        first.sending()
    first.give_up()
    second.keep(ANSWER)
    assert keys.claim(NAME, "body") == ANSWER


def test_an_answer_that_comes_late_is_still_the_answer(keys: Keys, time: Clock) -> None:
    first = held(keys)
    first.sending()
    time.forward(LEASE)
    with pytest.raises(IdempotencyOutcomeUnknown):
        keys.claim(NAME, "body")
    first.keep(ANSWER)
    assert keys.claim(NAME, "body") == ANSWER


def test_a_tenant_may_rather_pay_twice_than_not_know(engine: Engine, time: Clock) -> None:
    keys = Keys(engine, lease=LEASE, now=time, retry_unknown=("acme",))
    first = held(keys)
    first.sending()
    with pytest.raises(IdempotencyInProgress):
        keys.claim(NAME, "body")
    time.forward(LEASE)
    with pytest.raises(IdempotencyKeyReused):
        keys.claim(NAME, "other")
    held(keys).keep(ANSWER)
    assert keys.claim(NAME, "body") == ANSWER
    other = NAME._replace(tenant="b")
    held(keys, other).sending()
    time.forward(LEASE)
    with pytest.raises(IdempotencyOutcomeUnknown):
        keys.claim(other, "body")


def test_a_heartbeat_keeps_the_keys_of_a_living_worker(keys: Keys, time: Clock) -> None:
    names = [NAME, NAME._replace(key="k2")]
    first, second = (held(keys, name) for name in names)
    second.sending()
    for _ in range(3):
        time.forward(LEASE - 1)
        keys.beat()
    assert [keys.under_way(name) for name in names] == [True, True]
    first.keep(ANSWER)
    second.give_up()
    assert [keys.under_way(name) for name in names] == [False, False]


def test_the_heart_beats_by_itself_and_stops(engine: Engine, time: Clock) -> None:
    keys, beat = Keys(engine, lease=0.3, now=time), threading.Event()
    held(keys)
    event.listen(engine, "commit", lambda _: beat.set())
    keys.start()
    for _ in range(3):
        time.forward(0.2)
        for _ in range(2):  # the first may have begun before
            beat.clear()
            assert beat.wait(10)
    assert keys.under_way(NAME)
    keys.stop()
    assert "idempotency" not in {thread.name for thread in threading.enumerate()}


def test_a_key_is_forgotten_after_its_time(keys: Keys, time: Clock, engine: Engine) -> None:
    held(keys).keep(ANSWER)
    time.forward(86_400 - 0.1)
    assert (keys.purge(), keys.claim(NAME, "body")) == (0, ANSWER)
    time.forward(0.1)
    held(keys, body="other").keep(ANSWER)
    time.forward(86_400)
    assert keys.purge() == 1
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(idempotency_keys)).scalar_one() == 0


def test_processes_agree_on_fingerprints_and_databases_do_not(tmp_path: Path, engine: Engine) -> None:
    one, two = Keys(engine), Keys(engine)
    assert one.fingerprint(b"a", b"b") == two.fingerprint(b"a", b"b")
    assert len({one.fingerprint(b"a", b"b"), one.fingerprint(b"ab"), one.fingerprint(b"ab", b"")}) == 3
    elsewhere = open_engine("", folder=tmp_path / "elsewhere")
    upgrade(elsewhere)
    assert Keys(elsewhere).fingerprint(b"a") != one.fingerprint(b"a")
    elsewhere.dispose()


def test_a_storage_that_fails_at_the_end_does_not_take_the_answer_away(
    keys: Keys, engine: Engine, tmp_path: Path
) -> None:
    keys.beat()  # nothing is held yet
    hasty = open_engine("", folder=tmp_path, patience=0.05)
    first = held(Keys(hasty, lease=LEASE))
    first.sending()
    with engine.begin():  # somebody else writes, and does not stop
        first.keep(ANSWER)
    hasty.dispose()
    with pytest.raises(IdempotencyInProgress):
        keys.claim(NAME, "body")
