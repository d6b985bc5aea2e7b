"""What is said over a WebSocket: many calls at once, each on a thread of its own while it runs, and subscriptions.

Messages are JSON objects with a `type`. In: generate, cancel, subscribe, unsubscribe, ping. Out: chunk, done, error
(a problem, as over HTTP), subscribed, unsubscribed, event, pong; each with the `id` of the message it belongs to.
"""

import threading
from collections.abc import Callable, Iterator
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any

import orjson
import structlog
from marshmallow import Schema, ValidationError

from llmapi.api.errors import problem
from llmapi.api.parsing import flattened
from llmapi.api.schemas.chat import ChatRequest
from llmapi.api.schemas.classify import ClassifyRequest
from llmapi.api.schemas.code import CodeRequest
from llmapi.api.schemas.streams import Cancel, Generate, Ping, Subscribe
from llmapi.api.schemas.text import TextRequest
from llmapi.api.streaming import safely
from llmapi.api.strict_json import strict_loads
from llmapi.api.websocket_topics import Topics
from llmapi.core.errors import LlmApiError, MalformedJson, NotFound, Overloaded, ValidationFailed
from llmapi.core.ids import new_id
from llmapi.core.lifetime import Lifetime
from llmapi.tasks.runner import Caller, StreamEvent, Tasks

Json = dict[str, Any]
CALLS = 16  # of one socket at once
REQUESTS: dict[str, Schema] = {
    "text": TextRequest(),
    "code": CodeRequest(),
    "chat": ChatRequest(),
    "classify": ClassifyRequest(),
}
MESSAGES: dict[str, Schema] = {
    "generate": Generate(),
    "cancel": Cancel(),
    "subscribe": Subscribe(),
    "unsubscribe": Subscribe(),
    "ping": Ping(),
}


@dataclass(frozen=True, slots=True)
class House:
    """What a socket's calls need of the service.

    count: counts a call against its route's limit; raises RateLimited
    enter: takes a place among what the key has under way and returns what gives it back, if need be; raises RateLimited
    closed: says whether calls are taken no more
    """

    tasks: Tasks
    count: Callable[[str], None]
    enter: Callable[[], Callable[[], None] | None]
    closed: Callable[[], bool]


class Talk:
    """One socket's conversation: the Session of websocket_line.py.

    asker: who opened it; context: of the request that did, with what its log lines hide
    """

    def __init__(
        self, send: Callable[[str], None], house: House, asker: Caller, topics: Topics, context: Context
    ) -> None:
        self._send, self._house, self._asker, self._topics, self._context = send, house, asker, topics, context
        self._lock = threading.Lock()
        self._calls: dict[str, Lifetime] = {}

    def heard(self, text: str) -> None:
        """Do what a message says; what is wrong with it is told as an error."""
        said: Any = None
        try:
            said = strict_loads(text.encode())
            message = checked(said)
            getattr(self, f"_{message['type']}")(message)
        except LlmApiError as error:
            self._tell("error", named(said), problem(error, self._asker.request_id))

    def working(self) -> bool:
        """Say whether a call is under way."""
        return bool(self._calls)

    def busy(self) -> bool:
        """Say whether a call or a subscription is under way."""
        return self.working() or self._topics.any()

    def gone(self) -> None:
        """The socket is closed: end its calls and subscriptions."""
        with self._lock:
            lifetimes = list(self._calls.values())
        for lifetime in lifetimes:
            lifetime.end()
        self._topics.close()

    def _generate(self, message: Json) -> None:
        call, lifetime = message["id"], Lifetime(self._house.tasks.timeout(message["task"], self._asker.limit))
        if self._house.closed():
            raise Overloaded("The service stops.", retry_after=1.0)
        with self._lock:
            if call in self._calls:
                raise ValidationFailed("a call of this id is under way", fields={"id": ["is in use"]})
            if len(self._calls) >= CALLS:
                raise Overloaded(f"{CALLS} calls at once are the most of a socket.", retry_after=1.0)
            self._calls[call] = lifetime
        work = (self._context.copy().run, self._work, message, lifetime)
        threading.Thread(target=work[0], args=work[1:], name="socket-call", daemon=True).start()

    def _cancel(self, message: Json) -> None:
        lifetime = self._calls.get(message["id"])
        if lifetime is None:
            raise NotFound("There is no such call under way.")
        lifetime.end()

    def _subscribe(self, message: Json) -> None:
        job = message.get("job_id")
        self._topics.open(job, lambda kind, data: self._tell(kind, message.get("id"), data, **about(message)))

    def _unsubscribe(self, message: Json) -> None:
        self._topics.end(message.get("job_id"))
        self._tell("unsubscribed", message.get("id"), None, **about(message))

    def _ping(self, message: Json) -> None:
        self._tell("pong", message.get("id"), None)

    def _work(self, message: Json, lifetime: Lifetime) -> None:
        """Run a call to its end, whatever that is; on a thread of its own."""
        asker = replace(self._asker, request_id=new_id("req"), lifetime=lifetime)
        structlog.contextvars.bind_contextvars(request_id=asker.request_id)
        for number, said in enumerate(safely(lambda: self._events(message, asker))):
            if isinstance(said, LlmApiError):
                self._ended("error", message["id"], problem(said, asker.request_id))
            elif said.kind == "done":
                self._ended("done", message["id"], said.data)
            else:
                self._tell("chunk", message["id"], said.data, seq=number)

    def _events(self, message: Json, asker: Caller) -> Iterator[StreamEvent]:
        self._house.count(message["task"])
        leave = self._house.enter()
        try:
            yield from self._asked(message, asker)
        finally:
            if leave is not None:
                leave()

    def _asked(self, message: Json, asker: Caller) -> Iterator[StreamEvent]:
        tasks, wanted = self._house.tasks, request_of(message)
        if wanted.pop("dry_run", False):
            yield StreamEvent("done", tasks.preview(message["task"], wanted, asker))
        elif message["stream"]:
            yield from tasks.stream(message["task"], wanted, asker)
        else:
            yield StreamEvent("done", tasks.answer(message["task"], wanted, asker))

    def _ended(self, kind: str, call: str, data: Json) -> None:
        with self._lock:  # before it is told: its id may then be used again
            del self._calls[call]
        self._tell(kind, call, data)

    def _tell(self, kind: str, id: str | None, data: Json | None, **more: Any) -> None:
        told = {"type": kind, **({"id": id} if id is not None else {}), **more}
        self._send(orjson.dumps(told if data is None else {**told, "data": data}).decode())


def checked(said: Any) -> Json:
    """Return a message in good shape; raises MalformedJson, ValidationFailed."""
    if not isinstance(said, dict):
        raise MalformedJson("a message is a JSON object")
    kind = said.get("type")
    if not isinstance(kind, str) or kind not in MESSAGES:
        known = f"Must be one of: {', '.join(MESSAGES)}."
        raise ValidationFailed("the message has no known type", fields={"type": [known]})
    return loaded(MESSAGES[kind], said, "")


def request_of(message: Json) -> Json:
    """Return the request of a call checked as its own route would; raises ValidationFailed naming request.<field>."""
    wanted = loaded(REQUESTS[message["task"]], message["request"], "request")
    if wanted.pop("on_disconnect", "cancel") != "cancel":
        raise ValidationFailed("a call ends with its socket", fields={"request.on_disconnect": ["Must be `cancel`."]})
    message["stream"] = wanted.pop("stream", False) or message["stream"]
    wanted.pop("request_id", None)
    return wanted


def loaded(schema: Schema, value: Any, path: str) -> Json:
    """Return what a schema makes of a value; raises ValidationFailed."""
    try:
        found: Json = schema.load(value)
    except ValidationError as error:
        fields: dict[str, list[str]] = {}
        for name, said in flattened(error.messages, path):
            fields.setdefault(name or "message", []).append(said)
        raise ValidationFailed("the message is not valid", fields=fields) from None
    return found


def named(said: Any) -> str | None:
    """Return the id of a message, however wrong the rest of it is."""
    id = said.get("id") if isinstance(said, dict) else None
    return id if isinstance(id, str) and 1 <= len(id) <= 64 else None


def about(message: Json) -> Json:
    """Return what a subscription is about."""
    return {name: message[name] for name in ("topic", "job_id") if name in message}
