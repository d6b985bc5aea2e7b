"""Files of tenants: uploaded for batches, and written by them. Rows say what there is, blobs hold what they say."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, func, insert, select, update

from llmapi.core.clock import Wall, utc_now
from llmapi.core.errors import NotFound, PayloadTooLarge, StorageFull
from llmapi.core.ids import new_id
from llmapi.db.blobs import Blobs, BlobWriter
from llmapi.db.engine import reading, writing
from llmapi.db.tables.batches import files

MONTH = 30 * 86_400.0
DAY = timedelta(days=1)  # what is not written to its end by then never is
LARGEST = 32 * 1_048_576
ROOM = 2 * 1024 * 1_048_576
NAMES = ("id", "tenant", "purpose", "filename", "bytes", "created", "expires")
COLUMNS = tuple(files.c[name] for name in NAMES)


@dataclass(frozen=True, slots=True)
class File:
    """A file that is whole."""

    id: str
    tenant: str
    purpose: str  # batch, batch_output
    filename: str
    bytes: int
    created: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class FilePage:
    """Files, and whether there are more after the last of them."""

    files: tuple[File, ...]
    more: bool


class Upload:
    """A file on its way in: nobody sees it before `Files.finish`."""

    def __init__(self, id: str, blob: BlobWriter, most: int) -> None:
        self.id, self.blob = id, blob
        self._most = most

    def write(self, data: bytes) -> int:
        """Take bytes in; raises PayloadTooLarge, StorageFull, Overloaded."""
        if self.blob.size + len(data) > self._most:
            raise PayloadTooLarge(f"A file may have {self._most} bytes.")
        return self.blob.write(data)


class Files:
    """The files of all tenants.

    keep_for: seconds until a file is deleted
    largest: bytes of an uploaded file; those that batches write may be longer
    room: bytes a tenant's files may have together before no more is taken in
    """

    def __init__(
        self,
        engine: Engine,
        *,
        keep_for: float = MONTH,
        largest: int = LARGEST,
        room: int = ROOM,
        now: Wall = utc_now,
    ) -> None:
        self.largest = largest
        self._engine, self._now, self._keep_for, self._room = engine, now, keep_for, room
        self._blobs = Blobs(engine)

    def begin(self, tenant: str, purpose: str, filename: str, *, most: int | None = None) -> Upload:
        """Return what takes in a new file of at most `most` bytes; raises StorageFull when the tenant has too many."""
        id, now = new_id("file"), self._now()
        used = select(func.coalesce(func.sum(files.c.bytes), 0)).where(files.c.tenant == tenant, files.c.expires > now)
        with writing(self._engine) as connection:
            if purpose == "batch" and connection.execute(used).scalar_one() >= self._room:
                raise StorageFull(f"Your files take more than {self._room} bytes: delete some.")
            row = {"id": id, "tenant": tenant, "purpose": purpose, "filename": shown_name(filename)}
            connection.execute(insert(files).values(**row, status="writing", created=now, expires=now + DAY))
        return Upload(id, self._blobs.writer(id), self.largest if most is None else most)

    def finish(self, upload: Upload, *, keep_for: float | None = None) -> File:
        """Let a file be seen."""
        upload.blob.close()
        with writing(self._engine) as connection:
            return self.enter(connection, upload, keep_for)

    def enter(self, connection: Connection, upload: Upload, keep_for: float | None = None) -> File:
        """Let a file whose blob is closed be seen once this transaction is committed; raises StorageFull."""
        until = self._now() + timedelta(seconds=self._keep_for if keep_for is None else keep_for)
        change = update(files).where(files.c.id == upload.id, files.c.status == "writing")
        values = {"status": "processed", "bytes": upload.blob.size, "expires": until}
        row = connection.execute(change.values(values).returning(*COLUMNS)).one_or_none()
        if row is None:
            raise StorageFull("The file took too long to come.")
        return File(*row)

    def abandon(self, upload: Upload) -> None:
        """Forget a file that is not to be."""
        self._forget(upload.id)

    def get(self, id: str, tenant: str) -> File:
        """Return a file; raises NotFound, also for somebody else's and for one whose time is over."""
        found = select(*COLUMNS).where(files.c.id == id, files.c.tenant == tenant, self._seen())
        with reading(self._engine) as connection:
            row = connection.execute(found).one_or_none()
        if row is None:
            raise NotFound("There is no such file.")
        return File(*row)

    def list(
        self, tenant: str, *, purpose: str | None = None, limit: int = 100, after: str = "", order: str = "desc"
    ) -> FilePage:
        """Return a tenant's files by age; `after` is the id of the last one seen."""
        newest = order == "desc"
        found = select(*COLUMNS).where(files.c.tenant == tenant, self._seen()).limit(limit + 1)
        found = found.order_by(files.c.id.desc() if newest else files.c.id)
        if purpose is not None:
            found = found.where(files.c.purpose == purpose)
        if after:
            found = found.where(files.c.id < after if newest else files.c.id > after)
        with reading(self._engine) as connection:
            rows = connection.execute(found).all()
        return FilePage(tuple(File(*row) for row in rows[:limit]), len(rows) > limit)

    def content(self, id: str, tenant: str) -> Iterator[bytes]:
        """Return what a file says, piece by piece; raises NotFound before the first."""
        self.get(id, tenant)
        return self._blobs.read(id)

    def delete(self, id: str, tenant: str) -> None:
        """Delete a file; raises NotFound."""
        self.get(id, tenant)
        self._forget(id)

    def purge(self) -> int:
        """Delete some of the files whose time is over; returns how many."""
        old = select(files.c.id).where(files.c.expires <= self._now()).order_by(files.c.expires).limit(20)
        with reading(self._engine) as connection:
            ids = connection.execute(old).scalars().all()
        for id in ids:
            self._forget(id)
        return len(ids)

    def _seen(self) -> ColumnElement[bool]:
        return and_(files.c.status == "processed", files.c.expires > self._now())

    def _forget(self, id: str) -> None:
        self._blobs.delete(id)  # first: a row without its blob is found again, a blob without its row is not
        with writing(self._engine) as connection:
            connection.execute(delete(files).where(files.c.id == id))


def shown_name(name: str) -> str:
    """Return a caller's name of a file as it can be kept and shown: its last part, without what no name has."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(each for each in last if each.isprintable())[:255] or "file"
