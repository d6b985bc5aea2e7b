"""What becomes of a run that failed, and how far a run says it is."""

import pytest

from llmapi.core.errors import CallEnded, LlmApiError, ProviderInvalid, ProviderThrottled, ProviderTimeout
from llmapi.core.errors import ProviderUnavailable
from llmapi.core.lifetime import Lifetime
from llmapi.jobs.registry import Registry
from llmapi.jobs.runner import Runner
from llmapi.jobs.running import Backoff, JobContext, Progress, may_help
from tests.jobs.parts import Clock, claimed, put

SURE = Backoff(first=2.0, most=60.0, draw=lambda: 1.0)


def attempt(registry: Registry, error: LlmApiError, timeout: float = 600.0, **more: float) -> Lifetime:
    """Run the job whose turn it is, which fails; returns the lifetime it was given."""
    lives: list[Lifetime] = []

    def run(context: JobContext) -> dict[str, object]:
        lives.append(context.lifetime)
        raise error

    runner = Runner(registry, {"echo": run}, backoff=SURE, timeout=timeout, clock=lambda: 0.0)
    runner.run(claimed(registry))
    return lives[0]


def test_a_failure_that_may_pass_is_tried_again_later_each_time_and_dead_at_the_end(
    registry: Registry, clock: Clock
) -> None:
    id, waits = put(registry), []
    for _ in range(2):
        attempt(registry, ProviderUnavailable("away"))
        job = registry.get(id, "a")
        assert (job.status, (job.error or {})["code"]) == ("queued", "provider_unavailable")
        waits.append((job.run_at - clock.now).total_seconds())
        clock.forward(waits[-1])
    attempt(registry, ProviderUnavailable("away"))
    job = registry.get(id, "a")
    assert (waits, job.status, job.reason) == ([2.0, 4.0], "dead", "attempts_spent")


@pytest.mark.parametrize("error", [ProviderInvalid("no"), ProviderTimeout("may be paid for"), CallEnded("over")])
def test_what_will_not_pass_or_may_have_been_paid_for_is_tried_once(registry: Registry, error: LlmApiError) -> None:
    id = put(registry)
    attempt(registry, error)
    assert registry.get(id, "a").status == "failed"


def test_a_job_that_had_no_time_left_is_not_tried_again() -> None:
    assert may_help(ProviderUnavailable("away"), Lifetime(1.0, lambda: 0.0))
    assert not may_help(ProviderUnavailable("away"), Lifetime(0.0, lambda: 0.0))


@pytest.mark.parametrize(
    ("number", "drawn", "asked", "seconds"),
    [(1, 1.0, None, 2.0), (1, 0.0, None, 1.0), (4, 1.0, None, 16.0), (99, 1.0, None, 60.0), (1, 0.0, 30.0, 30.0),
     (1, 1.0, 9999.0, 60.0)],
)
def test_waits_double_up_to_a_bound_by_half_at_random_and_not_below_what_was_asked(
    number: int, drawn: float, asked: float | None, seconds: float
) -> None:
    backoff = Backoff(first=2.0, most=60.0, draw=lambda: drawn)
    assert backoff.seconds(number, ProviderThrottled("busy", retry_after=asked)) == seconds


@pytest.mark.parametrize(("wanted", "given"), [(5.0, 5.0), (None, 100.0), (500.0, 100.0)])
def test_a_jobs_own_timeout_can_only_shorten_the_workers(
    registry: Registry, wanted: float | None, given: float
) -> None:
    put(registry, timeout=wanted)
    assert attempt(registry, CallEnded("over"), timeout=100.0).deadline == given


def test_progress_keeps_the_first_word_and_the_last_and_not_all_between(registry: Registry) -> None:
    now = [0.0]
    id = put(registry)
    progress = Progress(registry, claimed(registry), lambda: now[0])
    kept = []
    for at, done in ((0.0, 400), (0.1, 401), (0.3, 402), (0.4, 1000)):
        now[0] = at
        assert progress({"done": done, "total": 1000})
        kept.append((registry.get(id, "a").progress or {})["done"])
    assert kept == [400, 400, 402, 1000]
    assert (registry.get(id, "a").progress or {})["from"] == 400


def test_progress_says_when_the_job_is_no_longer_ours(registry: Registry) -> None:
    put(registry)
    claim = claimed(registry)
    registry.hand_back(claim)
    assert not Progress(registry, claim, lambda: 0.0)({"done": 1})
