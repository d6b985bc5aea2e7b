"""Settings to services to application, nothing else; gunicorn is configured in deploy/gunicorn.conf.py."""

import sys

from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.core.errors import BadSetting, LlmApiError
from llmapi.events.logs import configure_logs
from llmapi.settings import load_settings

try:
    settings = load_settings()
    configure_logs(level=settings.log_level, secrets=settings.secrets(), delay=0.05)
    app = create_app(build(settings))
except (BadSetting, LlmApiError) as error:
    sys.exit(f"llmapi cannot start: {error}")
