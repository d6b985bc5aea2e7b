"""Files and folders that only this user may read."""

import os
from pathlib import Path

from llmapi.core.errors import BadSetting


def private_folder(folder: Path) -> Path:
    """Return the absolute folder, made 0700 if it is new; raises BadSetting when it cannot be written."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(f"the folder {folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadSetting(f"the folder {folder} cannot be written")
    return folder.resolve()


def private_file(file: Path) -> Path:
    """Make the file, empty and 0600, unless it is there; raises BadSetting. SQLite's side files get the same mode."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise BadSetting(f"the file {file} cannot be written: {error.strerror}") from error
    return file
