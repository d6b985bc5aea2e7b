"""Settings to services to application, nothing else; gunicorn is configured in deploy/gunicorn.conf.py."""

from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.settings import load_settings

app = create_app(build(load_settings()))
