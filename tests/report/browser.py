"""Pages in a real browser: Chromium without a window, where it is installed."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def measured(page: Path, width: int, script: str, folder: Path) -> Any:
    """What a script returns in a page that is shown this many pixels wide; skips the test without Chromium.

    Args:
        script: JavaScript; `seen` is the page's window, and the value after `return` is handed back as JSON.
        folder: for the file that the browser opens.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    frame = (
        f'<iframe id="seen" style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(page.read_text())}">'
        "</iframe><pre id=out></pre><script>document.getElementById('seen').onload = function () {"
        "const seen = this.contentWindow; document.getElementById('out').textContent ="
        f"JSON.stringify((() => {{ {script} }})()); }}</script>"
    )
    file = folder / f"seen-{width}.html"
    file.write_text(f'<!doctype html><meta charset="utf-8">{frame}', encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000", "--dump-dom"]
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [*command, profile, "--virtual-time-budget=10000", file.as_uri()], capture_output=True, text=True, timeout=120
    )
    return json.loads(html.unescape(done.stdout.split('<pre id="out">')[1].split("</pre>")[0]))
