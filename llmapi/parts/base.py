"""What all parts stand on."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from llmapi.db.engine import open_engine
from llmapi.db.schema import upgrade
from llmapi.events.bus import EventBus
from llmapi.events.logs import log_calls
from llmapi.gateway.retry import Nap
from llmapi.settings import Settings


@dataclass(frozen=True, slots=True)
class Base:
    """The settings, the data folder, the database and the bus; `sleep` is how waiting is done, replaced by tests."""

    settings: Settings
    folder: Path
    engine: Engine
    bus: EventBus
    sleep: Nap


def open_base(settings: Settings, sleep: Nap) -> Base:
    """Return what parts stand on; the database is brought up to date. Raises BadSetting."""
    folder = settings.data_dir.absolute()
    engine = open_engine(settings.database_url, folder=folder)
    upgrade(engine)
    return Base(settings, folder, engine, EventBus([log_calls]), sleep)
