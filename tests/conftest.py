"""What every test stands on: no test leaves this machine, none waits for real time."""

import ipaddress
import sys
from typing import Any

pytest_plugins = ["tests.fakes.fixtures", "tests.servers.fixtures"]


def stay_at_home(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse every connection that would leave this machine."""
    if event != "socket.connect" or not isinstance(arguments[1], tuple):
        return
    host = arguments[1][0]
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise PermissionError(f"a test tried to reach {host}")


sys.addaudithook(stay_at_home)
