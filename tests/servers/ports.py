"""A port for a server that cannot be given one by the system."""

import contextlib
import random
import socket

SAFE = range(20_000, 32_000)  # the system gives out none of these by itself (on Linux they begin at 32768)


def free_port() -> int:
    """Return a port nobody listens on, nor will by chance while the server that is to have it starts."""
    chance = random.SystemRandom()  # test runs beside each other must not choose alike, whatever they are seeded with
    while True:
        port = chance.choice(SAFE)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
