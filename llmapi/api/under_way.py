"""How many requests to models a key may have under way at once: those of its plan, else those that are set for all.

Around the views that ask models; jobs and batches have bounds of their own. A stream counts until it has ended.
"""

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request

from llmapi.api.context import identity
from llmapi.core.identity import Identity
from llmapi.tenants.plans import Plans
from llmapi.tenants.under_way import UnderWay

ASKING = (
    "text.GenerateText",
    "code.GenerateCode",
    "classify.Classify",
    "chat.Chat",
    "chat_completions.ChatCompletions",
    "responses.Responses",
    "embeddings.Embeddings",
    "decisions.Decisions",
    "invoke.Invoke",
    "query.Query",
)
View = Callable[..., Any]
MostOf = Callable[[Identity], int]


def install(app: Flask, under_way: UnderWay, most_of: MostOf) -> None:
    """Wrap the views of ASKING; before idempotency, for a repeat that gets its answer again is no work."""
    for endpoint in ASKING:
        view = app.view_functions[endpoint]
        app.view_functions[endpoint] = counted(app, lambda: taken(under_way, most_of, identity()), view, "POST")


def most_by(plans: Plans, usual: int) -> MostOf:
    """Return what says how many requests somebody may have under way; 0: any number."""

    def most(who: Identity) -> int:
        plan = plans.get(who.plan) if who.plan else None
        return usual if plan is None else plan.concurrency or 0

    return most


def taken(under_way: UnderWay, most_of: MostOf, who: Identity) -> Callable[[], None] | None:
    """Take a place among what a key has under way; returns what gives it back, None without a limit. May raise."""
    most = most_of(who)
    return under_way.enter(who.tenant, who.payer.key or who.name, most) if most else None


def counted(app: Flask, enter: Callable[[], Callable[[], object] | None], view: View, method: str) -> View:
    """Return a view that is only entered while its caller has a place.

    enter: takes it and returns what gives it back, None if there is no limit
    """

    def answer(**arguments: Any) -> Any:
        if request.method != method:
            return view(**arguments)
        leave = enter()
        if leave is None:
            return view(**arguments)
        try:
            response: Response = app.make_response(view(**arguments))
        except BaseException:
            leave()
            raise
        if response.is_streamed:
            response.call_on_close(leave)
        else:
            leave()
        return response

    return answer
