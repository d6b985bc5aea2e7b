"""Embeddings: texts in, one vector each out, all of one model."""

import base64
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from llmapi.core.calls import Call, Completion, Target
from llmapi.core.contracts import Models
from llmapi.core.errors import ProviderInvalid, ValidationFailed
from llmapi.tasks.answers import Json
from llmapi.tasks.runner import Plan, Wanted
from llmapi.tasks.tab import Tab

SLICE = 128  # texts of one call: the longest vectors there are come as 9 MB of JSON then, and 16 are taken
WORTH_KEEPING = 16_384  # numbers of an answer that a cache keeps: half a megabyte, 42 vectors of MiniLM

# Models whose vectors may be cut: the beginning of a vector is a vector of its own (Matryoshka training).
CUTTABLE = (
    ("openai", "text-embedding-3-"),
    ("openrouter", "openai/text-embedding-3-"),
    ("gemini", "gemini-embedding-"),
)


class EmbedTask:
    """Turns `inputs` into vectors of 32-bit numbers, as lists or as base64 of their little-endian bytes."""

    def answer(self, tab: Tab, base: Call, wanted: Wanted) -> Json:
        """Return `vectors` in the order of the inputs; many are asked for in slices, one after the other."""
        vectors: list[Any] = []
        for call in embed_calls(base, wanted["inputs"], wanted.get("dimensions")):
            vectors += packed(call, tab.ask(call), wanted)
        return {"vectors": vectors}

    def stream(self, tab: Tab, base: Call, wanted: Wanted) -> Iterator[str | Json]:
        """Yield the output alone: vectors come whole."""
        yield self.answer(tab, base, wanted)

    def plan(self, base: Call, wanted: Wanted) -> Plan:
        """Return a call for each slice."""
        return Plan(tuple(embed_calls(base, wanted["inputs"], wanted.get("dimensions"))))


def embed_calls(base: Call, inputs: Sequence[str], dimensions: int | None = None) -> list[Call]:
    """Return the calls that embed these texts; raises ValidationFailed naming `model` or `dimensions`.

    A vector of another model is no substitute, so of several candidates only those of the first one's model are asked.
    """
    first = base.targets[0]
    if not first.can("embeddings"):
        raise ValidationFailed("The model cannot be used.", fields={"model": [f"{first.model} makes no embeddings."]})
    if dimensions is not None and not is_cuttable(first):
        raise ValidationFailed(
            "The vectors cannot be cut.", fields={"dimensions": [f"{first.model} has one length of vectors only."]}
        )
    plain = replace(only_same(base), messages=(), temperature=None, top_p=None, stop=(), seed=None, max_tokens=1)
    slices = [tuple(inputs[start : start + SLICE]) for start in range(0, len(inputs), SLICE)]
    return [replace(plain, inputs=each, good=_is_small) for each in slices]


def only_same(base: Call) -> Call:
    """Return the call without the candidates that are another model than the first one."""
    same = [own_name(each) == own_name(base.targets[0]) for each in base.targets]
    weights = tuple(weight for weight, fit in zip(base.policy.weights, same, strict=False) if fit)
    targets = tuple(target for target, fit in zip(base.targets, same, strict=True) if fit)
    return replace(base, targets=targets, policy=replace(base.policy, weights=weights))


def packed(call: Call, answer: Completion, wanted: Wanted) -> list[Any]:
    """Return an answer's vectors in the form wanted; raises ProviderInvalid, ValidationFailed."""
    if len(answer.vectors) != len(call.inputs):
        wrong = f"{len(call.inputs)} texts came back as {len(answer.vectors)} vectors."
        raise ProviderInvalid(wrong, usage=answer.usage)
    dimensions = wanted.get("dimensions")
    vectors = [array("f", cut(vector, dimensions)) for vector in answer.vectors]
    if wanted.get("encoding_format") == "base64":
        return [_base64(vector) for vector in vectors]
    return [vector.tolist() for vector in vectors]


def cut(vector: Sequence[float], dimensions: int | None) -> Sequence[float]:
    """Return a vector's beginning as a vector of length 1; raises ValidationFailed when it is not that long."""
    if dimensions is None or dimensions == len(vector):
        return vector
    if dimensions > len(vector):
        raise ValidationFailed(
            "The vectors cannot be cut.", fields={"dimensions": [f"The model's vectors have {len(vector)} numbers."]}
        )
    short = vector[:dimensions]
    length = sum(number * number for number in short) ** 0.5
    return [number / length for number in short] if length else short


def is_cuttable(target: Target) -> bool:
    """Say whether the beginning of the model's vectors is known to be good for something."""
    return any(target.provider == owner and target.model.startswith(prefix) for owner, prefix in CUTTABLE)


def own_name(target: Target) -> str:
    """Return a model's name without who made it: `openai/text-embedding-3-small` at a reseller is the same model."""
    return target.model.rpartition("/")[2]


def embedding_base(models: Models, base: Call) -> Call:
    """Return the base call at a model that embeds: the one asked for, if that is all it can, else `embed`."""
    if base.targets[0].abilities == {"embeddings"}:
        return only_same(base)
    choice = models.resolve("embed")
    return only_same(replace(base, model="embed", targets=choice.targets, policy=choice.policy, provider_key=""))


def _is_small(answer: Completion) -> bool:
    return sum(map(len, answer.vectors)) <= WORTH_KEEPING


def _base64(vector: "array[float]") -> str:
    if sys.byteorder == "big":
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()
