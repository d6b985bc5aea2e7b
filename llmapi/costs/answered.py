"""Which questions a request's answer was made of, as the ledger has them."""

from typing import Final

from sqlalchemy import Engine, select

from llmapi.db.engine import reading
from llmapi.db.tables.ledger import ledger

MOST: Final = 32  # calls of one request that are looked at


def questions_of(engine: Engine, tenant: str, call_id: str) -> list[str]:
    """Return the digests of the questions asked under a request id, newest first; [] when there is no such request."""
    mine = (ledger.c.tenant == tenant, ledger.c.call_id == call_id)
    found = select(ledger.c.question).where(*mine).order_by(ledger.c.id.desc()).limit(MOST)
    with reading(engine) as connection:
        return list(dict.fromkeys(connection.execute(found).scalars()))
