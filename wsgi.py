"""Settings to services to application, nothing else; gunicorn is configured in deploy/gunicorn.conf.py."""

from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.events.logs import configure_logs
from llmapi.settings import load_settings

settings = load_settings()
configure_logs(level=settings.log_level, secrets=settings.secrets(), delay=0.05)
app = create_app(build(settings))
