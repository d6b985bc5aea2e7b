"""A stream keeps its promises while the model is silent."""

import socket
import threading

from llmapi.api.streaming import PING, Numbered, Pump, first_event, gone, recorded, written
from llmapi.core.errors import ProviderBroken
from llmapi.core.lifetime import Lifetime
from llmapi.gateway.recording import Recording
from llmapi.tasks.runner import StreamEvent


def chunk(text):
    return StreamEvent("chunk", {"text": text})


def show(error):
    return {"code": error.code}


class Stream:
    """A stream of events, read as a client would."""

    def __init__(self, events, life, connection=None, heartbeat=15.0, **how):
        self.recording = Recording("acme", life, **how)
        voice = Numbered(show)
        self.pump = Pump(lambda: recorded(events(), self.recording, voice), life)
        first = first_event(self.pump, connection, 5)
        leave = self.recording.leave
        self.body = written(self.pump, first, connection, heartbeat=heartbeat, voice=voice, leave=leave)


def test_a_client_that_hung_up_is_seen_and_one_that_did_not_is_not():
    ours, theirs = socket.socketpair()
    assert not gone(ours)
    theirs.sendall(b"more")
    assert not gone(ours)
    assert ours.recv(4) == b"more"
    theirs.close()
    assert gone(ours)
    ours.close()
    assert gone(ours)


def test_silence_is_filled_with_comments_and_events_are_numbered():
    go_on, life = threading.Event(), Lifetime(10)

    def slow():
        yield chunk("a")
        go_on.wait(5)
        yield chunk("b")

    stream = Stream(slow, life, heartbeat=0.0).body
    assert next(stream) == PING
    assert next(stream).startswith(b"id: 0\nevent: chunk\n")
    assert next(stream) == PING  # nothing has come for `heartbeat` seconds
    go_on.set()
    rest = [each for each in stream if each != PING]
    assert rest == [b'id: 1\nevent: chunk\ndata: {"text":"b"}\n\n']


def test_when_the_client_leaves_the_call_is_ended_though_the_model_is_silent():
    ours, theirs = socket.socketpair()
    life, woken = Lifetime(60), threading.Event()
    life.on_end(woken.set)

    def silent():
        yield chunk("a")
        woken.wait(10)

    stream = Stream(silent, life, ours).body
    next(stream)
    next(stream)
    theirs.close()
    assert list(stream) == []
    assert woken.wait(2)
    ours.close()


def test_leaving_the_generator_ends_the_call():
    life = Lifetime(60)
    stream = Stream(lambda: iter([chunk("a"), chunk("b")]), life).body
    next(stream)
    stream.close()
    assert life.ended


def test_a_failure_after_the_first_event_is_one_error_event_and_the_end():
    def broken():
        yield chunk("a")
        raise ProviderBroken("cut")

    stream = Stream(broken, Lifetime(10))
    frames = list(stream.body)
    assert frames[1:] == [
        b'id: 0\nevent: chunk\ndata: {"text":"a"}\n\n',
        b'id: 1\nevent: error\ndata: {"code":"provider_invalid"}\n\n',
    ]
    assert (stream.recording.since(0), stream.recording.outcome) == (frames[1:], "failed")


def test_a_stream_to_be_finished_goes_on_when_its_reader_leaves():
    go_on, life = threading.Event(), Lifetime(60)

    def slow():
        yield chunk("a")
        go_on.wait(5)
        yield chunk("b")

    stream = Stream(slow, life, finish=True)
    next(stream.body)
    stream.body.close()
    assert not life.ended
    go_on.set()
    stream.recording.wait(2, 5)
    assert (len(stream.recording.since(0)), stream.recording.outcome) == (2, "done")


def test_a_defect_is_told_to_the_reader_and_cuts_the_recording():
    def broken():
        yield chunk("a")
        raise ZeroDivisionError

    stream = Stream(broken, Lifetime(10))
    assert list(stream.body)[-1] == b'id: 1\nevent: error\ndata: {"code":"internal_error"}\n\n'
    assert stream.recording.outcome == "cut"
