"""The entry of `celery -A llmapi.worker worker`: settings to services to a Celery application, nothing else."""

import sys

from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.cli.worker_command import prepared
from llmapi.core.errors import BadSetting, LlmApiError
from llmapi.events.logs import configure_logs
from llmapi.settings import load_settings

try:
    settings = load_settings()
    configure_logs(level=settings.log_level, secrets=settings.secrets(), delay=0.05)
    services = build(settings)
    create_app(services)  # which tells batches the endpoints they may ask
    app = prepared(services)
except (BadSetting, LlmApiError) as error:
    sys.exit(f"llmapi cannot start: {error}")
