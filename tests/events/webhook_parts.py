"""Webhooks put together over one database, with a receiver that the operator allows."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Engine

from llmapi.core.clock import utc_now
from llmapi.db.engine import writing
from llmapi.events.egress import Egress
from llmapi.events.webhook_endpoints import Endpoint, Endpoints
from llmapi.events.webhook_outbox import Claim, Message, WebhookOutbox
from llmapi.events.webhook_secrets import Seal
from llmapi.events.webhooks import WebhookSender

AT_ONCE = (0.0,) * 25  # a schedule for those who cannot wait


class Post:
    """Endpoints, outbox and senders; `tell` is what the other rooms do."""

    def __init__(self, engine: Engine, *, now: Any = utc_now, seal: Seal | None = None) -> None:
        self.engine = engine
        self.now = now
        self.egress = Egress(allow=["127.0.0.1"])
        self.endpoints = Endpoints(engine, self.egress.allows, seal=seal, now=now)
        self.outbox = WebhookOutbox(engine, now=now)
        self.senders: list[WebhookSender] = []

    def endpoint(self, url: str, tenant: str = "a", events: Sequence[str] = ("*",)) -> tuple[Endpoint, str]:
        return self.endpoints.create(tenant, url, events=events)

    def tell(self, kind: str = "job.succeeded", tenant: str = "a", **data: Any) -> None:
        with writing(self.engine) as connection:
            self.outbox.add(connection, tenant, kind, data)
        self.outbox.wake()

    def sender(self, **more: Any) -> WebhookSender:
        usual = {"schedule": AT_ONCE, "jitter": float, "poll": 0.02, "now": self.now}
        sender = WebhookSender(self.outbox, self.endpoints, self.egress, **{**usual, **more})
        self.senders.append(sender)
        sender.start()
        return sender

    def claim(self, owner: str = "w1", lease: float = 30.0, each: int = 2, each_tenant: int = 6) -> Claim | None:
        return self.outbox.claim(owner, lease, each=each, each_tenant=each_tenant)

    def messages(self, endpoint: Endpoint, **more: Any) -> tuple[Message, ...]:
        return self.outbox.list(endpoint.id, endpoint.tenant, **{"limit": 1000, **more}).messages

    def settled(self, endpoint: Endpoint, status: str, count: int = 1) -> tuple[Message, ...]:
        """Return an endpoint's messages once `count` have this status."""
        until(lambda: len(self.messages(endpoint, status=status)) >= count)
        return self.messages(endpoint, status=status)

    def stop(self) -> None:
        for sender in self.senders:
            sender.stop(0.0)


def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    """Return once something is true."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if true():
            return
        pause.wait(0.01)
    raise AssertionError("it never came true")
