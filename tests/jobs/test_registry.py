from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql

from llmapi.core.contracts import Later
from llmapi.core.errors import JobNotCancellable, LlmApiError, NotFound
from llmapi.core.ids import is_good_id
from llmapi.jobs import priorities
from llmapi.jobs.job import described
from llmapi.jobs.registry import Registry
from tests.jobs.parts import Clock, Heard, claimed, put

BROKEN = described(LlmApiError("broken"))


def status(registry: Registry, id: str) -> str:
    return registry.get(id, "a").status


def test_it_is_what_the_tasks_call_later(registry: Registry) -> None:
    later: Later = registry
    assert is_good_id(later.put("echo", {}, tenant="a"))


def test_a_job_that_was_put_can_be_read(registry: Registry, clock: Clock) -> None:
    job = registry.get(put(registry, request_id="r1", priority=7), "a")
    assert (job.kind, job.status, job.arguments, job.request_id) == ("echo", "queued", {"text": "hello"}, "r1")
    assert (job.priority, job.attempts, job.created, job.run_at) == (7, 0, clock.now, clock.now)
    assert (job.started, job.finished, job.result, job.error, job.duration) == (None,) * 5


def test_a_job_goes_its_way_and_each_step_is_told(registry: Registry, heard: Heard, clock: Clock) -> None:
    id = put(registry, request_id="r1")
    claim = claimed(registry)
    clock.forward(2.5)
    assert registry.succeed(claim, {"text": "HELLO"})
    job = registry.get(id, "a")
    assert (job.status, job.result, job.duration, job.attempts) == ("succeeded", {"text": "HELLO"}, 2.5, 1)
    assert heard.statuses() == ["queued", "running", "succeeded"]
    assert (heard.events[-1].duration, heard.events[-1].request_id) == (2.5, "r1")


def test_a_foreign_job_is_like_an_unknown_one(registry: Registry) -> None:
    id = put(registry)
    said = []
    for ask in (registry.get, registry.cancel):
        for wrong in ((id, "b"), ("job_unknown", "a")):
            with pytest.raises(NotFound) as caught:
                ask(*wrong)
            said.append(str(caught.value))
    assert len(set(said)) == 1
    assert status(registry, id) == "queued"


def test_the_highest_priority_goes_first_and_then_the_oldest(registry: Registry, clock: Clock) -> None:
    order = []
    for priority in (5, 9, 5, 0):
        order.append(put(registry, priority=priority))
        clock.forward(1)
    assert [claimed(registry).job.id for _ in order] == [order[1], order[0], order[2], order[3]]
    assert registry.claim("w1", 30) is None


def test_a_job_for_later_waits_for_its_time(registry: Registry, clock: Clock) -> None:
    put(registry, run_at=clock.now + timedelta(seconds=60))
    clock.forward(59.9)
    assert registry.claim("w1", 30) is None
    clock.forward(0.1)
    assert registry.claim("w1", 30) is not None


def test_a_job_of_a_dead_worker_is_taken_up_when_its_lease_ends(registry: Registry, clock: Clock) -> None:
    id = put(registry)
    claimed(registry, "w1", lease=30)
    clock.forward(29.9)
    assert registry.claim("w2", 30) is None
    clock.forward(0.1)
    second = claimed(registry, "w2")
    assert (second.job.id, second.job.attempts) == (id, 2)


def test_a_heartbeat_keeps_the_lease(registry: Registry, clock: Clock) -> None:
    put(registry)
    claim = claimed(registry, lease=30)
    clock.forward(20)
    assert registry.heartbeat(claim) == "held"
    clock.forward(20)
    assert registry.claim("w2", 30) is None


def test_who_lost_the_lease_writes_nothing(registry: Registry, clock: Clock) -> None:
    id = put(registry)
    lost = claimed(registry, lease=30)
    clock.forward(30)
    holds = claimed(registry)  # even the same owner's old claim is void
    assert registry.heartbeat(lost) == "lost"
    assert not registry.progress(lost, {"done": 1})
    assert not registry.succeed(lost, {"by": "the late one"})
    assert not registry.fail(lost, BROKEN)
    assert not registry.hand_back(lost)
    assert registry.succeed(holds, {"by": "the holder"})
    assert registry.get(id, "a").result == {"by": "the holder"}


def test_a_claim_before_a_hand_back_is_void_after_it(registry: Registry) -> None:
    id = put(registry)
    before = claimed(registry)
    assert registry.hand_back(before)
    after = claimed(registry)
    assert (before.owner, before.job.attempts) == (after.owner, after.job.attempts)
    assert not registry.succeed(before, {})
    assert status(registry, id) == "running"


def test_a_job_whose_workers_all_died_is_dead_and_says_why(registry: Registry, clock: Clock, heard: Heard) -> None:
    id = put(registry)
    for _ in range(3):
        claimed(registry, lease=30)
        clock.forward(30)
    assert registry.claim("w1", 30) is None
    job = registry.get(id, "a")
    assert (job.status, job.attempts, job.finished) == ("dead", 3, clock.now)
    assert job.error is not None and job.error["code"] == "internal_error"
    assert heard.statuses()[-1] == "dead"


def test_a_failure_keeps_its_error(registry: Registry) -> None:
    id = put(registry)
    assert registry.fail(claimed(registry), BROKEN)
    job = registry.get(id, "a")
    assert (job.status, job.error) == ("failed", BROKEN)


def test_a_failure_may_be_tried_again_later_while_attempts_are_left(registry: Registry, clock: Clock) -> None:
    id = put(registry)
    for _ in range(2):
        assert registry.fail(claimed(registry), BROKEN, retry_in=10)
        assert (status(registry, id), registry.claim("w1", 30)) == ("queued", None)
        clock.forward(10)
    assert registry.fail(claimed(registry), BROKEN, retry_in=10)
    dead = registry.get(id, "a")
    assert (dead.status, dead.reason, dead.error, dead.finished) == ("dead", "attempts_spent", BROKEN, clock.now)


def test_a_job_handed_back_has_lost_no_attempt(registry: Registry) -> None:
    id = put(registry)
    assert registry.hand_back(claimed(registry))
    job = registry.get(id, "a")
    assert (job.status, job.attempts, job.finished) == ("queued", 0, None)


def test_a_waiting_job_that_is_cancelled_never_runs(registry: Registry, heard: Heard) -> None:
    id = put(registry)
    assert registry.cancel(id, "a").status == "cancelled"
    assert registry.claim("w1", 30) is None
    assert heard.statuses() == ["queued", "cancelled"]


@pytest.mark.parametrize("end", [Registry.hand_back, lambda registry, claim: registry.fail(claim, BROKEN)])
def test_a_running_job_is_asked_to_end_and_then_cancelled(registry: Registry, end: Any) -> None:
    id = put(registry)
    claim = claimed(registry)
    asked = registry.cancel(id, "a")
    assert (asked.status, asked.cancel_asked) == ("running", True)
    assert registry.asked_to_cancel("w1") == {id}
    assert registry.heartbeat(claim) == "cancel"
    assert end(registry, claim)
    assert (status(registry, id), registry.get(id, "a").error) == ("cancelled", None)


def test_a_job_that_ended_before_it_heard_keeps_its_result(registry: Registry) -> None:
    id = put(registry)
    claim = claimed(registry)
    registry.cancel(id, "a")
    assert registry.succeed(claim, {})
    assert status(registry, id) == "succeeded"


def test_a_job_whose_worker_died_is_cancelled_at_once(registry: Registry, clock: Clock) -> None:
    id = put(registry)
    claimed(registry, lease=30)
    clock.forward(30)
    assert registry.cancel(id, "a").status == "cancelled"


def test_a_job_cancelled_before_its_worker_died_does_not_run_again(registry: Registry, clock: Clock) -> None:
    id = put(registry)
    claimed(registry, lease=30)
    registry.cancel(id, "a")
    clock.forward(30)
    assert registry.claim("w2", 30) is None
    assert status(registry, id) == "cancelled"


def test_what_has_ended_cannot_be_cancelled(registry: Registry) -> None:
    id = put(registry)
    registry.succeed(claimed(registry), {})
    with pytest.raises(JobNotCancellable, match="succeeded"):
        registry.cancel(id, "a")


def test_a_listing_pages_through_a_tenants_jobs_newest_first(registry: Registry) -> None:
    ids = sorted((put(registry) for _ in range(5)), reverse=True)
    put(registry, tenant="b")
    first = registry.list("a", limit=3)
    rest = registry.list("a", limit=3, after=first.after)
    assert [job.id for job in (*first.jobs, *rest.jobs)] == ids
    assert (first.after, rest.after) == (ids[2], None)
    assert first.jobs[0].arguments is None


def test_a_listing_can_be_of_one_status(registry: Registry) -> None:
    put(registry)
    running = put(registry, priority=9)
    claimed(registry)
    assert [job.id for job in registry.list("a", status="running").jobs] == [running]


def test_progress_is_kept_while_it_runs(registry: Registry) -> None:
    id = put(registry)
    assert registry.progress(claimed(registry), {"done": 1, "of": 3})
    assert registry.get(id, "a").progress == {"done": 1, "of": 3}


def test_ended_jobs_are_forgotten_after_their_time_and_no_others(registry: Registry, clock: Clock) -> None:
    ended = put(registry)
    registry.succeed(claimed(registry), {})
    waiting = put(registry)
    clock.forward(60)
    assert registry.expire_old(keep_for=60) == 0
    clock.forward(1)
    assert registry.expire_old(keep_for=60) == 1
    assert [job.id for job in registry.list("a").jobs] == [waiting]
    with pytest.raises(NotFound):
        registry.get(ended, "a")


def test_who_waits_for_work_is_woken_by_it(registry: Registry) -> None:
    woken: list[str] = []
    registry.on_work(lambda: woken.append("up"))
    put(registry)
    registry.hand_back(claimed(registry))
    assert woken == ["up", "up"]


def test_workers_on_postgresql_do_not_wait_for_each_other() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    sql = priorities.CLAIM_NEXT.compile(dialect=dialect)
    assert "FOR UPDATE OF waiting SKIP LOCKED" in str(sql)
