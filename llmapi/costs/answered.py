"""Which questions a request's answer was made of, as the ledger has them."""

from typing import Final

from sqlalchemy import Engine, case, select

from llmapi.db.engine import reading
from llmapi.db.tables.ledger import ledger

MOST: Final = 32  # calls of one request that are looked at


def questions_of(engine: Engine, tenant: str, call_id: str) -> list[str]:
    """Return the digests of the questions asked under a request id, newest first; [] when there is no such request.

    For an answer served by meaning "": what is kept of it was the answer to another question.
    """
    mine = (ledger.c.tenant == tenant, ledger.c.call_id == call_id)
    digest = case((ledger.c.cache == "semantic", ""), else_=ledger.c.question)
    found = select(digest).where(*mine).order_by(ledger.c.id.desc()).limit(MOST)
    with reading(engine) as connection:
        return list(dict.fromkeys(connection.execute(found).scalars()))
