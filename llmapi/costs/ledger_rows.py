"""From the end of a call to its row of the ledger."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import orjson
from sqlalchemy import String

from llmapi.core.calls import NOTHING, Call, Target, Usage
from llmapi.core.events import KEPT, CallFinished
from llmapi.core.money import Cost
from llmapi.costs.savings import counted, pricing_of, saved_by
from llmapi.db.tables.ledger import ledger

Row = dict[str, Any]
LENGTHS: Final = {each.name: each.type.length for each in ledger.columns if isinstance(each.type, String)}
BOUND: Final = "bound"  # the pricing of what nobody counted: the most it can have cost
LOST: Final = "lost"  # the status of a call whose process died


class Quotes(Protocol):
    """Prices that can be shown, and not only asked for."""

    def cost(self, target: Target, usage: Usage) -> Cost: ...

    def quote(self, target: Target, usage: Usage) -> dict[str, Any] | None: ...


def row_of(event: CallFinished, prices: Quotes) -> Row:
    """Return the row of a call that ended."""
    pricing, cost = pricing_of(event)
    tokens = counted(event)
    row: Row = {
        "at": event.at,
        "entry": event.entry,
        "call_id": event.call_id,
        "tenant": event.tenant,
        "project": event.payer.project,
        "key": event.payer.key,
        "user": event.payer.user,
        "task": event.task,
        "provider": event.provider,
        "model": event.model,
        "asked_model": event.asked_model,
        "status": event.status,
        "cache": event.cache,
        "experiment": "",
        "batch": event.batch,
        "question": event.question.rpartition(":")[2],
        "input_tokens": tokens.input_tokens,
        "output_tokens": tokens.output_tokens,
        "cached_tokens": tokens.cached_tokens,
        "reasoning_tokens": tokens.reasoning_tokens,
        "max_tokens": event.max_tokens,
        "pricing": pricing,
        "cost": cost,
        "saved": saved_by(event, prices),
        "price": _price(event, prices),
        "duration": event.duration,
    }
    return fitting(row)


def row_begun(call: Call, at: datetime) -> Row:
    """Return what is known of a call's row before it is made, for the case that its end is never told."""
    first = call.targets[0] if call.targets else Target("", "")
    row: Row = {
        "at": at,
        "entry": call.entry,
        "call_id": call.id,
        "tenant": call.tenant,
        "project": call.payer.project,
        "key": call.payer.key,
        "user": call.payer.user,
        "task": call.task,
        "provider": first.provider,
        "model": first.model,
        "asked_model": call.model,
        "batch": call.batch,
        "max_tokens": call.max_tokens,
    }
    return fitting(row)


def row_lost(begun: Mapping[str, Any], at: datetime, cost: int) -> Row:
    """Return the row of a call whose process died after it had asked a provider."""
    unknown = {"experiment": "", "question": "", "saved": 0, "price": None, "duration": 0.0, "cache": "miss"}
    tokens = dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"), 0)
    return {**unknown, **tokens, **begun, "at": at, "status": LOST, "pricing": BOUND, "cost": cost}


def fitting(row: Row) -> Row:
    """Cut what is longer than its column: names come from callers, and a name must not cost a booking."""
    for name, length in LENGTHS.items():
        value = row.get(name)
        if length and value and (len(value) > length or "\0" in value):
            row[name] = value.replace("\0", "")[:length]
    return row


def _price(event: CallFinished, prices: Quotes) -> str | None:
    """Return the prices a call was charged at as JSON; those of failed attempts that were billed stand in `lost`."""
    if event.cache in KEPT or not event.provider:
        return None
    failed = event.status not in ("ok", "abandoned")
    lost = [each for each in event.attempts if each.usage != NOTHING]
    quote = prices.quote(Target(event.provider, event.model), event.usage)
    if lost and (failed or quote is not None):
        rows = [(each, prices.quote(Target(each.provider, each.model), each.usage)) for each in lost]
        quote = {**(quote or {}), "lost": [_lost(each, price) for each, price in rows]}
    return None if quote is None else orjson.dumps(quote).decode()


def _lost(attempt: Any, price: Mapping[str, Any] | None) -> dict[str, Any]:
    usage: Usage = attempt.usage
    tokens = [usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens]
    return {"provider": attempt.provider, "model": attempt.model, "tokens": tokens, "price": price}
