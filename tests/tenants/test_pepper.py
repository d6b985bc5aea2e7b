import multiprocessing
import stat

import pytest

from llmapi.core.errors import BadSetting
from llmapi.tenants.pepper import FILE, pepper_of


def test_a_pepper_is_made_once_in_a_private_file(tmp_path):
    made = pepper_of("", tmp_path / "data")
    assert pepper_of("", tmp_path / "data") == made and len(made) == 43
    assert stat.S_IMODE((tmp_path / "data" / FILE).stat().st_mode) == 0o600
    assert [file.name for file in (tmp_path / "data").iterdir()] == [FILE]


def test_processes_that_start_at_once_have_one_pepper(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.starmap(pepper_of, [("", tmp_path)] * 16))) == 1


def test_the_operators_own_pepper_needs_no_file(tmp_path):
    assert pepper_of("0123456789abcdef", tmp_path) == b"0123456789abcdef"
    assert list(tmp_path.iterdir()) == []


def test_a_pepper_that_protects_nothing_stops_the_start(tmp_path):
    with pytest.raises(BadSetting, match="LLMAPI_KEY_PEPPER"):
        pepper_of("short", tmp_path)
    (tmp_path / FILE).touch()
    with pytest.raises(BadSetting, match=FILE):
        pepper_of("", tmp_path)
