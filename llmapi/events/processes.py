"""Numbers of several worker processes in one scrape: each writes files of its own, the scrape adds them up.

prometheus_client decides when it is first imported, by a variable of the environment and in no other way, whether
its numbers live in files. So it is imported here and in metrics.py only, inside functions.
"""

import os
from os import environ  # written for prometheus_client, not read: settings are read in settings.py
from pathlib import Path

from llmapi.core.errors import BadSetting

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share_numbers(directory: Path) -> None:
    """Let this process and those it forks keep their numbers in files of a directory; before the fork, once.

    Files of processes that are gone are thrown away: they are of an earlier run.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in directory.glob("*.db"):
        pid = file.stem.rpartition("_")[2]
        if not (pid.isdecimal() and _lives(int(pid))):
            file.unlink(missing_ok=True)
    environ[VARIABLE] = str(directory)
    if not numbers_are_shared():
        raise BadSetting("workers: prometheus_client was imported before the numbers could be shared")


def numbers_are_shared() -> bool:
    """Say whether the numbers of this process are kept in files."""
    from prometheus_client import values

    return values.ValueClass is not values.MutexValue


def forget_process(pid: int) -> None:
    """Forget what a dead worker had open (entries in its cache); what it counted stays counted."""
    if numbers_are_shared():
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
