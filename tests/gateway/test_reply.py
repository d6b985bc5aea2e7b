"""A reply is read once and has two endings."""

import gc
import weakref

import pytest

from llmapi.core.calls import Chunk, Completion, Facts, Usage
from llmapi.core.reply import Reply


def told(reply):
    endings = []
    reply.when_complete(lambda answer: endings.append(("complete", answer.text)))
    reply.when_ended(lambda answer, error: endings.append(("ended", answer.text, type(error))))
    return endings


def chunks(*steps):
    for step in steps:
        if isinstance(step, BaseException):
            raise step
        yield Chunk(step, Usage(1, 1))


def test_a_whole_answer_is_told_complete_and_then_ended():
    reply = Reply(chunks("a", "b"), Facts())
    endings = told(reply)
    assert reply.completion() == Completion("ab", Usage(2, 2), "other")
    assert endings == [("complete", "ab"), ("ended", "ab", type(None))]
    assert reply.completed


def test_reading_again_tells_nothing_again():
    reply = Reply(chunks("a"), Facts())
    endings = told(reply)
    assert reply.completion() == reply.completion()
    reply.close()
    assert len(endings) == 2


@pytest.mark.parametrize("leave", [lambda reply, reading: reply.close(), lambda reply, reading: reading.close()])
def test_who_leaves_early_ends_the_reply_without_completing_it(leave):
    source = chunks("a", "b")
    reply = Reply(source, Facts())
    endings = told(reply)
    reading = iter(reply)
    next(reading)
    leave(reply, reading)
    assert list(reading) == [] and list(source) == []
    assert endings == [("ended", "a", type(None))]
    assert not reply.completed


def test_a_failure_on_the_way_is_told_and_raised():
    reply = Reply(chunks("a", OSError("cut")), Facts())
    endings = told(reply)
    with pytest.raises(OSError, match="cut"):
        reply.completion()
    assert endings == [("ended", "a", OSError)]


def test_the_ending_is_told_also_when_the_source_fails_to_close():
    class Stuck:
        def __iter__(self):
            return self

        def __next__(self):
            return Chunk("a")

        def close(self):
            raise OSError("already gone")

    reply = Reply(Stuck(), Facts())
    endings = told(reply)
    with pytest.raises(OSError):
        reply.close()
    assert endings == [("ended", "", type(None))]


def test_an_ended_reply_is_let_go_at_once_without_the_garbage_collector():
    reply = Reply(chunks("a"), Facts())
    reply.when_ended(lambda *_, mine=reply: None)
    gone = weakref.ref(reply)
    gc.disable()
    try:
        reply.completion()
        del reply
        assert gone() is None
    finally:
        gc.enable()
