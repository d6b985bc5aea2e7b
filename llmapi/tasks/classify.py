"""Classification: which label fits a text, how probable each is, and what the numbers rest on.

The evidence is the model's token probabilities where it shows them, else votes, else the nearness of embeddings. No
number is asked of the model in words, none is made up; each evidence_….py says where its numbers come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmapi.core.calls import Call, Target
from llmapi.tasks.asking import Ask, AskMany
from llmapi.tasks.evidence_embedding import by_embedding, embedding_calls
from llmapi.tasks.evidence_logprobs import by_logprobs, logprobs_calls
from llmapi.tasks.evidence_votes import by_votes, votes_calls
from llmapi.tasks.labels import examples_of, labels_of
from llmapi.tasks.questions import Question

Evidence = Literal["logprobs", "votes", "embedding"]

UNCALIBRATED = {"method": "none", "n": 0, "ece": None}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller wants to know about each text."""

    labels: Sequence[str | Mapping[str, str]]
    examples: Sequence[Mapping[str, Any]] = ()
    multi_label: bool = False
    abstain_below: float | None = None

    def questions(self, texts: Sequence[str]) -> list[Question]:
        """Return a question for each text; raises ValidationFailed naming `labels` or `examples`."""
        labels = labels_of(self.labels)
        examples = examples_of(self.examples, labels, self.multi_label)
        return [Question(text, labels, examples, self.multi_label) for text in texts]


def evidence_for(target: Target, votes: int) -> Evidence:
    """Return the best evidence that a model can give; `votes` is how many samples may be asked for."""
    if target.can("logprobs"):
        return "logprobs"
    return "votes" if target.can("votes") and votes > 0 else "embedding"


def answer_classify_many(
    ask: Ask, ask_many: AskMany, base: Call, *, texts: Sequence[str], wish: Wish, votes: int, embed_base: Call
) -> list[dict[str, Any]]:
    """Return the output for each text, all or none; the first of the call's targets decides on the evidence.

    `embed_base` is the base call addressed to an embedding model; only embedding evidence uses it.
    raises: ValidationFailed; UnreadableAnswer when the model's answers say nothing readable about one of the texts
    """
    questions = wish.questions(texts)
    evidence = evidence_for(base.targets[0], votes)
    if evidence == "logprobs":
        found = by_logprobs(ask, ask_many, base, questions)
    elif evidence == "votes":
        found = by_votes(ask_many, base, questions, votes)
    else:
        found = by_embedding(ask, embed_base, questions)
    return [_output(probabilities, evidence, wish) for probabilities in found]


def classify_calls(base: Call, *, texts: Sequence[str], wish: Wish, votes: int, embed_base: Call) -> list[Call]:
    """Return the calls answer_classify_many would begin with; an unreadable logprobs answer is asked for again."""
    questions = wish.questions(texts)
    evidence = evidence_for(base.targets[0], votes)
    if evidence == "logprobs":
        return logprobs_calls(base, questions)
    return votes_calls(base, questions, votes) if evidence == "votes" else embedding_calls(embed_base, questions)


def _output(probabilities: Mapping[str, float], evidence: Evidence, wish: Wish) -> dict[str, Any]:
    """Return the decision: the most probable label, the first of equals, or every label of at least one half.

    Confidence is the label's probability; of several labels, that of the least certain decision, for or against. Below
    `abstain_below` nothing is decided: no label, or an empty list.
    """
    label: str | list[str] | None
    if wish.multi_label:
        label = [name for name, probability in probabilities.items() if probability >= 0.5]
        confidence = min(max(probability, 1 - probability) for probability in probabilities.values())
    else:
        label = max(probabilities, key=lambda name: probabilities[name])
        confidence = probabilities[label]
    abstained = wish.abstain_below is not None and confidence < wish.abstain_below
    if abstained:
        label = [] if wish.multi_label else None
    return {
        "label": label,
        "confidence": confidence,
        "probabilities": dict(probabilities),
        "abstained": abstained,
        "evidence": evidence,
        "calibration": dict(UNCALIBRATED),
    }
