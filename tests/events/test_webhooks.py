"""A webhook arrives, signed, under one id, however its receiver behaves; and holds up nobody else's."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from itertools import count
from pathlib import Path

import pytest
from standardwebhooks import WebhookVerificationError

from llmapi.core.clock import utc_now
from llmapi.db.engine import open_engine
from llmapi.db.schema import upgrade
from llmapi.events.webhook_outbox import Attempt
from llmapi.events.webhooks import SCHEDULE, WebhookSender, seconds_of, some_later
from tests.events.webhook_parts import AT_ONCE, Post, until
from tests.fakes.receiver import RESET, Receiver
from tests.jobs.parts import Clock


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.now = utc_now()  # a signature is good for five minutes
    return clock


@pytest.fixture
def post(tmp_path: Path, clock: Clock) -> Iterator[Post]:
    engine = open_engine("", folder=tmp_path)
    upgrade(engine)
    post = Post(engine, now=clock)
    yield post
    post.stop()
    engine.dispose()


def test_an_event_arrives_signed_and_says_what_happened(post, receiver):
    endpoint, secret = post.endpoint(receiver.url)
    post.sender()
    post.tell("job.succeeded", id="job_1", output="Grüße")
    sent = receiver.wait()[0]
    told = sent.verified(secret)
    assert (told["type"], told["data"]) == ("job.succeeded", {"id": "job_1", "output": "Grüße"})
    assert told["timestamp"].endswith("Z")
    assert sent.headers["content-type"] == "application/json"
    message = post.settled(endpoint, "delivered")[0]
    assert (message.id, message.attempts, message.history[0].status) == (sent.id, 1, 200)


def test_another_secret_does_not_verify(post, receiver):
    post.endpoint(receiver.url)
    other = post.endpoint(receiver.url, tenant="b")[1]
    post.sender()
    post.tell()
    with pytest.raises(WebhookVerificationError):
        receiver.wait()[0].verified(other)


def test_every_event_arrives_under_one_id_though_a_third_of_all_attempts_fails(database, receiver):
    desks = [Post(database.open()) for _ in range(2)]
    endpoint, secret = desks[0].endpoint(receiver.url)
    number = count()
    receiver.behaviour = lambda _: {0: 503, 3: RESET, 6: 500}.get(next(number) % 10, 204)
    for each in range(200):
        desks[0].tell(number=each)
    for desk in desks:
        desk.sender(each=8, each_tenant=8)
    messages = desks[0].settled(endpoint, "delivered", 200)
    for desk in desks:
        desk.stop()
    bodies = {sent.id: sent.verified(secret)["data"]["number"] for sent in receiver.sent}
    assert sorted(bodies.values()) == list(range(200))
    assert set(bodies) == {message.id for message in messages}
    assert len(receiver.sent) == sum(message.attempts for message in messages) > 250
    assert receiver.most_of_one == 1
    assert receiver.most_at_once <= 8


def test_a_message_that_is_tried_again_keeps_its_id_and_body_and_is_signed_anew(post, receiver, clock):
    endpoint, secret = post.endpoint(receiver.url)
    receiver.script = [500]
    post.sender(schedule=(0.0, 60.0))
    post.tell()
    until(lambda: post.messages(endpoint)[0].history)
    clock.forward(60)
    first, second = receiver.wait(2)
    assert (first.id, first.body) == (second.id, second.body)
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 60
    assert second.verified(secret)


def test_the_schedule_is_kept_and_after_its_last_attempt_the_message_has_failed(post, receiver, clock):
    endpoint, _ = post.endpoint(receiver.url)
    receiver.default = 503
    post.sender(schedule=SCHEDULE)
    post.tell()
    waits = []
    for attempt in range(1, 11):
        until(lambda attempt=attempt: len(post.messages(endpoint)[0].history) == attempt)
        message = post.messages(endpoint)[0]
        waits.append((message.next_at - clock.now).total_seconds())
        clock.now = message.next_at
    assert waits[:9] == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert (message.status, message.attempts, len(receiver.sent)) == ("failed", 10, 10)


def test_jitter_only_ever_waits_longer():
    assert all(300.0 <= some_later(300.0) <= 330.0 for _ in range(100))


@pytest.mark.parametrize("asked", ["120", "date"])
def test_a_receiver_that_names_a_time_is_not_asked_earlier(post, receiver, clock, asked):
    endpoint, _ = post.endpoint(receiver.url)
    clock.now = clock.now.replace(microsecond=0)
    at = clock.now + timedelta(seconds=120)
    said = format_datetime(at, usegmt=True) if asked == "date" else asked
    receiver.script = [(429, {"Retry-After": said}, b"")]
    post.sender(schedule=(0.0, 5.0))
    post.tell()
    until(lambda: post.messages(endpoint)[0].history)
    assert post.messages(endpoint)[0].next_at == at


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("0", 0), (" 7 ", 7), ("-5", 0), ("soon", 0), ("9" * 400, 999999999), ("Mon, 99 Nov 2026", 0), ("²", 0), ("", 0)],
)
def test_a_retry_after_that_cannot_be_read_asks_for_nothing(said, seconds, clock):
    assert seconds_of(said, clock.now) == seconds


def test_an_endless_retry_after_holds_a_message_for_a_week_at_most(post, receiver, clock):
    endpoint, _ = post.endpoint(receiver.url)
    receiver.script = [(503, {"Retry-After": "999999999"}, b"")]
    post.sender()
    post.tell()
    until(lambda: post.messages(endpoint)[0].history)
    assert post.messages(endpoint)[0].next_at == clock.now + timedelta(days=7)


def test_a_receiver_that_is_gone_is_sent_nothing_more(post, receiver):
    endpoint, _ = post.endpoint(receiver.url)
    receiver.default = 410
    post.tell()
    post.tell()
    post.sender(each=1)
    failed = post.settled(endpoint, "failed")
    assert [attempt.status for attempt in failed[0].history] == [410]
    assert len(post.messages(endpoint, status="cancelled")) == 1
    assert "410" in (post.endpoints.get(endpoint.id, "a").disabled or "")
    post.tell()
    assert len(post.messages(endpoint)) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_a_redirect_is_a_failure_and_is_not_followed(post, receiver, status):
    endpoint, _ = post.endpoint(receiver.url)
    receiver.default = (status, {"Location": receiver.url.replace("/hook", "/other")}, b"")
    post.sender(schedule=(0.0,))
    post.tell()
    message = post.settled(endpoint, "failed")[0]
    assert [attempt.status for attempt in message.history] == [status]
    assert [sent.path for sent in receiver.sent] == ["/hook"]


def test_a_receiver_that_is_not_there_is_tried_again(post, receiver):
    endpoint, _ = post.endpoint("http://127.0.0.1:9/hook")
    post.sender(schedule=(0.0, 0.0))
    post.tell()
    message = post.settled(endpoint, "failed")[0]
    assert [(attempt.status, attempt.error) for attempt in message.history] == [(None, "not_reachable")] * 2


def test_a_receiver_that_hangs_has_its_time_and_no_more(post, receiver):
    endpoint, _ = post.endpoint(receiver.url)
    receiver.gate.clear()
    post.sender(schedule=(0.0,), total=0.2)
    post.tell()
    assert post.settled(endpoint, "failed")[0].history[0].error == "timeout"


def test_a_slow_receiver_holds_up_nobody_else(post, receiver):
    slow, _ = post.endpoint(receiver.url)
    receiver.gate.clear()
    for _ in range(6):
        post.tell()
    post.sender(workers=4)
    receiver.wait(2)
    with Receiver() as other:
        quick, _ = post.endpoint(other.url, tenant="b")
        for _ in range(6):
            post.tell(tenant="b")
        post.settled(quick, "delivered", 6)
        assert len(receiver.sent) == 2
    receiver.gate.set()
    post.settled(slow, "delivered", 6)
    assert receiver.most_at_once == 2


def test_during_a_rotation_both_secrets_verify_and_afterwards_only_the_new_one(post, receiver, clock):
    endpoint, old = post.endpoint(receiver.url)
    _, new = post.endpoints.rotate(endpoint.id, "a")
    post.sender()
    post.tell()
    sent = receiver.wait()[0]
    assert (sent.verified(old), len(sent.headers["webhook-signature"].split())) == (sent.verified(new), 2)
    kept = post.endpoints.get(endpoint.id, "a")
    clock.forward(86_399)
    assert post.endpoints.secrets(kept, clock.now) == (new, old)
    clock.forward(1)
    assert post.endpoints.secrets(kept, clock.now) == (new,)


def test_a_killed_senders_message_is_sent_by_another_once_its_lease_is_over(post, receiver, clock):
    endpoint, secret = post.endpoint(receiver.url)
    post.tell()
    dead = post.claim("killed", lease=30.0)
    assert dead is not None
    clock.forward(29.9)
    assert post.claim("w2") is None
    clock.forward(0.1)
    post.sender()
    assert receiver.wait()[0].verified(secret)
    message = post.settled(endpoint, "delivered")[0]
    assert (message.id, message.attempts) == (dead.id, 2)


def test_a_sender_that_lost_its_lease_changes_nothing(post, receiver, clock):
    endpoint, _ = post.endpoint(receiver.url)
    post.tell()
    late = post.claim("late", lease=1.0)
    clock.forward(1)
    holder = post.claim("holder")
    assert late and holder
    told = Attempt(clock.now, 200, None, 1)
    assert post.outbox.delivered(late, told) is False
    assert post.outbox.hand_back(late) is False
    assert post.messages(endpoint)[0].status == "pending"
    assert post.outbox.delivered(holder, told) is True


def test_a_stop_lets_an_attempt_finish_within_its_grace(post, receiver):
    endpoint, _ = post.endpoint(receiver.url)
    sender = post.sender()
    receiver.gate.clear()
    post.tell()
    receiver.wait()
    stop = threading.Thread(target=sender.stop, args=(10,))
    stop.start()
    until(lambda: sender.health()["status"] == "unknown")
    receiver.gate.set()
    stop.join(10)
    assert post.messages(endpoint)[0].status == "delivered"


def test_a_stop_cuts_what_hangs_and_hands_it_back_at_once(post, receiver):
    endpoint, _ = post.endpoint(receiver.url)
    receiver.gate.clear()
    sender = post.sender(schedule=(0.0,))
    post.tell()
    receiver.wait()
    sender.stop(0.0)
    message = post.messages(endpoint)[0]
    assert (message.status, message.history) == ("pending", ())
    claim = post.claim("next")
    assert claim is not None and claim.step == 0


def test_a_delivery_is_made_again_under_the_same_id(post, receiver):
    endpoint, secret = post.endpoint(receiver.url)
    post.sender()
    post.tell()
    message = post.settled(endpoint, "delivered")[0]
    post.outbox.redeliver(message.id, endpoint.id, "a")
    first, second = receiver.wait(2)
    assert (second.id, second.verified(secret)) == (message.id, first.verified(secret))
    until(lambda: len(post.messages(endpoint)[0].history) == 2)


def test_a_failed_delivery_that_is_made_again_has_the_whole_schedule_before_it(post, receiver):
    endpoint, _ = post.endpoint(receiver.url)
    receiver.script = [500, 500, 500]
    post.sender(schedule=(0.0, 0.0))
    post.tell()
    message = post.settled(endpoint, "failed")[0]
    post.outbox.redeliver(message.id, endpoint.id, "a")
    done = post.settled(endpoint, "delivered")[0]
    assert [attempt.status for attempt in done.history] == [500, 500, 500, 200]


def test_a_test_event_is_sent_whatever_the_filter(post, receiver):
    endpoint, secret = post.endpoint(receiver.url, events=["job.failed"])
    post.sender()
    message = post.outbox.test(endpoint.id, "a")
    sent = receiver.wait()[0]
    assert (sent.id, sent.verified(secret)["type"]) == (message.id, "webhook.test")


def test_an_answer_without_end_is_not_read(post, receiver):
    endpoint, _ = post.endpoint(receiver.url)
    receiver.default = (200, {"Content-Length": str(10**9)}, b"x" * 10**7)
    post.sender()
    post.tell()
    message = post.settled(endpoint, "delivered")[0]
    assert message.history[0].milliseconds < 5000


def test_health_tells_whether_threads_send(post):
    sender = WebhookSender(post.outbox, post.endpoints, post.egress, schedule=AT_ONCE, workers=3, poll=0.02)
    assert sender.health()["status"] == "unknown"
    sender.start()
    assert sender.health() == {"status": "ok", "workers": 3, "sending": 0}
    sender.stop(1)
    assert sender.health() == {"status": "unknown", "workers": 0, "sending": 0}
