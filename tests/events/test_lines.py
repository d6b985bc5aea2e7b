"""Log lines come in their order, none is lost but by `kill -9`, and what matters is written at once."""

import errno
import io
import os
import threading

from llmapi.events.lines import LineWriter, NamedWriter


class Out(io.BytesIO):
    """A file that says when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()
        self.writes = 0
        self.full = False
        self.refused = threading.Event()

    def flush(self) -> None:
        if self.full:
            self.refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        self.writes += 1
        self.written.set()


def test_without_a_delay_every_line_is_written_at_once():
    out = Out()
    writer = LineWriter(out)
    writer.soon(b"a")
    assert out.getvalue() == b"a\n"


def test_lines_of_a_moment_are_written_together_and_in_order():
    out = Out()
    writer = LineWriter(out, delay=0.02)
    for number in range(500):
        writer.soon(b"%d" % number)
    assert out.written.wait(5)
    writer.flush()
    assert out.getvalue().split() == [b"%d" % number for number in range(500)]
    assert out.writes < 50


def test_a_warning_is_written_at_once_with_all_that_waited():
    out = Out()
    named = NamedWriter(LineWriter(out, delay=60.0), "llmapi.calls")
    named.info(b"first")
    assert out.getvalue() == b""
    named.warning(b"second")
    assert (out.getvalue(), named.name) == (b"first\nsecond\n", "llmapi.calls")


def test_a_full_disk_breaks_nobody_and_is_written_to_again_once_there_is_room():
    out = Out()
    writer = LineWriter(out, delay=0.01)
    out.full = True
    writer.soon(b"by the thread")
    assert out.refused.wait(5)
    writer.now(b"by the caller")
    out.full = False
    writer.soon(b"later")
    assert out.written.wait(5)
    assert out.getvalue().endswith(b"later\n")


def test_no_line_is_lost_between_threads():
    out, together = Out(), threading.Barrier(8)
    writer = LineWriter(out, delay=0.001)

    def write(name):
        together.wait()
        for number in range(200):
            writer.soon(b"%d-%d" % (name, number))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.flush()
    lines = out.getvalue().split()
    assert len(lines) == len(set(lines)) == 1600


def test_a_fork_writes_what_waited_once_and_goes_on_by_itself(tmp_path):
    file = tmp_path / "log"
    with file.open("wb") as out:
        writer = LineWriter(out, delay=0.01)
        writer.soon(b"parent")
        child = os.fork()
        if child == 0:
            writer.soon(b"child")
            writer.flush()
            os._exit(0)
        os.waitpid(child, 0)
    assert sorted(file.read_bytes().split()) == [b"child", b"parent"]
