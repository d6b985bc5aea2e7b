"""Probabilities from the model's own: the logarithms it gives for the tokens it could have said.

Where each number comes from. One label: the model is asked for a label's code, one token; P(label) is the probability
of its code's token at that place (all spellings added up: "A", " A", "(A"; "a" too while all codes are capitals),
divided by the sum over all codes seen there. A vendor shows the top 20 tokens: a label beyond them gets 0. Several
labels: one line a label; P(label) = P(yes) / (P(yes) + P(no)) at the line's decision, given the lines before it. When
less than LEAST_MASS of the probability lies on tokens that can be read, nothing is known and the answer is unreadable.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

from llmapi.core.calls import Call, Completion, TokenLogprobs
from llmapi.core.errors import UnreadableAnswer
from llmapi.tasks.asking import Ask, AskMany, Tally, follow_up
from llmapi.tasks.labels import Label, same_case
from llmapi.tasks.questions import Question, messages_for

TOP = 20  # alternatives a token; OpenAI's most
LEAST_MASS = 0.5
CODE_TOKENS = 3  # a code, and room for a space or a bracket before it
LINE_TOKENS = 8  # `A: yes` and its line end
ONE_CODE = "Exactly one label fits. Answer with its code, the character before the full stop, and nothing else."
EACH_CODE = (
    "Any number of labels may fit. Answer with one line for each label, in this order, its code and `yes` or `no`, "
    "like `{code}: yes`, and nothing else."
)
AROUND = " \t\r\n\u2581\u0120*`\"'()[]:.,"  # among them the space marks of SentencePiece and byte-level vocabularies

Read = Callable[[Completion, Sequence[Label]], dict[str, float]]


def by_logprobs(ask: Ask, ask_many: AskMany, base: Call, questions: Sequence[Question]) -> list[dict[str, float]]:
    """Return each question's probability of each label; an unreadable answer is asked for once more.

    raises: UnreadableAnswer with the usage of every answer of this request
    """
    asked = Tally(ask)
    calls = logprobs_calls(base, questions)
    answers = ask_many(calls)
    for answer in answers:
        asked.usage += answer.usage
    return [_read_or_again(asked, *each) for each in zip(calls, questions, answers, strict=True)]


def logprobs_calls(base: Call, questions: Sequence[Question]) -> list[Call]:
    """Return the call of each question."""
    return [_call(base, question) for question in questions]


def _call(base: Call, question: Question) -> Call:
    read = _reader(question)
    lines = LINE_TOKENS * (len(question.labels) + 1)
    form = EACH_CODE.format(code=question.labels[0].code) if question.multi else ONE_CODE
    return replace(
        base,
        messages=messages_for(question, form, lambda names: _shown(names, question)),
        max_tokens=lines if question.multi else CODE_TOKENS,
        stop=(),
        logprobs=TOP,
        good=lambda answer: _is_readable(answer, question.labels, read),
    )


def _shown(names: Sequence[str], question: Question) -> str:
    if question.multi:
        return "\n".join(f"{label.code}: {'yes' if label.name in names else 'no'}" for label in question.labels)
    return next(label.code for label in question.labels if label.name == names[0])


def _reader(question: Question) -> Read:
    return yes_probabilities if question.multi else code_probabilities


def _is_readable(answer: Completion, labels: Sequence[Label], read: Read) -> bool:
    try:
        return bool(read(answer, labels))
    except UnreadableAnswer:
        return False


def _read_or_again(asked: Tally, call: Call, question: Question, answer: Completion) -> dict[str, float]:
    read = _reader(question)
    try:
        return read(answer, question.labels)
    except UnreadableAnswer:
        form = "one line for each label, like `A: yes`" if question.multi else "one code of the list"
        answer = asked(follow_up(call, answer, f"That is not the form asked for. Answer with {form} and nothing else."))
    try:
        return read(answer, question.labels)
    except UnreadableAnswer as error:
        error.usage = asked.usage
        raise


def code_probabilities(answer: Completion, labels: Sequence[Label]) -> dict[str, float]:
    """Return P(label) from the first token that says anything; raises UnreadableAnswer."""
    place = next((token for token in answer.logprobs if token.token.strip(AROUND)), None)
    if place is None:
        raise UnreadableAnswer("The answer carries no token to read.", said=answer.text[:80])
    alike = same_case(labels)
    by_code = {label.code: label.name for label in labels}
    mass = dict.fromkeys(by_code.values(), 0.0)
    for token, probability in _alternatives(place):
        if (name := by_code.get(alike(token.strip(AROUND)))) is not None:
            mass[name] += probability
    total = sum(mass.values())
    if total < LEAST_MASS:
        raise UnreadableAnswer("The model did not answer with a label's code.", said=answer.text[:80])
    return {name: probability / total for name, probability in mass.items()}


def yes_probabilities(answer: Completion, labels: Sequence[Label]) -> dict[str, float]:
    """Return P(yes) of each label's line; raises UnreadableAnswer when a line is missing."""
    text = "".join(token.token for token in answer.logprobs)
    ends = list(accumulate(len(token.token) for token in answer.logprobs))
    flags = re.IGNORECASE if same_case(labels) is str.upper else re.NOFLAG
    found: dict[str, float] = {}
    for label in labels:
        line = re.search(rf"^\W*?{re.escape(label.code)}\W*[:.)\-=]\W*((?i:yes|no))\b", text, re.MULTILINE | flags)
        if line is None:
            raise UnreadableAnswer(f"The model decided nothing about {label.name!r:.80}.", said=answer.text[:80])
        place = next(at for at, end in enumerate(ends) if end > line.start(1))
        found[label.name] = _yes(answer.logprobs[place], answer)
    return found


def _yes(place: TokenLogprobs, answer: Completion) -> float:
    mass = {"yes": 0.0, "no": 0.0}
    for token, probability in _alternatives(place):
        said = token.strip(AROUND).casefold()
        for word in mass:
            if said and word.startswith(said):  # some vocabularies split the word
                mass[word] += probability
    total = sum(mass.values())
    if total < LEAST_MASS:
        raise UnreadableAnswer("The model did not decide between yes and no.", said=answer.text[:80])
    return mass["yes"] / total


def _alternatives(place: TokenLogprobs) -> list[tuple[str, float]]:
    """Return what could have been said, each token once, with its probability."""
    logs = dict(place.top) | {place.token: place.logprob}
    return [(token, math.exp(min(log, 0.0))) for token, log in logs.items() if not math.isnan(log)]
