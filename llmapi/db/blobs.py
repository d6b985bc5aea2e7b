"""What files hold: rows of some hundred kilobytes, so that every machine at the database reads what another wrote.

Nothing here is held in memory but one such row. Names of blobs come from the caller.
"""

from collections.abc import Iterator

from sqlalchemy import Engine, delete, insert, select

from llmapi.db.engine import reading, writing
from llmapi.db.tables.batches import chunks

SIZE = 262_144  # bytes of a row


class BlobWriter:
    """A binary file to write to; what is left in its buffer is kept by `close`. Each row is its own transaction."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.size = 0
        self._engine, self._name = engine, name
        self._buffer = bytearray()
        self._number = 0

    def write(self, data: bytes) -> int:
        """Take bytes in; raises StorageFull, Overloaded."""
        self.size += len(data)
        self._buffer += data
        while len(self._buffer) >= SIZE:
            self._keep(bytes(self._buffer[:SIZE]))
            del self._buffer[:SIZE]
        return len(data)

    def close(self) -> None:
        """Keep the rest."""
        if self._buffer:
            self._keep(bytes(self._buffer))
            self._buffer.clear()

    def _keep(self, data: bytes) -> None:
        with writing(self._engine) as connection:
            connection.execute(insert(chunks).values(file=self._name, number=self._number, data=data))
        self._number += 1


class Blobs:
    """All blobs of a database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def writer(self, name: str) -> BlobWriter:
        """Return what writes a blob anew; what stood under this name is gone."""
        self.delete(name)
        return BlobWriter(self._engine, name)

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a blob's rows in their order; no connection is held between two of them."""
        number = 0
        while (data := self._row(name, number)) is not None:
            yield data
            number += 1

    def delete(self, name: str) -> None:
        """Delete a blob, if there is one, a few rows at a time."""
        few = select(chunks.c.number).where(chunks.c.file == name).limit(64)
        some = delete(chunks).where(chunks.c.file == name, chunks.c.number.in_(few))
        gone = 1
        while gone:
            with writing(self._engine) as connection:
                gone = connection.execute(some).rowcount

    def _row(self, name: str, number: int) -> bytes | None:
        found = select(chunks.c.data).where(chunks.c.file == name, chunks.c.number == number)
        with reading(self._engine) as connection:
            data = connection.execute(found).scalar_one_or_none()
        return None if data is None else bytes(data)
