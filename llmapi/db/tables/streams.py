"""What running and lately ended streams said, for those who come back; tickets that open a WebSocket."""

from sqlalchemy import Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, String, Table

from llmapi.db.columns import Instant
from llmapi.db.tables.metadata import metadata

streams = Table(
    "streams",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("touched", Instant, nullable=False),  # when its process last said that it goes on
    Column("ended", Instant),
    Column("outcome", String(8)),  # NULL while it goes on
    Column("size", Integer, nullable=False),  # bytes of its events, once it ended
)
Index("ix_streams_ended", streams.c.ended)

pieces = Table(
    "stream_pieces",
    metadata,
    Column("stream", String(40), nullable=False),
    Column("number", Integer, nullable=False),  # of the first event in it
    Column("events", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),  # as it was sent
    PrimaryKeyConstraint("stream", "number"),
)

tickets = Table(
    "socket_tickets",
    metadata,
    Column("digest", String(64), primary_key=True),  # of the ticket, which nobody can compute back
    Column("tenant", String(64), nullable=False),
    Column("name", String(64), nullable=False),  # whose key it stands for, as limits count it
    Column("expires", Instant, nullable=False),
    Column("key", String(64)),  # its public id; NULL: nobody was asked for a key
    Column("user", String(128)),  # whom its holder named
)
Index("ix_socket_tickets_expires", tickets.c.expires)
