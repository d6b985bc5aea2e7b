"""Stored provider keys: each tenant's own, readable by nobody but the service, known everywhere soon."""

import base64

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text

from llmapi.core.errors import BadSetting, Forbidden, NotFound, ProviderInvalid
from llmapi.tenants.provider_keys import ProviderKeys
from llmapi.tenants.resealing import STEP
from llmapi.tenants.sealing import Seal

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
KEY, OTHER = "sk-proj-acmes-own-key-0001", "sk-proj-another-key-0002"
PROVIDERS = ("openai", "gemini")


class Ticks:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def engine(database):
    return database.open()


@pytest.fixture
def clock():
    return Ticks()


def opened(engine, *keys, clock=Ticks()):
    return ProviderKeys(engine, Seal(keys), providers=PROVIDERS, clock=clock)


def used(keys, tenant, provider):
    found = keys.get(tenant, provider)
    return found.get_secret_value() if found else None


def test_a_stored_key_is_its_tenants_and_its_providers_alone(engine):
    keys = opened(engine, OLD)
    keys.put("acme", "openai", KEY)
    assert used(keys, "acme", "openai") == KEY and KEY not in repr(keys.get("acme", "openai"))
    assert used(keys, "acme", "gemini") is None and used(keys, "other", "openai") is None
    assert [(each.provider, each.ending) for each in keys.stored("acme")] == [("openai", "0001")]
    assert keys.stored("other") == [] and keys.providers_of("acme") == {"openai"}
    with pytest.raises(NotFound):
        keys.delete("other", "openai")


def test_a_key_can_be_replaced_and_deleted(engine):
    keys = opened(engine, OLD)
    keys.put("acme", "openai", KEY)
    keys.put("acme", "openai", OTHER)
    assert used(keys, "acme", "openai") == OTHER and len(keys.stored("acme")) == 1
    keys.delete("acme", "openai")
    assert used(keys, "acme", "openai") is None
    with pytest.raises(NotFound):
        keys.delete("acme", "openai")


def test_nothing_of_a_short_key_is_shown(engine):
    assert opened(engine, OLD).put("acme", "openai", "fifteen-letters").ending == ""


def test_the_database_file_never_has_the_key(templates, tmp_path):
    database = templates.sqlite(tmp_path / "own")
    opened(database.open(), OLD).put("acme", "openai", KEY)
    database.close()
    kept = b"".join(file.read_bytes() for file in (tmp_path / "own").iterdir())
    forms = [base64.b64encode(b"x" * shift + KEY.encode())[4:-4] for shift in range(3)]
    assert b"acme" in kept and not any(form in kept for form in [KEY.encode(), KEY[:12].encode(), *forms])


def test_a_change_elsewhere_is_known_within_five_seconds_and_the_database_is_not_asked_before(database, clock):
    here, elsewhere = opened(database.open(), OLD, clock=clock), opened(database.open(), OLD)
    assert used(here, "acme", "openai") is None
    elsewhere.put("acme", "openai", KEY)
    clock.now = 2.4
    assert used(here, "acme", "openai") is None
    clock.now = 5.0
    assert used(here, "acme", "openai") == KEY


def test_after_a_change_of_the_operators_key_old_ones_are_read_and_new_ones_sealed_with_the_new(engine):
    opened(engine, OLD).put("acme", "openai", KEY)
    both = opened(engine, NEW, OLD)
    both.put("acme", "gemini", OTHER)
    assert used(both, "acme", "openai") == KEY
    assert used(opened(engine, NEW), "acme", "gemini") == OTHER


def test_all_keys_can_be_sealed_anew_so_that_the_old_operators_key_can_go(engine):
    before = opened(engine, OLD)
    for number in range(STEP + 1):
        before.put(f"tenant-{number}", "openai", f"{KEY}-{number}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE provider_keys SET secret = 'x' WHERE tenant = 'tenant-7'"))
    assert opened(engine, NEW, OLD).seal_anew() == STEP
    after = opened(engine, NEW)
    assert used(after, "tenant-0", "openai") == f"{KEY}-0" and used(after, "tenant-100", "openai") == f"{KEY}-100"


def test_a_key_that_cannot_be_read_any_more_is_an_error_and_not_the_operators_turn(engine):
    opened(engine, OLD).put("acme", "openai", KEY)
    later = opened(engine, NEW)
    with pytest.raises(ProviderInvalid):
        later.get("acme", "openai")
    assert later.get("acme", "gemini") is None


def test_stored_keys_without_a_key_to_read_them_stop_the_start(engine):
    opened(engine).check()
    opened(engine, OLD).put("acme", "openai", KEY)
    opened(engine, NEW).check()
    with pytest.raises(BadSetting, match="LLMAPI_SECRET_KEY"):
        opened(engine).check()


def test_a_row_moved_to_another_tenant_in_the_database_is_worth_nothing(engine):
    keys = opened(engine, OLD)
    keys.put("acme", "openai", KEY)
    with engine.begin() as connection:
        connection.execute(text("UPDATE provider_keys SET tenant = 'other'"))
    with pytest.raises(ProviderInvalid):
        keys.get("other", "openai")


def test_without_an_operators_key_and_for_unknown_providers_nothing_is_stored(engine):
    with pytest.raises(Forbidden, match="LLMAPI_SECRET_KEY"):
        opened(engine).put("acme", "openai", KEY)
    with pytest.raises(NotFound):
        opened(engine, OLD).put("acme", "local", KEY)


def test_an_operators_key_that_is_none_stops_the_start():
    with pytest.raises(BadSetting, match="secret_key"):
        Seal(["too short"])
