import multiprocessing
import stat

import pytest

from llmapi.core.errors import BadSetting
from llmapi.db.kept_secrets import kept_secret

FILE = "key_pepper"


def test_a_secret_is_made_once_in_a_private_file(tmp_path):
    made = kept_secret(FILE, "", tmp_path / "data")
    assert kept_secret(FILE, "", tmp_path / "data") == made and len(made) == 43
    assert stat.S_IMODE((tmp_path / "data" / FILE).stat().st_mode) == 0o600
    assert [file.name for file in (tmp_path / "data").iterdir()] == [FILE]


def test_processes_that_start_at_once_have_one_secret(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.starmap(kept_secret, [(FILE, "", tmp_path)] * 16))) == 1


def test_the_operators_own_secret_needs_no_file(tmp_path):
    assert kept_secret(FILE, "0123456789abcdef", tmp_path) == b"0123456789abcdef"
    assert list(tmp_path.iterdir()) == []


def test_a_secret_that_protects_nothing_stops_the_start(tmp_path):
    with pytest.raises(BadSetting, match=FILE):
        kept_secret(FILE, "short", tmp_path)
    (tmp_path / FILE).touch()
    with pytest.raises(BadSetting, match=FILE):
        kept_secret(FILE, "", tmp_path)
