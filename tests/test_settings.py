"""Settings: read from one place, the environment before the file, and nothing misspelt passes in silence."""

import os
from collections.abc import Iterator

import pytest

from llmapi.core.errors import BadSetting
from llmapi.settings import load_settings


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch, tmp_path) -> Iterator[None]:
    for name in os.environ:
        if name.startswith("LLMAPI_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield


def test_each_task_has_settings_of_its_own(monkeypatch):
    monkeypatch.setenv("LLMAPI_CODE_MODEL", "openai/gpt-5-mini")
    monkeypatch.setenv("LLMAPI_CODE_MAX_TOKENS", "99")
    monkeypatch.setenv("LLMAPI_CLASSIFY_TIMEOUT", "7.5")
    settings = load_settings()
    assert (settings.code.model, settings.code.max_tokens, settings.code.temperature) == ("openai/gpt-5-mini", 99, 0.2)
    assert (settings.classify.timeout, settings.text.model) == (7.5, "")


def test_the_file_is_read_and_the_environment_wins(monkeypatch, tmp_path):
    told = ("cache_ttl = 5", "port = 1234", "[aliases]", 'cheap = "openai/x"', "[text]", "max_tokens = 9")
    (tmp_path / "llmapi.toml").write_text("\n".join(told))
    monkeypatch.setenv("LLMAPI_PORT", "4321")
    settings = load_settings()
    assert (settings.cache_ttl, settings.port, settings.aliases, settings.text.max_tokens) == (
        5.0,
        4321,
        {"cheap": "openai/x"},
        9,
    )


@pytest.mark.parametrize(
    ("name", "close"), [("LLMAPI_CACHE_TLL", "LLMAPI_CACHE_TTL"), ("LLMAPI_TEXT_MODLE", "LLMAPI_TEXT_MODEL")]
)
def test_an_unknown_name_stops_the_start_and_the_close_one_is_named(monkeypatch, name, close):
    monkeypatch.setenv(name, "1")
    with pytest.raises(BadSetting, match=f"{name} is no setting; did you mean {close}"):
        load_settings()


@pytest.mark.parametrize("text", ["colour = 1", "[text]\ncolour = 1", "[limits]\nnowhere = '1/minute'", "port = ["])
def test_an_unknown_or_broken_line_of_the_file_stops_the_start(tmp_path, text):
    (tmp_path / "llmapi.toml").write_text(text)
    with pytest.raises(BadSetting):
        load_settings()


def test_a_file_that_was_named_must_be_there(monkeypatch):
    monkeypatch.setenv("LLMAPI_CONFIG", "nowhere.toml")
    with pytest.raises(BadSetting, match="LLMAPI_CONFIG"):
        load_settings()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "llmapi.example.org"])
def test_the_server_does_not_start_open_to_others_without_keys(monkeypatch, host):
    monkeypatch.setenv("LLMAPI_HOST", host)
    with pytest.raises(BadSetting, match="LLMAPI_AUTH=required"):
        load_settings()


def test_keys_are_never_shown(monkeypatch):
    monkeypatch.setenv("LLMAPI_AUTH", "required")
    monkeypatch.setenv("LLMAPI_API_KEYS", "first-secret, acme:second-secret")
    settings = load_settings()
    assert [key.get_secret_value() for key in settings.api_keys] == ["first-secret", "acme:second-secret"]
    assert "first-secret" not in repr(settings) and "second-secret" not in repr(settings)


@pytest.mark.parametrize("keys", ["acme:", "good-key-good-key,acme:", ":"])
def test_an_empty_key_that_would_let_everybody_in_stops_the_start(monkeypatch, keys):
    monkeypatch.setenv("LLMAPI_API_KEYS", keys)
    with pytest.raises(BadSetting, match="api_keys: a key is empty") as refused:
        load_settings()
    assert "good-key" not in str(refused.value)


@pytest.mark.parametrize("tenant", ["Acme", "a b", "-a", "acme:more", "a" * 65])
def test_a_tenant_no_column_would_take_stops_the_start(monkeypatch, tenant):
    monkeypatch.setenv("LLMAPI_API_KEYS", f"good-key-good-key,{tenant}:second-secret")
    with pytest.raises(BadSetting, match="api_keys: a tenant is 1 to 64 of") as refused:
        load_settings()
    assert "second-secret" not in str(refused.value)


def test_the_longest_tenant_is_taken(monkeypatch):
    monkeypatch.setenv("LLMAPI_API_KEYS", f"{'a' * 64}:second-secret")
    assert len(load_settings().api_keys) == 1


def test_a_secret_can_come_from_a_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("from-a-file\n")
    monkeypatch.setenv("GOOGLE_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("LLMAPI_API_KEYS_FILE", str(tmp_path / "key"))
    settings = load_settings()
    assert settings.google_api_key.get_secret_value() == "from-a-file"
    assert [key.get_secret_value() for key in settings.api_keys] == ["from-a-file"]


def test_the_log_leaves_out_every_vendors_key_and_no_tenants_name(monkeypatch, tmp_path):
    (tmp_path / "llmapi.toml").write_text('[vendors.mine]\nbase_url = "http://127.0.0.1/v1"\nkey_name = "MY_LLM_KEY"')
    (tmp_path / "key").write_text("my-own-vendors-key")
    monkeypatch.setenv("MISTRAL_API_KEY", "key-of-mistral")
    monkeypatch.setenv("MY_LLM_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("LLMAPI_API_KEYS", "production:second-secret")
    assert set(load_settings().secrets()) == {"key-of-mistral", "my-own-vendors-key", "second-secret"}


@pytest.mark.parametrize("name", ["GOOGLE_API_KEY", "GEMINI_API_KEY"])
def test_gemini_s_key_is_read_under_both_of_its_names(monkeypatch, name):
    monkeypatch.setenv(name, "k")
    assert load_settings().google_api_key.get_secret_value() == "k"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLMAPI_PORT", "70000"),
        ("LLMAPI_TEXT_TEMPERATURE", "2.5"),
        ("LLMAPI_CACHE_ENTRIES", "none"),
        ("LLMAPI_HEARTBEAT", "16"),
        ("LLMAPI_CACHE_TTL", "inf"),
        ("LLMAPI_JOBS_KEPT", "1e18"),
        ("LLMAPI_TEXT_CACHE_TTL", "nan"),
    ],
)
def test_a_value_out_of_bounds_stops_the_start_and_names_the_setting(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting, match=name.removeprefix("LLMAPI_").lower().replace("text_", "text.")):
        load_settings()
