"""A headless Chromium for the tests that need one; they are skipped where there is none."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# no sandbox: containers forbid it; the other switches keep Chromium from calling home
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


@contextmanager
def open_browser():
    """Playwright's handle on the Chromium or Chrome that is installed."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium or Chrome is installed (on Debian: apt install chromium)")
    playwright_api = pytest.importorskip("playwright.sync_api", reason="the extra `browser` lacks")
    with playwright_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=path,
                args=list(SWITCHES),
                ignore_default_args=["--hide-scrollbars"],  # a reader sees them, too
            )
        except playwright_api.Error as error:
            pytest.skip(f"{path} does not start here: {error}")
        yield browser
        browser.close()
