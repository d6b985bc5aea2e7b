"""GET /v1/ws: one WebSocket, many calls; POST /v1/ws/tickets: how a browser, which cannot send a key, opens it."""

from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog
from flask import Flask, Response, current_app, request
from flask.views import MethodView
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request
from wsproto.utilities import ProtocolError

from llmapi.api import limits
from llmapi.api.auth import callers_of_app
from llmapi.api.context import caller, identity, request_id, services
from llmapi.api.parsing import Blueprint
from llmapi.api.request_id import HEADER
from llmapi.api.schemas.streams import TicketAnswer
from llmapi.api.scopes import need_all
from llmapi.api.under_way import most_by, taken
from llmapi.api.websocket import House, Talk
from llmapi.api.websocket_hub import Hub
from llmapi.api.websocket_line import Bounds
from llmapi.api.websocket_topics import Topics, Watch
from llmapi.api.wishes import unfit
from llmapi.core.errors import Forbidden, LlmApiError, Unauthenticated
from llmapi.core.identity import Identity
from llmapi.db.tickets import GOOD_FOR, Tickets
from llmapi.services import Services

NAME = "llmapi-sockets"
ENDPOINT = "websocket.Upgrade"
TICKET = {"in": "query", "name": "ticket", "schema": {"type": "string"}, "description": "Instead of a key"}
SWITCHED = {101: {"description": "The connection is a WebSocket now"}}

bp = Blueprint("websocket", __name__, url_prefix="/v1/ws", description="Many calls over one WebSocket")


class Sockets:
    """What the sockets of an application share."""

    def __init__(self, house: Services, bounds: Bounds) -> None:
        self.hub, self.watch, self.tickets = Hub(bounds), Watch(house.jobs), Tickets(house.engine)

    def drain(self, grace: float) -> None:
        """The service stops."""
        self.hub.drain(grace)

    def close(self) -> None:
        """Wait for the last calls of the sockets, no longer than the grace lasts."""
        self.hub.close()
        self.watch.close()


@bp.route("")
class Socket(MethodView):
    @bp.doc(parameters=[TICKET], responses=SWITCHED)
    def get(self) -> Response:
        """Open a WebSocket; what is said over it is JSON text.

        In: `{"type": "generate", "id": "c1", "task": "text|code|chat|classify", "request": {…}, "stream": true}`,
        `{"type": "cancel", "id": "c1"}`, `{"type": "subscribe", "topic": "job", "job_id": …}` (or the topic `usage`),
        `{"type": "ping"}`. Out: `chunk` with `seq`, then `done`, or `error` with a problem, each with the call's `id`.
        """
        refuse_strange_pages()
        connection = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
        opening = accepted()
        if connection is None:
            raise LlmApiError("this server cannot speak WebSocket")
        sockets().hub.adopt(connection, opening, identity().tenant, talk())
        return Response(status=101)  # goes nowhere: the connection is the hub's


bp.record_once(  # werkzeug keeps upgrades apart from plain requests: the rule above is for the document and who errs
    lambda state: state.app.add_url_rule("/v1/ws", ENDPOINT, Socket.as_view(ENDPOINT), websocket=True)
)


@bp.route("/tickets")
class SocketTickets(MethodView):
    @bp.response(200, TicketAnswer())
    def post(self) -> Response:
        """Get a ticket that opens one WebSocket within half a minute: `/v1/ws?ticket=…`."""
        told = {"ticket": sockets().tickets.issue(identity()), "expires_in": GOOD_FOR}
        return Response(orjson.dumps(told), mimetype="application/json")


def install(app: Flask, house: Services, **bounds: Any) -> Sockets:
    """Make what the sockets of an application share; nothing runs before the first one."""
    made = Sockets(house, Bounds(message=house.settings.max_body, **bounds))
    house.bus.listen(made.watch)
    house.attached.append(made)
    app.extensions[NAME] = made
    return made


def sockets() -> Sockets:
    """Return what the sockets of this application share."""
    found: Sockets = current_app.extensions[NAME]
    return found


def ticket_holder() -> Identity | None:
    """Return who shows a ticket, None if there is none in the address; raises Unauthenticated for a bad one.

    What its key may do is asked for now: the ticket of a key that was revoked opens nothing.
    """
    shown = request.args.get("ticket")
    if shown is None:
        return None
    found = sockets().tickets.redeem(shown)
    if found is None:
        raise Unauthenticated("the ticket is not valid, or no more")
    return holder(found)("tasks:run")


def holder(who: Identity) -> Callable[[str], Identity]:
    """Return what tells who holds a caller's key at that moment, asked with the scope that is needed.

    A socket outlives what its key may do: so each call and each subscription asks anew. It raises Unauthenticated when
    nobody holds the key any more, Forbidden without the scope.
    """
    callers, address, payer = callers_of_app(), request.remote_addr or "", who.payer

    def now(scope: str) -> Identity:
        found = callers.named(payer.key, payer.user, address) if payer.key else who  # "": keys are not required
        need_all((scope,), found.scopes)
        return found

    return now


def refuse_strange_pages() -> None:
    """Raise Forbidden for pages of other sites: a browser lets any of them open a WebSocket to anywhere."""
    origin = request.headers.get("Origin")
    if origin is None or origin in services().settings.cors_origins:
        return
    told = urlsplit(origin)
    if told.scheme not in ("http", "https") or told.netloc != request.host:
        raise Forbidden("pages of this origin may not open a WebSocket here")


def accepted() -> bytes:
    """Return the answer to the upgrade; raises ValidationFailed when it is none."""
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    protocol = WSConnection(ConnectionType.SERVER)
    try:
        protocol.receive_data("\r\n".join(["GET / HTTP/1.1", *lines, "", ""]).encode("latin-1"))
        asked = next(protocol.events(), None)
    except (ProtocolError, UnicodeEncodeError):
        asked = None
    if not isinstance(asked, Request):
        raise unfit("Upgrade", "This address speaks WebSocket, version 13, only.")
    return protocol.send(AcceptConnection(extra_headers=[(HEADER.encode(), request_id().encode())]))


def talk() -> Callable[[Callable[[str], None]], Talk]:
    """Return what makes the conversation of the socket that this request opens."""
    asker, known, shared = caller(), holder(identity()), sockets()
    limiter, parts = limits.limiter_of(current_app), services()
    most = most_by(parts.plans, parts.settings.quotas.key_concurrency)
    house = House(
        parts.tasks,
        lambda route: limiter.count(route, known("tasks:run")),
        lambda: taken(parts.under_way, most, known("tasks:run")),
        lambda: shared.hub.stopping,
    )
    topics = Topics(shared.watch, asker.tenant, asker.request_id, known)
    context = Context()  # not a copy of the request's own, which would keep all of the request
    context.run(structlog.contextvars.bind_contextvars, **structlog.contextvars.get_contextvars())
    return partial(Talk, house=house, asker=asker, topics=topics, context=context)
