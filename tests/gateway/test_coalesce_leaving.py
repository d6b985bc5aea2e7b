"""Of those who share an answer nobody depends on the patience of anybody else."""

import random
import threading

import pytest

from llmapi.core.calls import NOTHING, CacheWish
from llmapi.core.errors import CallEnded, LlmApiError, ProviderRefused, ProviderTimeout
from llmapi.core.errors import ProviderUnavailable as Down
from llmapi.core.lifetime import Lifetime
from llmapi.gateway.shared import SharedStream
from tests.gateway.conftest import PATIENCE, run
from tests.gateway.sharing import ANSWER, STREAM, Line


@pytest.fixture
def line():
    return Line()


def test_a_leader_that_leaves_takes_nobody_down_and_the_answer_is_kept_and_paid_once(line):
    line.provider.script = [STREAM]
    leader, follower = line.ask(), line.ask()
    leader.close()
    assert follower.completion() == ANSWER
    left, stayed = line.bus.events
    assert (left.status, left.billed, stayed.cache, stayed.billed) == ("abandoned", NOTHING, "miss", ANSWER.usage)
    assert len(stayed.attempts) == 1
    assert (line.cache.puts, line.ask().facts.cache) == (1, "hit")


def test_a_leader_that_leaves_before_the_first_chunk_takes_nobody_down(line):
    asking, go = threading.Event(), threading.Event()
    line.provider.script = [[lambda _: asking.set(), line.opened(go), *STREAM]]
    leading = line.call()

    def leave_then_let_go():
        asking.wait(PATIENCE)
        line.wait_for_callers(2)(None)
        leading.lifetime.end()
        go.set()

    def follow():
        asking.wait(PATIENCE)
        return line.ask().completion()

    left, answer, _ = run(lambda: line.handler(leading), follow, leave_then_let_go)
    assert (type(left), answer, len(line.provider.asked)) == (CallEnded, ANSWER, 1)
    assert not line.provider.asked[0].lifetime.ended
    assert line.coalesce.under_way() == 0


def test_the_last_to_leave_closes_the_upstream(line):
    line.provider.script = [STREAM]
    leader, follower = line.ask(), line.ask()
    leader.close()
    assert (line.provider.closed, line.provider.asked[0].lifetime.ended) == (0, False)
    follower.close()
    assert (line.provider.closed, line.provider.asked[0].lifetime.ended) == (1, True)
    assert line.coalesce.under_way() == 0


def test_when_every_caller_is_gone_the_upstream_is_ended_while_it_is_asked(line):
    asking = threading.Event()

    def until_ended(call):
        ended = threading.Event()
        call.lifetime.on_end(ended.set)
        asking.set()
        assert ended.wait(PATIENCE)
        raise CallEnded("the socket was closed")

    line.provider.script = [until_ended]
    leading, following = line.call(), line.call()

    def follow():
        asking.wait(PATIENCE)
        return line.handler(following)

    def leave():
        asking.wait(PATIENCE)
        line.wait_for_callers(2)(None)
        leading.lifetime.end()
        assert not line.provider.asked[0].lifetime.ended
        following.lifetime.end()

    failures = run(lambda: line.handler(leading), follow, leave)
    assert [type(failure) for failure in failures[:2]] == [CallEnded, CallEnded]
    assert line.coalesce.under_way() == 0


def test_a_follower_that_leaves_is_woken_at_once_and_the_others_are_not(line):
    asking, go = threading.Event(), threading.Event()
    line.provider.script = [[lambda _: asking.set(), line.opened(go), *STREAM]]
    following = line.call()

    def follow_and_leave():
        asking.wait(PATIENCE)
        leaver = threading.Thread(target=lambda: (line.wait_for_callers(2)(None), following.lifetime.end()))
        leaver.start()
        try:
            return line.handler(following)
        except CallEnded:
            return "woken" if not go.is_set() else "late"
        finally:
            leaver.join(PATIENCE)
            go.set()

    answer, follower = run(lambda: line.ask().completion(), follow_and_leave)
    assert (answer, follower) == (ANSWER, "woken")


def test_a_follower_waits_no_longer_than_it_has(line):
    asking, go = threading.Event(), threading.Event()
    line.provider.script = [[lambda _: asking.set(), line.opened(go), *STREAM]]

    def follow():
        asking.wait(PATIENCE)
        try:
            return line.ask(seconds=0.02)
        finally:
            go.set()

    answer, failure = run(lambda: line.ask().completion(), follow)
    assert (answer, type(failure)) == (ANSWER, ProviderTimeout)


def test_a_follower_that_fetches_itself_waits_no_longer_than_it_has_either(line):
    go = threading.Event()
    line.provider.script = [[STREAM[0], line.opened(go), *STREAM[1:]]]
    leader = line.ask()
    follower = line.ask(seconds=0.02)
    with pytest.raises(ProviderTimeout):
        follower.completion()
    go.set()
    assert leader.completion() == ANSWER


def test_the_upstream_is_closed_by_who_still_fetches_when_all_have_left(line):
    go = threading.Event()
    line.provider.script = [[STREAM[0], line.opened(go), *STREAM[1:]]]
    leader = line.ask()
    follower = line.ask(seconds=0.02)
    leader.close()
    with pytest.raises(ProviderTimeout):
        follower.completion()
    assert line.provider.asked[0].lifetime.ended
    go.set()
    for thread in threading.enumerate():
        if thread.name == "shared-stream":
            thread.join(PATIENCE)
    assert (line.provider.closed, line.coalesce.under_way()) == (1, 0)


def test_a_call_whose_time_is_over_asks_nobody_and_leaves_nothing_behind(line):
    over = line.call()
    over.lifetime.end()
    with pytest.raises(CallEnded):
        line.handler(over)
    assert (line.provider.asked, line.coalesce.under_way()) == ([], 0)


def test_a_question_nobody_lives_to_hear_answered_is_asked_anew(line):
    line.provider.script = [STREAM]
    first = line.call()
    line.handler(first)  # not closed: its thread has not noticed yet
    first.lifetime.end()
    assert (line.coalesce.under_way(), line.provider.asked[0].lifetime.ended) == (0, True)
    assert line.ask().completion() == ANSWER
    assert len(line.provider.asked) == 2


@pytest.mark.parametrize("how", ["given up", "out of time"])
def test_a_stream_that_can_serve_nobody_is_not_joined(how, clock):
    stream = SharedStream(Lifetime(60.0, clock), lambda _: None)
    reader = stream.enter(Lifetime(60.0, clock), clock)
    if how == "given up":
        stream.gone(reader)
        stream.lifetime.ended = False  # as another thread may see it in between
    else:
        clock.now += 60.0
    assert stream.join(Lifetime(90.0, clock), clock) is None


def hurried(line, mood, patience):
    """Ask as somebody does who may leave, be thrown out or run out of time; say whether nothing wrong was read."""
    call = line.call(0.001 if mood == "short" else 60.0, task=f"t{patience % 3}", cache=CacheWish("refresh"))
    thrower = threading.Timer(0.001 * patience, call.lifetime.end)
    if mood == "thrown out":
        thrower.start()
    try:
        reply = line.handler(call)
        for number, _ in enumerate(reply):
            if mood == "leaves" and number >= patience:
                break
        reply.close()
        return not reply.completed or reply.completion() == ANSWER
    except LlmApiError:
        return True
    finally:
        thrower.cancel()


@pytest.mark.parametrize("seed", range(6))
def test_whoever_leaves_whenever_no_question_stays_behind_and_no_answer_is_half(line, seed):
    chance = random.Random(seed)
    line.provider.script = [STREAM, [STREAM[0], Down("cut")], [Down("down")], STREAM, [ProviderRefused("no")]] * 30
    moods = [chance.choice(["short", "thrown out", "leaves", "stays", "stays"]) for _ in range(120)]
    plans = [(mood, chance.randint(0, 3)) for mood in moods]
    rounds = [lambda part=plans[place::8]: [hurried(line, *plan) for plan in part] for place in range(8)]
    assert run(*rounds) == [[True] * 15] * 8
    for thread in threading.enumerate():
        if thread.name == "shared-stream":
            thread.join(PATIENCE)
    assert line.coalesce.under_way() == 0
    assert len(line.bus.events) == 120
