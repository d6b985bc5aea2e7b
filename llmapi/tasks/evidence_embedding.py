"""Probabilities from meaning: how near a text lies to each label in the space of sentence embeddings.

Where each number comes from. A label's vector is the direction of the sum of two phrases' vectors; k examples of the
label join it, the label itself counting as LABEL_WEIGHT examples. One label: softmax(cosine / TEMPERATURE) over the
labels. Several labels, each by itself: sigmoid((cosine - mean cosine over the labels - MARGIN) / SLOPE); with a single
label there is no mean: sigmoid((cosine - ALONE) / ALONE_SLOPE). The constants were fitted for MiniLM-L6 on 1,900
single-label questions (intents, topics, sentiment, spam); they are no calibration for anybody's own labels, and for
several labels the evidence is weak. Vectors show what a text is about: negation, irony, and names that say little
("ham", "A") need descriptions or examples.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from llmapi.core.calls import Call, Completion
from llmapi.core.errors import ProviderInvalid
from llmapi.tasks.asking import Ask
from llmapi.tasks.labels import Label
from llmapi.tasks.questions import Question

Vector = Sequence[float]

LABEL_WEIGHT = 3.0  # examples
TEMPERATURE = 0.04
MARGIN, SLOPE = 0.10, 0.03
ALONE, ALONE_SLOPE = 0.25, 0.05


def by_embedding(ask: Ask, base: Call, questions: Sequence[Question]) -> list[dict[str, float]]:
    """Return the probability of each label for questions that share their labels, examples and kind."""
    phrases_call, texts_call = embedding_calls(base, questions)
    phrases, texts = ask(phrases_call), ask(texts_call)
    prototypes = _prototypes(questions[0], _vectors(phrases_call, phrases))
    chances = _each_chance if questions[0].multi else _softmax
    names = [label.name for label in questions[0].labels]
    return [
        dict(zip(names, chances([_dot(text, each) for each in prototypes]), strict=True))
        for text in _vectors(texts_call, texts)
    ]


def embedding_calls(base: Call, questions: Sequence[Question]) -> list[Call]:
    """Return two calls: the phrases and examples, the same for every text and so soon a kept answer, and the texts."""
    first = questions[0]
    phrases = [phrase for label in first.labels for phrase in _phrases(label)]
    return [
        _call(base, [*phrases, *(example.text for example in first.examples)]),
        _call(base, [question.text for question in questions]),
    ]


def _call(base: Call, inputs: Sequence[str]) -> Call:
    """Return an embedding call; what shapes generated text is taken out, lest it tell equal calls apart."""
    return replace(
        base,
        inputs=tuple(inputs),
        messages=(),
        temperature=None,
        top_p=None,
        stop=(),
        seed=None,
        max_tokens=1,
        good=lambda answer: len(answer.vectors) == len(inputs),
    )


def _phrases(label: Label) -> tuple[str, str]:
    about = f"This text is about {label.name}"
    return (about, f"{label.name}: {label.description}") if label.description.strip() else (label.name, about)


def _vectors(call: Call, answer: Completion) -> Sequence[Vector]:
    if len(answer.vectors) != len(call.inputs):
        wrong = f"{len(call.inputs)} texts came back as {len(answer.vectors)} vectors."
        raise ProviderInvalid(wrong, usage=answer.usage)
    return answer.vectors


def _prototypes(question: Question, vectors: Sequence[Vector]) -> list[Vector]:
    """Return one vector of length 1 for each label."""
    examples = vectors[2 * len(question.labels) :]
    prototypes = []
    for at, label in enumerate(question.labels):
        of_label = _unit(_sum(vectors[2 * at : 2 * at + 2]))
        own = [each for each, example in zip(examples, question.examples, strict=True) if label.name in example.names]
        weighted = [LABEL_WEIGHT * number for number in of_label]
        prototypes.append(_unit(_sum([weighted, *own])) if own else of_label)
    return prototypes


def _softmax(cosines: Sequence[float]) -> list[float]:
    top = max(cosines)
    weights = [math.exp((cosine - top) / TEMPERATURE) for cosine in cosines]
    return [weight / sum(weights) for weight in weights]


def _each_chance(cosines: Sequence[float]) -> list[float]:
    if len(cosines) == 1:
        return [_sigmoid((cosines[0] - ALONE) / ALONE_SLOPE)]
    mean = sum(cosines) / len(cosines)
    return [_sigmoid((cosine - mean - MARGIN) / SLOPE) for cosine in cosines]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))  # |x| stays below 150 here, for cosines lie between -1 and 1


def _dot(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _sum(vectors: Sequence[Vector]) -> Vector:
    return [sum(numbers) for numbers in zip(*vectors, strict=True)]


def _unit(vector: Vector) -> Vector:
    length = math.sqrt(_dot(vector, vector))
    return [number / length for number in vector] if length else vector
