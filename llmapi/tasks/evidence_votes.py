"""Probabilities from votes: the model is asked several times, and each answer that can be read is a vote.

Where each number comes from. P(label) = votes for it / votes that could be read; with several labels a vote may name
any number of them, and P(label) is the share of votes that name it. Unreadable answers are no votes; when fewer than
half can be read, there is no result. The numbers have the grain of the number of votes: 1.0 of five votes says that
all five agreed, not that the model is certain.
"""

from collections.abc import Sequence
from dataclasses import replace

from llmapi.core.calls import NOTHING, Call, Completion
from llmapi.core.errors import UnreadableAnswer
from llmapi.tasks.asking import AskMany
from llmapi.tasks.labels import read_label, read_labels
from llmapi.tasks.questions import Question, messages_for, none_word

WARM = 0.7  # temperature; at 0 every vote would be the same vote
ONE_NAME = "Exactly one label fits. Answer with the name of that label and nothing else."
ANY_NAMES = "Any number of labels may fit. Answer with their names, one a line, or `{none}` alone, and nothing else."


def by_votes(ask_many: AskMany, base: Call, questions: Sequence[Question], votes: int) -> list[dict[str, float]]:
    """Return each question's probability of each label; a question's votes are asked for at the same time.

    raises: UnreadableAnswer with the usage of every vote of this request
    """
    usage, results = NOTHING, []
    for question in questions:
        answers = ask_many(votes_calls(base, [question], votes))
        usage = sum((answer.usage for answer in answers), usage)
        try:
            results.append(share(answers, question))
        except UnreadableAnswer as error:
            error.usage = usage
            raise
    return results


def votes_calls(base: Call, questions: Sequence[Question], votes: int) -> list[Call]:
    """Return the calls of all votes: the same question as so many samples, each with a seed of its own if any has."""
    return [_call(base, question, number) for question in questions for number in range(votes)]


def _call(base: Call, question: Question, number: int) -> Call:
    none = none_word(question.labels)
    form = ANY_NAMES.format(none=none) if question.multi else ONE_NAME
    return replace(
        base,
        messages=messages_for(question, form, lambda names: "\n".join(names) or none),
        temperature=base.temperature or WARM,
        seed=None if base.seed is None else base.seed + number,
        stop=(),
        sample=number,
        good=lambda answer: _vote(answer, question) is not None,
    )


def share(answers: Sequence[Completion], question: Question) -> dict[str, float]:
    """Return each label's share of the readable votes; raises UnreadableAnswer when fewer than half can be read."""
    votes = [vote for vote in (_vote(answer, question) for answer in answers) if vote is not None]
    if 2 * len(votes) < len(answers) or not votes:
        said = answers[0].text[:80] if answers else ""
        raise UnreadableAnswer(f"Only {len(votes)} of {len(answers)} votes could be read.", said=said)
    return {label.name: sum(label.name in vote for vote in votes) / len(votes) for label in question.labels}


def _vote(answer: Completion, question: Question) -> frozenset[str] | None:
    try:
        if question.multi:
            return read_labels(answer, question.labels, none_word(question.labels))
        return frozenset([read_label(answer, question.labels)])
    except UnreadableAnswer:
        return None
