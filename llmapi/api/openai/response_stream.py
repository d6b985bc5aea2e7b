"""The chat task's events as those of OpenAI's Responses API: items open, grow and are done, each event has a number."""

import time
from dataclasses import dataclass
from typing import Any

import orjson

from llmapi.api.openai.response_shapes import (
    Json,
    call_item,
    ended,
    failed,
    item_id,
    message_item,
    response_of,
    text_part,
)
from llmapi.core.errors import LlmApiError
from llmapi.tasks.runner import StreamEvent


@dataclass
class Item:
    """An output item while it grows; `call` is set where a function is called."""

    id: str
    place: int
    text: str = ""  # said so far, or arguments so far
    call: Json | None = None

    def at(self) -> Json:
        """Return where the item is, in the words of an event."""
        return {"item_id": self.id, "output_index": self.place}

    def part(self) -> Json:
        """Return where its only part is."""
        return {**self.at(), "content_index": 0}

    def shown(self, status: str) -> Json:
        """Return the item as it is now."""
        if self.call is None:
            return message_item(self.id, None if status == "in_progress" else self.text, status)
        function = {**self.call["function"], "arguments": self.text}
        return call_item(self.id, {**self.call, "function": function}, status)


class ResponseEvents:
    """Says each event of one stream in OpenAI's words."""

    def __init__(self, id: str, asked: Json) -> None:
        self._id, self._asked, self._created = id, asked, float(int(time.time()))
        self._number = 0
        self._begun = False
        self._failure = b""
        self._message: Item | None = None
        self._calls: dict[int, Item] = {}

    def __call__(self, event: StreamEvent) -> bytes:
        """Return the bytes of what came."""
        begin = b"" if self._begun else self._begin()
        return begin + (self._piece(event.data) if event.kind == "chunk" else self._end(event.data))

    def failed(self, error: LlmApiError) -> bytes:
        """Return the last word of a stream that broke."""
        if not self._failure:
            begin = b"" if self._begun else self._begin()
            told = failed(self._id, self._asked, error, self._created)
            self._failure = begin + self._event("response.failed", response=told)
        return self._failure

    def _begin(self) -> bytes:
        self._begun = True
        response = response_of(self._id, self._asked, "in_progress", self._created)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def _piece(self, told: Json) -> bytes:
        said = self._say(told["text"]) if told.get("text") else b""
        return said + b"".join(self._call(piece) for piece in told.get("tool_calls", ()))

    def _say(self, text: str) -> bytes:
        opened = b""
        if self._message is None:
            self._message, opened = self._open_message()
        self._message.text += text
        return opened + self._event("response.output_text.delta", **self._message.part(), delta=text, logprobs=[])

    def _open_message(self) -> tuple[Item, bytes]:
        item = Item(item_id("msg", self._id, place := self._next()), place)
        added = self._event("response.output_item.added", output_index=place, item=item.shown("in_progress"))
        return item, added + self._event("response.content_part.added", **item.part(), part=text_part(""))

    def _call(self, piece: Json) -> bytes:
        opened, item = b"", self._calls.get(piece["index"])
        if item is None:
            place = self._next()
            item = self._calls[piece["index"]] = Item(item_id("fc", self._id, place), place, call=piece)
            opened = self._event("response.output_item.added", output_index=place, item=item.shown("in_progress"))
        arguments = piece["function"]["arguments"]
        item.text += arguments
        if not arguments:
            return opened
        return opened + self._event("response.function_call_arguments.delta", **item.at(), delta=arguments)

    def _next(self) -> int:
        return len(self._calls) + (self._message is not None)

    def _end(self, told: Json) -> bytes:
        last = b""
        if self._message is None and not self._calls:
            self._message, last = self._open_message()
        if self._message is not None:
            self._message.text = told["output"]["message"]["content"] or self._message.text
        cut = told["output"]["finish_reason"] == "length"
        status = "incomplete" if cut else "completed"
        open_ones = [*([self._message] if self._message else []), *self._calls.values()]
        items = sorted(open_ones, key=lambda item: item.place)
        last += b"".join(self._close(item, status) for item in items)
        response = ended(
            self._id,
            self._asked,
            told,
            created=self._created,
            done=float(int(time.time())),
            output=[item.shown(status) for item in items],
        )
        return last + self._event(f"response.{status}", response=response)

    def _close(self, item: Item, status: str) -> bytes:
        if item.call is None:
            done = self._event("response.output_text.done", **item.part(), text=item.text, logprobs=[])
            done += self._event("response.content_part.done", **item.part(), part=text_part(item.text))
        else:
            name = item.call["function"]["name"]
            done = self._event("response.function_call_arguments.done", **item.at(), name=name, arguments=item.text)
        return done + self._event("response.output_item.done", output_index=item.place, item=item.shown(status))

    def _event(self, kind: str, **told: Any) -> bytes:
        told = {"type": kind, "sequence_number": self._number, **told}
        self._number += 1
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps(told))
