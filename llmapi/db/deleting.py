"""Old rows are deleted in short transactions, so that a clean-up never holds up others for long."""

from collections.abc import Callable

STEPS = 20  # transactions of one clean-up


def in_steps(delete_some: Callable[[], int], at_once: int, steps: int = STEPS) -> int:
    """Return how many rows were deleted, by as many transactions as there is work for, `steps` at most.

    delete_some: deletes up to `at_once` rows in a transaction of its own and returns how many
    """
    deleted = 0
    for _ in range(steps):
        found = delete_some()
        deleted += found
        if found < at_once:
            break
    return deleted
