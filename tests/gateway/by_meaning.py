"""A gateway with the cache by meaning, an embedder and a provider of the test's."""

import time

import numpy as np

from llmapi.cache.memory import MemoryCache
from llmapi.cache.semantic import Spaces
from llmapi.core.calls import CacheWish, Completion, Facts, Message, Usage
from llmapi.core.reply import Reply
from llmapi.gateway.recipe import build_gateway
from llmapi.gateway.semantic import Semantic
from llmapi.gateway.semantic_rules import Rules
from tests.gateway.conftest import KeptEvents, PennyPrices, ScriptedProvider, a_call


class Letters:
    """An embedder of the test's: near are texts of like words, however they stand."""

    def __init__(self):
        self.asked = []

    def embed(self, texts):
        self.asked += texts
        return [tuple(self._vector(text)) for text in texts]

    def _vector(self, text):
        vector = np.zeros(64, dtype=np.float32)
        for word in text.lower().strip("?.").split():
            vector += np.random.default_rng(sum(map(ord, word)) * 31 + len(word)).normal(size=64)
        return vector / np.linalg.norm(vector)


def about(call):
    """Answer with the last word of the question."""
    word = call.messages[-1].text.rpartition(" ")[2].strip("?").lower()
    return Reply.of(Completion(f"About {word}.", Usage(5, 2), "stop"), Facts())


class Line:
    """A gateway with the cache by meaning, on which questions are asked."""

    def __init__(self, *, policy="fixed:0.8", rules=Rules(), judge=None, share=1.0, answer=about, clock=time.time):
        self.provider, self.bus, self.embedder = ScriptedProvider("p", answer), KeptEvents(), Letters()
        self.spaces = Spaces(policy, clock=clock)
        self.semantic = Semantic(
            lambda: self.spaces, lambda: self.embedder, rules, judge=judge, judge_share=share, clock=clock
        )
        self.cache = MemoryCache(1000, 3600.0)
        self.gateway = build_gateway(
            providers={"p": self.provider},
            cache=self.cache,
            bus=self.bus,
            prices=PennyPrices(),
            semantic=self.semantic,
        )

    def ask(self, text, *, mode="use", max_error=0.05, ttl=None, **said):
        wish = CacheWish(mode, ttl, max_error)
        said.setdefault("messages", (Message("user", text),))
        reply = self.gateway(a_call(cache=wish, **said))
        return reply.completion().text, reply.facts
