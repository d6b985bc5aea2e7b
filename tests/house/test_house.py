"""What reviews forget: the house measures itself."""

import ast
import configparser
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmapi.core import errors

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted([*ROOT.glob("llmapi/**/*.py"), ROOT / "wsgi.py"])
README = (ROOT / "README.md").read_text(encoding="utf-8")
BROAD = {
    "providers/failures.py", "events/bus.py", "jobs/runner.py", "api/streaming.py", "gateway/telemetry.py",
    "core/periodic.py",
}  # fmt: skip


def functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def name(module: Path) -> str:
    return str(module.relative_to(ROOT))


def test_no_file_outgrows_one_look():
    assert [name(m) for m in MODULES if len(m.read_text(encoding="utf-8").splitlines()) > 300] == []


def test_no_function_outgrows_the_wall():
    long = [f"{name(m)}:{f.name}" for m in MODULES for f in functions(m) if (f.end_lineno or 0) - f.lineno >= 40]
    assert long == []


def test_only_settings_reads_the_environment():
    touches = re.compile(r"\bos\.(environ|getenv|putenv)\b|import environ\b")
    found = [name(m) for m in MODULES if touches.search(m.read_text(encoding="utf-8"))]
    assert found == ["llmapi/events/processes.py", "llmapi/settings.py"]  # the first one writes, for a library


def test_broad_excepts_stand_only_where_they_were_argued_for():
    found = {
        str(m.relative_to(ROOT / "llmapi"))
        for m in MODULES
        for node in ast.walk(ast.parse(m.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) in ("Exception",))
    }
    assert found <= BROAD


def test_every_room_opens_with_its_sign():
    rooms = [m for m in MODULES if m.name == "__init__.py"]
    assert [name(m) for m in rooms if not ast.get_docstring(ast.parse(m.read_text(encoding="utf-8")))] == []


def test_every_module_and_public_function_says_what_it_is_for():
    silent = [name(m) for m in MODULES if not ast.get_docstring(ast.parse(m.read_text(encoding="utf-8")))]
    assert silent == []


def test_nothing_happens_later_that_was_promised_now():
    promise = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
    assert [name(m) for m in MODULES if promise.search(m.read_text(encoding="utf-8"))] == []


def test_imports_run_downwards_only():
    linter = Path(sys.executable).parent / "lint-imports"
    checked = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_lock_holds_a_hash_for_everything_setup_cfg_asks_for():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    blocks = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    rows = [row for block in blocks for row in block.splitlines() if row]
    wanted = {re.split(r"[\[<>=;]", row)[0].replace("_", "-") for row in rows}
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^([a-z0-9][a-z0-9.-]*)(?:\[[a-z,]+\])?==[^\\]+\\\n    --hash=", lock, re.M)
    assert wanted - set(pinned) == set()
    assert len(re.findall(r"^[a-z0-9]", lock, re.M)) == len(pinned)


def test_the_committed_openapi_document_is_the_one_the_code_makes(tmp_path):
    fresh = tmp_path / "openapi.json"
    subprocess.run([sys.executable, "-m", "openapi.write", str(fresh)], cwd=ROOT, check=True)
    assert (ROOT / "openapi/openapi.json").read_bytes() == fresh.read_bytes()


def every_error() -> Iterator[type[errors.LlmApiError]]:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.LlmApiError):
            yield kind


@pytest.mark.parametrize("code", sorted({kind.code for kind in every_error()}))
def test_every_error_code_is_in_the_readme(code):
    assert f"`{code}`" in README


def test_every_setting_is_in_the_readme():
    from llmapi.settings import known_names

    assert [name for name in sorted(known_names()) if not name.endswith("_FILE") and f"`{name}`" not in README] == []


def test_every_example_is_valid_json_with_a_summary():
    for file in (ROOT / "openapi/examples").glob("*.json"):
        for row in json.loads(file.read_text(encoding="utf-8")).values():
            assert set(row) == {"summary", "value"}
