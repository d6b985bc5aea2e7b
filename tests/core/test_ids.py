"""Ids sort as they were made, so that a list by id is a list by time."""

import re
import time

from llmapi.core.ids import ALPHABET, is_good_id, new_id


def test_ids_of_one_process_sort_as_they_were_made() -> None:
    made = [new_id("job") for _ in range(2000)]
    assert made == sorted(made)
    assert len(set(made)) == 2000


def test_an_id_tells_its_millisecond_as_a_ulid_does() -> None:
    before = time.time_ns() // 1_000_000
    id = new_id("job")
    assert re.fullmatch(f"job_[{ALPHABET}]{{26}}", id)
    assert is_good_id(id)
    number = sum(ALPHABET.index(letter) << 5 * place for place, letter in enumerate(reversed(id[4:])))
    assert before <= number >> 80 <= time.time_ns() // 1_000_000
