"""The three tasks as the runner knows them: what to ask, how to stream it, what it would ask at most."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from llmapi.core.calls import Call, Message, whole
from llmapi.core.contracts import Models
from llmapi.tasks.answers import Json
from llmapi.tasks.classify import Wish, answer_classify_many, classify_calls
from llmapi.tasks.code import Unfenced, answer_code, code_call, code_output, read_code, verification_of
from llmapi.tasks.confidence import answer_with_confidence
from llmapi.tasks.embed import embedding_base
from llmapi.tasks.runner import Plan, Wanted
from llmapi.tasks.tab import Tab
from llmapi.tasks.text import answer_text, read_text, text_call


class TextTask:
    """Text generation."""

    def __init__(self, system: str) -> None:
        self._system = system

    def answer(self, tab: Tab, base: Call, wanted: Wanted) -> Json:
        """Return the text; JSON that follows no schema goes back once. With `confidence`, how sure the model was."""
        call = self._call(base, wanted)
        return answer_with_confidence(tab.ask, call) if wanted.get("confidence") else answer_text(tab.ask, call)

    def stream(self, tab: Tab, base: Call, wanted: Wanted) -> Iterator[str | Json]:
        """Yield the text as it comes; JSON is checked at the end and not repaired."""
        call = self._call(base, wanted)
        chunks = []
        for chunk in tab.stream(call):
            chunks.append(chunk)
            if chunk.text:
                yield chunk.text
        yield read_text(whole(chunks), call.schema)

    def plan(self, base: Call, wanted: Wanted) -> Plan:
        """Return one call, and one repair of JSON."""
        call = self._call(base, wanted)
        return Plan((call,), repairs=0 if call.schema is None else 1)

    def _call(self, base: Call, wanted: Wanted) -> Call:
        return text_call(
            base,
            prompt=wanted.get("prompt"),
            messages=wanted.get("messages"),
            system=wanted.get("system", self._system),
            response_format=wanted.get("response_format"),
        )


class CodeTask:
    """Code generation."""

    def __init__(self, system: str) -> None:
        self._system = system

    def answer(self, tab: Tab, base: Call, wanted: Wanted) -> Json:
        """Return the code, checked; broken code goes back at most `max_repairs` times."""
        return answer_code(
            tab.ask,
            self._call(base, wanted),
            language=wanted["language"],
            verify=wanted["verify"],
            max_repairs=wanted["max_repairs"],
            explain=wanted["explain"],
        )

    def stream(self, tab: Tab, base: Call, wanted: Wanted) -> Iterator[str | Json]:
        """Yield the code as it comes, without fences; it is checked at the end and not repaired."""
        language, unfenced, chunks = wanted["language"], Unfenced(wanted["language"]), []
        for chunk in tab.stream(self._call(base, wanted)):
            chunks.append(chunk)
            if piece := unfenced.feed(chunk.text):
                yield piece
        if piece := unfenced.close():
            yield piece
        code, explanation = read_code(whole(chunks), language, wanted["explain"])
        yield code_output(code, explanation, language, verification_of(code, language, wanted["verify"]))

    def plan(self, base: Call, wanted: Wanted) -> Plan:
        """Return one call and its repairs."""
        repairs = 0 if wanted["verify"] == "none" else wanted["max_repairs"]
        return Plan((self._call(base, wanted),), repairs)

    def _call(self, base: Call, wanted: Wanted) -> Call:
        return code_call(
            base,
            prompt=wanted["prompt"],
            language=wanted["language"],
            context=wanted.get("context"),
            tests=wanted.get("tests"),
            explain=wanted["explain"],
            system=self._system,
        )


class ClassifyTask:
    """Classification; `votes` samples are asked of a model that shows no token probabilities."""

    def __init__(self, models: Models, *, votes: int, system: str) -> None:
        self._models, self._votes, self._system = models, votes, system

    def answer(self, tab: Tab, base: Call, wanted: Wanted) -> Json:
        """Return the decision for a text, or `results` for several in their order."""
        found = answer_classify_many(
            lambda call: tab.ask(self._ruled(call)),
            lambda calls: tab.ask_many([self._ruled(call) for call in calls]),
            base,
            **self._question(base, wanted),
        )
        return found[0] if "text" in wanted else {"results": found}

    def stream(self, tab: Tab, base: Call, wanted: Wanted) -> Iterator[str | Json]:
        """Yield the output alone: a decision has no pieces."""
        yield self.answer(tab, base, wanted)

    def plan(self, base: Call, wanted: Wanted) -> Plan:
        """Return a call for each sample; an unreadable answer with logprobs is asked for again once."""
        calls = tuple(self._ruled(call) for call in classify_calls(base, **self._question(base, wanted)))
        return Plan(calls, repairs=1 if calls and calls[0].logprobs else 0)

    def _question(self, base: Call, wanted: Wanted) -> dict[str, Any]:
        wish = Wish(wanted["labels"], wanted["examples"], wanted["multi_label"], wanted.get("abstain_below"))
        texts = [wanted["text"]] if "text" in wanted else wanted["texts"]
        return {"texts": texts, "wish": wish, "votes": self._votes, "embed_base": embedding_base(self._models, base)}

    def _ruled(self, call: Call) -> Call:
        """Return the call with the task's own system prompt before its rules; an embedding call has neither."""
        if not self._system or not call.messages:
            return call
        rules = Message("system", f"{self._system}\n\n{call.messages[0].text}")
        return replace(call, messages=(rules, *call.messages[1:]))
