"""The parts that manage what is kept."""

from collections.abc import Iterable
from typing import NamedTuple

from llmapi.cache.marks import Marks
from llmapi.core.contracts import AnswerCache
from llmapi.core.kept import Mark
from llmapi.parts.base import Base
from llmapi.tasks.lookup import ByMeaning, Lookup
from llmapi.tasks.runner import Tasks


class Managing(NamedTuple):
    """What is declared good no longer, and looks at what is kept."""

    marks: Marks
    lookup: Lookup


def open_managing(base: Base, cache: AnswerCache, meaning: ByMeaning, tasks: Tasks) -> Managing:
    """Return them."""

    def drop(marks: Iterable[Mark]) -> None:
        for mark in marks:
            meaning.drop(mark)

    marks = Marks(base.engine, [cache.mark, drop], ttl=base.settings.cache_ttl)
    return Managing(marks, Lookup(tasks, cache, meaning))
