"""The page in a real browser: nothing on the console, all figures visible, sorting, widths."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

from sweep.inference.summary import Summary
from sweep.report.page import write_report
from sweep.storage.layout import Layout

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    "",
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine"),
]

# The page's own policy allows inline scripts, so that the probe needs no relaxation of it.
PROBE = """<script>
const sized = function (one) {
  const box = one.getBoundingClientRect(); return [box.width, box.height]; };
const said = {
  width: document.documentElement.clientWidth,
  scroll: document.documentElement.scrollWidth,
  figures: Array.from(document.querySelectorAll("figure svg"), sized),
  shapes: Array.from(document.querySelectorAll("figure svg"), function (one) {
    return one.querySelectorAll("path, text, use").length; }),
  letters: Math.min.apply(null, Array.from(document.querySelectorAll("figure svg text"),
    function (one) { return one.getBoundingClientRect().height; })),
  labels: Array.from(document.querySelectorAll("figure svg"), function (one) {
    return one.getAttribute("aria-label"); }),
  sorted: [],
};
document.querySelectorAll("table").forEach(function (table) {
  const buttons = table.querySelectorAll("th button");
  buttons.forEach(function (button, column) {
    const read = function () {
      return Array.from(table.tBodies[0].rows, function (row) {
        return row.cells[column].dataset.number || null; });
    };
    button.click(); const up = read(), name = button.parentElement.getAttribute("aria-sort");
    button.click(); const down = read();
    said.sorted.push([name, up, down]);
  });
});
const told = parent.document.createElement("pre");
told.id = "told"; told.textContent = JSON.stringify(said);
parent.document.body.appendChild(told);
</script></body>"""


def browse(page: Path, width: int, folder: Path) -> tuple[dict[str, object], str]:
    """What the probe found in a copy of the page, and everything on the browser's console."""
    copy = folder / "probed.html"
    content = escape(page.read_text("utf-8").replace("</body>", PROBE))
    # A window is at least 500 wide; a frame may be narrower.
    style = f"width: {width}px; height: 2000px; border: 0"
    copy.write_text(f'<body><iframe style="{style}" srcdoc="{content}"></iframe></body>', "utf-8")
    found = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={folder / 'profile'}", "--window-size=1600,2000"),
            *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000", "--dump-dom"),
            copy.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "HOME": str(folder)},
    )
    told = re.search(r'<pre id="told">(.*?)</pre>', found.stdout, re.DOTALL)
    assert told is not None, found.stderr
    console = [line for line in found.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(unescape(told[1])), "\n".join(console)


@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_works_in_a_browser(
    summary: Summary, study: dict[str, object], tmp_path: Path, width: int
) -> None:
    layout = Layout.at(tmp_path / "results" / "default-0123456789ab")
    write_report(summary, study, layout)
    said, console = browse(layout.report, width, tmp_path)
    assert console == ""
    assert said["width"] == width
    assert said["scroll"] <= width  # tables scroll within themselves, the page does not
    assert len(said["figures"]) == len(list(layout.figures.glob("*.svg")))
    assert all(w > 250 and h > 100 for w, h in said["figures"])
    assert all(said["labels"])
    assert min(said["shapes"]) > 10
    assert said["letters"] >= 8
    check_sorting(said["sorted"])


def check_sorting(columns: list[tuple[str, list[str | None], list[str | None]]]) -> None:
    several = 0
    for name, up, down in columns:
        assert name == "ascending"
        numbers = [float(key) for key in up if key is not None]
        assert numbers == sorted(numbers)
        # What has no number stays at the end, whichever way the rest is sorted.
        assert [key is None for key in up] == sorted(key is None for key in up)
        assert [float(key) for key in down if key is not None] == numbers[::-1]
        several += len(set(numbers)) > 1
    assert several > 20


def test_a_console_error_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    policy = "default-src 'none'; script-src 'unsafe-inline'"
    page.write_text(
        f'<html><head><meta http-equiv="Content-Security-Policy" content="{policy}"></head>'
        "<body><img src='x.png'></body></html>"
    )
    assert "Content Security Policy" in browse(page, 500, tmp_path)[1]
