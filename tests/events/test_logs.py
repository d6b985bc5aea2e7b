"""One JSON object a line, from whoever logs."""

import io
import logging
import warnings

import pytest
import structlog

from llmapi.core.events import JobChanged
from llmapi.core.money import UNPRICED
from llmapi.events.logs import log_calls
from tests.events.conftest import a_finished_call


def test_a_line_has_time_level_logger_and_the_request_it_belongs_to(open_log):
    log = open_log()
    structlog.contextvars.bind_contextvars(request_id="req_1")
    structlog.get_logger("llmapi.access").info("request", route="/v1/classify")
    (line,) = log.lines()
    assert line["timestamp"].endswith("Z")
    assert {key: line[key] for key in ("event", "level", "logger", "request_id", "route")} == {
        "event": "request",
        "level": "info",
        "logger": "llmapi.access",
        "request_id": "req_1",
        "route": "/v1/classify",
    }


@pytest.mark.parametrize("name", ["gunicorn.error", "werkzeug", "llmapi.jobs.threads", "somebody.elses"])
def test_the_standard_librarys_logs_go_through_the_same_sink(open_log, name):
    log = open_log(secrets=["top-secret-value"])
    structlog.contextvars.bind_contextvars(request_id="req_1")
    logging.getLogger(name).warning("used %s and %s", "top-secret-value", "sk-abcdefghijklmnopqrstuv")
    (line,) = log.lines()
    assert (line["event"], line["level"], line["logger"]) == ("used *** and ***", "warning", name)
    assert line["request_id"] == "req_1"


def test_a_logger_that_brought_its_own_handler_writes_no_second_line(open_log):
    elsewhere = io.StringIO()
    server = logging.getLogger("gunicorn.error")
    server.addHandler(logging.StreamHandler(elsewhere))
    server.propagate = False
    log = open_log()
    server.warning("Worker exiting")
    assert ([line["event"] for line in log.lines()], elsewhere.getvalue()) == (["Worker exiting"], "")


def test_a_trace_is_one_line_and_keeps_no_secret(open_log):
    log = open_log()
    try:
        raise ValueError("refused AIzaSyD-1234567890abcdefghijklmnopqrstu")
    except ValueError as error:
        structlog.get_logger("a").error("defect", exc_info=error)
        logging.getLogger("b").exception("defect")
    assert ["refused ***" in line["exception"] for line in log.lines()] == [True, True]
    assert b"AIza" not in log.raw.getvalue()


def test_pythons_warnings_become_log_lines(open_log):
    log = open_log()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("this will go away", FutureWarning, stacklevel=1)
    (line,) = log.lines()
    assert "this will go away" in line["event"] and line["logger"] == "py.warnings"


def test_what_is_below_the_level_is_not_written(open_log):
    log = open_log(level="warning")
    structlog.get_logger("a").info("no")
    logging.getLogger("b").info("no")
    structlog.get_logger("a").warning("yes")
    logging.getLogger("b").warning("yes")
    assert [line["event"] for line in log.lines()] == ["yes", "yes"]


def test_the_clients_beneath_us_do_not_log_every_request(open_log):
    log = open_log(level="debug")
    logging.getLogger("httpx").info("HTTP Request: POST https://x.test/?key=1")
    assert log.lines() == []


def test_a_finished_call_is_one_line_of_names_and_numbers(open_log):
    log = open_log()
    log_calls(a_finished_call())
    (line,) = log.lines()
    assert line["event"] == "call" and line["level"] == "info"
    assert (line["call_id"], line["model"], line["cache"], line["cost"]) == ("call_1", "flash", "miss", "0.0015")
    assert (line["input_tokens"], line["output_tokens"], line["attempts"]) == (100, 20, 1)
    assert (line["seconds"], line["provider_seconds"]) == (0.3, 0.25)


@pytest.mark.parametrize(
    ("status", "level"),
    [("ok", "info"), ("abandoned", "info"), ("cache_miss", "info"), ("provider_timeout", "warning")],
)
def test_a_failed_call_is_a_warning_and_one_that_was_left_is_not(open_log, status, level):
    log = open_log()
    log_calls(a_finished_call(status=status, cost=UNPRICED))
    (line,) = log.lines()
    assert (line["level"], line["cost"]) == (level, None)


def test_a_job_is_logged_when_it_ended(open_log):
    log = open_log()
    log_calls(JobChanged("job_1", "acme", "task", "running", 1))
    log_calls(JobChanged("job_1", "acme", "task", "dead", 3, 1.5))
    (line,) = log.lines()
    assert (line["event"], line["job_id"], line["status"], line["level"]) == ("job", "job_1", "dead", "warning")


def test_a_message_cannot_forge_a_line(open_log):
    log = open_log()
    structlog.get_logger("a").info('x\n{"event":"forged"}')
    assert len(log.lines()) == 1
