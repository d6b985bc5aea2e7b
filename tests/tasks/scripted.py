"""A model as a plain function: it answers what the test scripted and keeps what it was asked."""

import math
from collections.abc import Sequence

from llmapi.core.calls import Call, Completion, Finish, Target, TokenLogprobs, Usage
from llmapi.core.errors import LlmApiError
from llmapi.core.lifetime import Lifetime

BASE = Call("req_1", "acme", "text", "m", (Target("fake", "m"),), Lifetime(60))


def said(text: str, finish: Finish = "stop") -> Completion:
    """Return an answer of ten tokens in and one out."""
    return Completion(text, Usage(10, 1), finish)


def token(text: str, **chances: float) -> TokenLogprobs:
    """Return a token with what else could have been said there, as probabilities."""
    logs = {word: math.log(chance) for word, chance in chances.items()}
    return TokenLogprobs(text, logs.get(text, -0.1), tuple(logs.items()))


def tokens(*places: TokenLogprobs) -> Completion:
    """Return an answer made of tokens."""
    return Completion("".join(place.token for place in places), Usage(10, 1), "stop", places)


class Model:
    """Answers in turn; an error in the script is raised."""

    def __init__(self, *script: Completion | LlmApiError | str) -> None:
        self._script = list(script)
        self.calls: list[Call] = []

    def ask(self, call: Call) -> Completion:
        self.calls.append(call)
        answer = self._script.pop(0)
        if isinstance(answer, LlmApiError):
            raise answer
        return said(answer) if isinstance(answer, str) else answer

    def ask_many(self, calls: Sequence[Call]) -> list[Completion]:
        return [self.ask(call) for call in calls]
