"""Time the dashboard as a lecturer meets it: from the command to a sheet of pairs on disk.

    python data/recipes/time_dashboard.py

A headless Chromium opens the page that ``python -m fairgen_utils dashboard`` serves, presses
Generate, waits, presses Export and saves the sheet. It needs the extra `browser` and a Chromium or
Chrome. Writes data/results/dashboard.csv.
"""

import argparse
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 600_000  # milliseconds


def timed(port, out, pictures=None):
    """Seconds since the command, by step; `pictures` is a folder for what the screen shows."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise SystemExit("no Chromium or Chrome is installed (on Debian: apt install chromium)")
    command = [sys.executable, "-m", "fairgen_utils", "dashboard", "--no-browser", f"--port={port}"]
    started, steps = time.perf_counter(), {}
    server = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=path, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(PATIENCE)

            def reached(name):
                steps[name] = time.perf_counter() - started
                print(f"{steps[name]:6.1f} s  {name}")
                for width, height in ((1440, 900), (1920, 1080)) if pictures else ():
                    page.set_viewport_size({"width": width, "height": height})
                    page.wait_for_timeout(300)
                    page.screenshot(path=Path(pictures) / f"{name.replace(' ', '_')}_{width}.png")

            while not _answers(port):
                time.sleep(0.1)
            page.goto(f"http://127.0.0.1:{port}")
            page.wait_for_selector("text=/Ready: /")
            reached("page ready")
            page.click("button:has-text('Generate')")
            page.wait_for_selector(".large")
            reached("first 64 pairs")
            page.wait_for_selector("text=/Done: /")
            reached("200 pairs")
            page.wait_for_selector("button:has-text('Export'):enabled")
            page.click("button:has-text('Export')")
            with page.expect_download() as download:
                page.click("text=sheet of pairs")
            download.value.save_as(out)
            reached("sheet of pairs on disk")
            if pictures:
                page.locator(".pair").nth(2).click()
                page.wait_for_selector(".cells figure")
                reached("one face in every group")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    return steps


def _answers(port):
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8877)
    parser.add_argument("--sheet", type=Path, default=ROOT / "outputs" / "dashboard_sheet.png")
    parser.add_argument("--pictures", type=Path, help="folder for what the screen shows")
    options = parser.parse_args()
    options.sheet.parent.mkdir(exist_ok=True)
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
        timed(options.port, options.sheet, options.pictures)  # taking them takes time
        return
    steps = timed(options.port, options.sheet)
    so_far = np.array(list(steps.values())).round(1)
    seconds = np.diff(so_far, prepend=0).round(1)
    table = pd.DataFrame({"step": steps.keys(), "seconds": seconds, "seconds_so_far": so_far})
    table = table.assign(cores=os.cpu_count(), python=platform.python_version())
    table.to_csv(ROOT / "data" / "results" / "dashboard.csv", index=False)


if __name__ == "__main__":
    main()
