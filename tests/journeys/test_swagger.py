"""A developer opens /docs in a browser, presses "Try it out" and gets an answer; nothing is fetched from elsewhere."""

import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="no Chromium here: Swagger UI was not tried in a browser"
)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield running
        running.close()


@pytest.fixture
def page(browser, service):
    context = browser.new_context()
    page = context.new_page()
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(f"{service.url}/docs")
    page.wait_for_selector("#operations-tag-text")
    yield page
    context.close()


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("#operations-text-post_v1_text_generate", '"finish_reason"'),
        ("#operations-code-post_v1_code_generate", '"verification"'),
        ("#operations-classify-post_v1_classify", '"probabilities"'),
    ],
)
def test_try_it_out_answers_the_first_example(page, operation, expected):
    page.click(f"{operation} .opblock-summary")
    page.click(f"{operation} .execute")
    answer = f"{operation} .live-responses-table"
    page.wait_for_selector(f"{answer} .response .response-col_status", timeout=120_000)
    assert page.inner_text(f"{answer} .response .response-col_status").strip().startswith("200")
    assert expected in page.inner_text(answer)


def test_the_page_asks_nobody_else_and_breaks_no_policy(page, service):
    assert {url for url in page.asked if not url.startswith((service.url, "data:"))} == set()
    assert page.complaints == []


def test_authorize_is_ready(page):
    page.click("button.authorize")
    page.fill("input[aria-label='auth-bearer-value']", "a-key")
    page.click(".modal-ux button.authorize")
    assert page.is_visible(".modal-ux button:has-text('Logout')")
