"""Decisions: several questions about one input, each answered with probabilities, on the evidence of classification.

A predicate is a choice between yes and no, a score one between ordered levels. Where embeddings are the evidence, which
know no question, a predicate is the nearness of the input to the statement itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from llmapi.core.calls import Call, Message
from llmapi.core.contracts import Models
from llmapi.core.errors import ProviderRefused, UnreadableAnswer, ValidationFailed
from llmapi.tasks.answers import Json
from llmapi.tasks.classify import Evidence, Wish, answer_classify_many, classify_calls, evidence_for
from llmapi.tasks.embed import embedding_base
from llmapi.tasks.labels import labels_of
from llmapi.tasks.runner import Plan, Wanted
from llmapi.tasks.tab import AT_ONCE, Tab, together

YES, NO = "yes", "no"
TRUE_OR_NOT = (
    {"name": YES, "description": "the statement is true of the text"},
    {"name": NO, "description": "the statement is not true of the text"},
)
ASKS = {
    "predicate": "Decide whether a statement is true of the text. The statement:\n",
    "choice": "Decide about the text as told here:\n",
    "score": "Rate the text as told here; the labels are levels, the lowest first:\n",
}
LABELS_OF = {"choice": "choices", "score": "levels"}  # the field that holds a kind's labels

Question = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Posed:
    """A question as a classification: `rule` stands before the rules that classifications have."""

    question: Question
    wish: Wish
    rule: str


class DecisionsTask:
    """Answers `questions` about `text`; `votes` and `system` as for classification."""

    def __init__(self, models: Models, *, votes: int, system: str) -> None:
        self._models, self._votes, self._system = models, votes, system

    def answer(self, tab: Tab, base: Call, wanted: Wanted) -> Json:
        """Return `answers` in the order of the questions, and the `evidence`; one that cannot be read is a refusal."""
        evidence, posed = self._posed(base, wanted)
        each = self._votes if evidence == "votes" else 1
        answered = partial(self._answered, tab, base, wanted["text"])
        return {"answers": together(answered, posed, max(1, AT_ONCE // each)), "evidence": evidence}

    def stream(self, tab: Tab, base: Call, wanted: Wanted) -> Iterator[str | Json]:
        """Yield the output alone: a decision has no pieces."""
        yield self.answer(tab, base, wanted)

    def plan(self, base: Call, wanted: Wanted) -> Plan:
        """Return the calls of all questions; an unreadable answer with logprobs is asked for again once."""
        evidence, posed = self._posed(base, wanted)
        calls = [call for each in posed for call in self._calls(base, wanted["text"], each)]
        return Plan(tuple(calls), repairs=1 if evidence == "logprobs" else 0)

    def _posed(self, base: Call, wanted: Wanted) -> tuple[Evidence, list[Posed]]:
        evidence = evidence_for(base.targets[0], self._votes)
        front = [text for text in (self._system, wanted.get("rules", "")) if text]
        questions = wanted["questions"]
        return evidence, [as_classification(each, evidence, front, number) for number, each in enumerate(questions)]

    def _answered(self, tab: Tab, base: Call, text: str, posed: Posed) -> Json:
        try:
            found = answer_classify_many(
                lambda call: tab.ask(ruled(call, posed.rule)),
                lambda calls: tab.ask_many([ruled(call, posed.rule) for call in calls]),
                base,
                **self._asked(base, text, posed),
            )
        except (UnreadableAnswer, ProviderRefused):
            return {"type": "refusal", "name": posed.question.get("name")}
        return answer_of(posed.question, list(found[0]["probabilities"].values()))

    def _calls(self, base: Call, text: str, posed: Posed) -> list[Call]:
        return [ruled(call, posed.rule) for call in classify_calls(base, **self._asked(base, text, posed))]

    def _asked(self, base: Call, text: str, posed: Posed) -> dict[str, Any]:
        embed_base = embedding_base(self._models, base)
        return {"texts": [text], "wish": posed.wish, "votes": self._votes, "embed_base": embed_base}


def as_classification(question: Question, evidence: Evidence, front: Sequence[str], number: int) -> Posed:
    """Return a question as a classification; raises ValidationFailed naming its choices or levels."""
    rule = "\n\n".join([*front, ASKS[question["type"]] + question["instructions"]])
    if question["type"] == "predicate":
        if evidence == "embedding":
            return Posed(question, Wish([question["instructions"]], multi_label=True), rule)
        return Posed(question, Wish(TRUE_OR_NOT), rule)
    try:
        labels_of(labels := _labels(question))
    except ValidationFailed as error:
        wrong = [said for each in error.fields.values() for said in each]
        field = f"questions.{number}.{LABELS_OF[question['type']]}"
        raise ValidationFailed("A question cannot be asked.", fields={field: wrong}) from None
    return Posed(question, Wish(labels), rule)


def answer_of(question: Question, probabilities: Sequence[float]) -> Json:
    """Return a question's answer from the probabilities of its labels, in their order."""
    kind, name = question["type"], question.get("name")
    if kind == "predicate":
        return {"type": kind, "name": name, "probability": probabilities[0]}
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    told: Json = {"type": kind, "name": name, "confidence": probabilities[best]}
    if kind == "choice":
        values = [choice["value"] for choice in question["choices"]]
        rows = [{"value": value, "probability": p} for value, p in zip(values, probabilities, strict=True)]
        return {**told, "choice": values[best], "probabilities": rows}
    levels = [level["label"] for level in question["levels"]]
    rows = [
        {"label": label, "value": value, "probability": p}
        for value, (label, p) in enumerate(zip(levels, probabilities, strict=True))
    ]
    return {**told, "score": sum(value * p for value, p in enumerate(probabilities)), "probabilities": rows}


def ruled(call: Call, rule: str) -> Call:
    """Return the call with a rule before its own; an embedding call has none."""
    if not call.messages:
        return call
    rules = Message("system", f"{rule}\n\n{call.messages[0].text}")
    return replace(call, messages=(rules, *call.messages[1:]))


def _labels(question: Question) -> list[dict[str, str]]:
    """Return labels with names that can be told apart: `true` and "true" are two choices."""
    if question["type"] == "score":
        return [{"name": level["label"], "description": level.get("description", "")} for level in question["levels"]]
    rows = question["choices"]
    words = {row["value"].strip().casefold() for row in rows if isinstance(row["value"], str)}
    return [{"name": _name(row["value"], words), "description": row.get("description", "")} for row in rows]


def _name(value: str | bool, words: set[str]) -> str:
    if isinstance(value, str):
        return value
    name = str(value).lower()
    return f"{name} (boolean)" if name in words else name
