"""What happened is told to everybody, and nobody who listens can spoil it."""

from llmapi.events.bus import EventBus


def test_every_sink_is_told_in_order():
    heard = []
    EventBus([lambda event: heard.append((1, event)), lambda event: heard.append((2, event))]).tell("x")
    assert heard == [(1, "x"), (2, "x")]


def test_a_sink_that_fails_is_logged_and_keeps_nobody_from_hearing(caplog):
    heard = []

    def broken(event):
        raise OSError("disk full")

    EventBus([broken, heard.append]).tell("x")
    assert heard == ["x"]
    assert "lost a str" in caplog.text and "disk full" in caplog.text
