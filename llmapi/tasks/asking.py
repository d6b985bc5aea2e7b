"""Asking a model as a plain function, so that a task needs neither gateway nor provider to be tried out."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from llmapi.core.calls import NOTHING, Call, Completion, Message
from llmapi.core.errors import LlmApiError

Ask = Callable[[Call], Completion]
AskMany = Callable[[Sequence[Call]], list[Completion]]  # all at the same time, answers in the order of the calls


class Tally:
    """Asks, and adds up what was used, so that an error on the way says what the answers before it had cost."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.usage = NOTHING

    def __call__(self, call: Call) -> Completion:
        try:
            answer = self._ask(call)
        except LlmApiError as error:
            error.usage += self.usage
            raise
        self.usage += answer.usage
        return answer


def follow_up(call: Call, answer: Completion, complaint: str) -> Call:
    """Return the same call with its answer and what is wrong with it as two more turns."""
    said = answer.text if answer.text.strip() else "(no answer)"  # vendors refuse an empty turn
    return replace(call, messages=(*call.messages, Message("assistant", said), Message("user", complaint)))
