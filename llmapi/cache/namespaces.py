"""What may be compared at all: questions that differ in nothing but the last thing the user said."""

import re
from dataclasses import dataclass, replace
from typing import Final

from llmapi.cache.keys import cache_key
from llmapi.core.calls import Call

_CODE: Final = re.compile(
    r"\A(?P<before>Language: [^\n]*\n\nTask:\n)(?P<said>.*?)"
    r"(?P<after>\n\n(?:Use this context|The code must pass these tests):\n.*)?\Z",
    re.DOTALL,
)
_CLASSIFY: Final = re.compile(r"\A(?P<before><(?P<mark>text\d*)>\n)(?P<said>.*)(?P<after>\n</(?P=mark)>)\Z", re.DOTALL)
_AROUND: Final = {"code": _CODE, "classify": _CLASSIFY}
DIGITS: Final = 32  # hexadecimal ones of a namespace


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the cache by meaning sees it. `space` is `tenant:digest`, `key` the exact cache's."""

    space: str
    text: str
    key: str = ""


def asked_of(call: Call) -> Asked | None:
    """Return a call's namespace and what is compared in it; None when the last turn is not the user's.

    The namespace is the exact cache's key of the call without that text: every field that makes two calls different
    questions there keeps them apart here. What a task writes around the text (code's language, context and tests,
    the marks around a text to classify) belongs to the namespace too.
    """
    if not call.messages or call.messages[-1].role != "user":
        return None
    *before, last = call.messages
    around, text = _taken_apart(call.task, last.text)
    space = cache_key(replace(call, messages=(*before, replace(last, text=around))))
    return Asked(space[: -64 + DIGITS], text, cache_key(call))


def _taken_apart(task: str, text: str) -> tuple[str, str]:
    """Return what stands around what the user said, with a NUL in its place, and what the user said."""
    pattern = _AROUND.get(task)
    found = pattern.match(text) if pattern else None
    if found is None:
        return "\0", text.strip()
    return f"{found['before']}\0{found['after'] or ''}", found["said"].strip()
