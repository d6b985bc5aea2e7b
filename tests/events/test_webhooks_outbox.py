"""What waits to be told: written with what it tells about, kept apart by tenant, bounded, sealed."""

import orjson
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select

from llmapi.core.errors import BadSetting, NotFound, ValidationFailed
from llmapi.db.engine import reading, writing
from llmapi.db.tables.webhooks import deliveries, endpoints
from llmapi.events.webhook_endpoints import KINDS, MOST, matches
from llmapi.events.webhook_outbox import LARGEST, Attempt, WebhookOutbox, payload_of
from llmapi.events.webhook_secrets import Seal, SecretUnreadable, new_secret
from llmapi.events.webhook_statements import KEPT_ATTEMPTS
from tests.events.webhook_parts import Post
from tests.jobs.parts import Clock
from tests.servers.databases import Database

URL = "http://127.0.0.1:9/hook"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def post(database: Database, clock: Clock) -> Post:
    """Every promise of the outbox is kept on each database."""
    return Post(database.open(), now=clock)


def kinds(post: Post, endpoint) -> list[str]:
    return [message.kind for message in reversed(post.messages(endpoint))]


def test_an_event_of_a_transaction_that_fails_was_never_there(post):
    endpoint, _ = post.endpoint(URL)
    with pytest.raises(KeyError), writing(post.engine) as connection:
        post.outbox.add(connection, "a", "job.succeeded", {})
        raise KeyError
    assert post.messages(endpoint) == ()


def test_each_endpoint_hears_what_it_asked_for_and_no_other_tenants_events(post):
    everything, _ = post.endpoint(URL)
    jobs, _ = post.endpoint(URL, events=["job.*"])
    two, _ = post.endpoint(URL, events=["job.dead", "batch.completed"])
    foreign, _ = post.endpoint(URL, tenant="b")
    for kind in ("job.succeeded", "job.dead", "batch.completed"):
        post.tell(kind)
    assert kinds(post, everything) == ["job.succeeded", "job.dead", "batch.completed"]
    assert kinds(post, jobs) == ["job.succeeded", "job.dead"]
    assert kinds(post, two) == ["job.dead", "batch.completed"]
    assert kinds(post, foreign) == []


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [("*", len(KINDS)), ("job.*", 4), ("batch.*", 4), ("batch.failed", 1), ("job", 0), ("job*", 0), (".*", 0), ("", 0)],
)
def test_a_filter_takes_whole_names_only(pattern, taken):
    assert sum(matches(pattern, kind) for kind in KINDS) == taken


@pytest.mark.parametrize("events", [["job.suceeded"], ["*", "nothing.*"], [""]])
def test_a_filter_that_takes_nothing_is_refused(post, events):
    with pytest.raises(ValidationFailed) as refused:
        post.endpoint(URL, events=events)
    assert list(refused.value.fields) == ["events"]


def test_a_disabled_endpoint_hears_nothing_and_what_waited_is_cancelled(post):
    endpoint, _ = post.endpoint(URL)
    post.tell()
    assert post.endpoints.change(endpoint.id, "a", disabled=True).disabled == "by its owner"
    post.tell()
    assert [message.status for message in post.messages(endpoint)] == ["cancelled"]
    with pytest.raises(ValidationFailed, match="disabled"):
        post.outbox.test(endpoint.id, "a")
    with pytest.raises(ValidationFailed, match="disabled"):
        post.outbox.redeliver(post.messages(endpoint)[0].id, endpoint.id, "a")
    post.endpoints.change(endpoint.id, "a", disabled=False)
    post.outbox.redeliver(post.messages(endpoint)[0].id, endpoint.id, "a")
    assert post.claim() is not None


def test_what_was_added_while_its_endpoint_was_deleted_is_not_sent(post):
    endpoint, _ = post.endpoint(URL)
    post.tell()
    with writing(post.engine) as connection:
        connection.execute(endpoints.delete())
    assert post.claim() is None
    assert [message.status for message in post.messages(endpoint)] == ["cancelled"]


def test_a_claim_is_one_senders_and_an_endpoints_and_a_tenants_are_counted(post):
    post.endpoint(URL)
    post.endpoint(URL)
    for _ in range(5):
        post.tell()
    claims = [post.claim(f"w{number}", each=2, each_tenant=3) for number in range(10)]
    given = [claim for claim in claims if claim]
    assert len({claim.id for claim in given}) == len(given) == 3
    assert max(sum(claim.endpoint.id == other.endpoint.id for other in given) for claim in given) <= 2


def test_an_endpoint_for_which_too_much_waits_hears_no_more_and_the_callers_work_goes_on(post):
    endpoint, _ = post.endpoint(URL)
    post.outbox = WebhookOutbox(post.engine, now=post.now, waiting=3)
    for _ in range(5):
        post.tell()
    assert len(post.messages(endpoint)) == 3


def test_a_payload_that_is_too_large_says_what_it_leaves_out(clock):
    told = orjson.loads(payload_of("job.succeeded", clock.now, {"id": "j", "result": "x" * LARGEST, "more": "y" * 9}))
    assert told["data"] == {"id": "j", "more": "y" * 9, "omitted": ["result"]}


def test_the_history_of_a_message_is_bounded(post, clock):
    endpoint, _ = post.endpoint(URL)
    post.tell()
    for number in range(KEPT_ATTEMPTS + 5):
        claim = post.claim()
        assert claim is not None
        post.outbox.failed(claim, Attempt(clock.now, 500, None, number), 0.0)
    message = post.messages(endpoint)[0]
    assert [attempt.milliseconds for attempt in message.history] == list(range(5, KEPT_ATTEMPTS + 5))
    assert message.attempts == KEPT_ATTEMPTS + 5


def test_what_ended_long_ago_is_deleted_with_its_history(post, clock):
    endpoint, _ = post.endpoint(URL)
    post.tell()
    post.tell()
    claim = post.claim()
    assert claim is not None
    post.outbox.delivered(claim, Attempt(clock.now, 200, None, 1))
    clock.forward(100)
    assert (post.outbox.expire_old(101), post.outbox.expire_old(99)) == (0, 1)
    assert [message.status for message in post.messages(endpoint)] == ["pending"]
    with reading(post.engine) as connection:
        assert connection.execute(select(deliveries)).all() == []


def test_pages_follow_each_other(post):
    made = [post.endpoint(URL)[0] for _ in range(3)]
    for _ in range(3):
        post.tell()
    first = post.endpoints.list("a", limit=2)
    second = post.endpoints.list("a", limit=2, after=first.after)
    assert [each.id for each in first.endpoints + second.endpoints] == [each.id for each in reversed(made)]
    page = post.outbox.list(made[0].id, "a", limit=2)
    last = post.outbox.list(made[0].id, "a", limit=2, after=page.after)
    assert (len(page.messages), len(last.messages), last.after, second.after) == (2, 1, None, None)


def test_somebody_elses_endpoint_is_unknown_to_every_verb(post):
    endpoint, _ = post.endpoint(URL)
    post.tell()
    message = post.messages(endpoint)[0]
    verbs = [
        lambda id: post.endpoints.get(id, "b"),
        lambda id: post.endpoints.change(id, "b", description="mine"),
        lambda id: post.endpoints.rotate(id, "b"),
        lambda id: post.endpoints.delete(id, "b"),
        lambda id: post.outbox.test(id, "b"),
        lambda id: post.outbox.redeliver(message.id, id, "b"),
    ]
    for verb in verbs:
        for id in (endpoint.id, "whe_unknown"):
            with pytest.raises(NotFound):
                verb(id)
    assert post.outbox.list(endpoint.id, "b").messages == ()
    assert post.endpoints.get(endpoint.id, "a") == endpoint


def test_a_message_is_redelivered_to_its_own_endpoint_only(post):
    one, _ = post.endpoint(URL, events=["job.dead"])
    other, _ = post.endpoint(URL, events=["job.failed"])
    post.tell("job.dead")
    with pytest.raises(NotFound):
        post.outbox.redeliver(post.messages(one)[0].id, other.id, "a")


def test_a_tenant_has_a_bounded_number_of_endpoints(post):
    for _ in range(MOST):
        post.endpoint(URL)
    with pytest.raises(ValidationFailed):
        post.endpoint(URL)
    assert post.endpoint(URL, tenant="b")


def test_secrets_are_sealed_in_the_database_when_there_is_a_key(post):
    key = Fernet.generate_key().decode()
    sealed = Post(post.engine, now=post.now, seal=Seal(key))
    endpoint, first = sealed.endpoint(URL)
    endpoint, second = sealed.endpoints.rotate(endpoint.id, "a")
    with reading(post.engine) as connection:
        kept = str(connection.execute(select(endpoints)).all())
    assert first not in kept and second not in kept and "gAAAA" in kept
    assert sealed.endpoints.secrets(endpoint, post.now()) == (second, first)
    with pytest.raises(SecretUnreadable):
        post.endpoints.secrets(endpoint, post.now())
    with pytest.raises(SecretUnreadable):
        Seal(Fernet.generate_key().decode()).open(endpoint.secret)


def test_a_secret_from_before_there_was_a_key_is_readable_still():
    secret = new_secret()
    assert Seal(Fernet.generate_key().decode()).open(Seal().close(secret)) == secret
    assert (secret.startswith("whsec_"), len(secret) >= 38, secret != new_secret()) == (True, True, True)


def test_no_secret_is_in_what_is_printed(post):
    endpoint, secret = post.endpoint(URL)
    assert secret not in repr(endpoint)


def test_a_key_that_is_none_stops_the_start():
    with pytest.raises(BadSetting):
        Seal("short")
