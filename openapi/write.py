"""`python -m openapi.write FILE`: write the OpenAPI document the code makes."""

import sys
import tempfile
from pathlib import Path

from llmapi.api.docs import as_json
from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.settings import Settings


def main(target: str) -> None:
    """Write the document of an application with default settings."""
    with tempfile.TemporaryDirectory() as folder:
        services = build(Settings(data_dir=Path(folder)))
        app = create_app(services)
        Path(target).write_bytes(as_json(app.extensions["flask-smorest"]["apis"][""]["ext_obj"].document()))
        services.close()


if __name__ == "__main__":
    main(sys.argv[1])
