"""Secrets that must outlive the process and never be in the database; where the operator sets none, one is made once,
in a private file of the data folder."""

import os
import secrets
from pathlib import Path

from llmapi.core.errors import BadSetting

SHORTEST = 16  # characters


def kept_secret(name: str, setting: str, folder: Path, *, needed_for: str = "") -> bytes:
    """Return a secret; raises BadSetting. Of processes that start at once, one makes the file and all read it.

    name: of the setting, and of the file
    needed_for: what the database already has that only the secret of before is good for; "": a new one may be made
    """
    if setting and len(setting) < SHORTEST:
        raise BadSetting(f"{name}: it needs {SHORTEST} characters at least, better 43 random ones")
    file = folder / name
    if needed_for and not setting and not file.exists():
        raise BadSetting(
            f"{name}: the database has {needed_for}, but their secret is not here: bring the file {file} back, or set "
            f"LLMAPI_{name.upper()} to what it was; with anything else they are good no more"
        )
    return (setting or kept_in(file)).encode()


def kept_in(file: Path) -> str:
    """Return what the file holds, which is made if it is not there; never seen half written."""
    try:
        if not file.exists():
            make(file)
        kept = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"the file {file} cannot be used: {type(error).__name__}") from error
    if len(kept) < SHORTEST:
        raise BadSetting(f"the file {file} holds no secret: put it back, or set LLMAPI_{file.name.upper()}")
    return kept


def make(file: Path) -> None:
    """Write a new secret to a file of its own, then give it the name, unless another was quicker."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as written:
            written.write(secrets.token_urlsafe(32) + "\n")
            written.flush()
            os.fsync(written.fileno())
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
