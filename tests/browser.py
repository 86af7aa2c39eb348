"""A Chromium for the tests: found on this machine, driven by Playwright; and the pictures for the docs.

`python -m tests.browser docs/images` takes them anew: the playground's, and the command's on a terminal.
"""

from __future__ import annotations

import io
import os
import pty
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PICTURES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "scores": {"viewport": {"width": 1280, "height": 900}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True},
}


QUERY = (
    "Who took over the supervision of the Brooklyn Bridge when Washington Roebling fell ill, and what did she study?"
)
COMMAND = ("laconic", "compress", "docs/examples/bridges.txt", "--query", QUERY, "--rate", "0.25")


def chromium() -> str | None:
    """Where a Chromium is: on the path, or beside the interpreter (see .ci/browser)."""
    beside = Path(sys.executable).parent / "chromium"
    return next(filter(None, map(shutil.which, NAMES)), None) or (str(beside) if beside.exists() else None)


@contextmanager
def browsing() -> Iterator[Any]:
    """A headless browser while it is needed. It speaks to nobody but the page's origin: see the tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # a container's user may be root, and its shared memory small
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=chromium(), args=arguments)
        yield browser
        browser.close()


def settled(page: Any) -> None:
    """Wait until the page shows an answer to its newest request."""
    page.wait_for_selector("#articles[aria-busy=false]", state="attached")


def shoot(browser: Any, address: str, name: str, target: Path) -> None:
    """One picture: what a reader sees first, or of the phone the result, where there is no room for both."""
    with browser.new_context(**PICTURES[name]) as context:
        page = context.new_page()
        page.goto(address)
        settled(page)
        page.locator("#value").dispatch_event("input")  # once more, from the cache
        settled(page)
        if name == "scores":
            page.get_by_label("Scores").check()
        if name == "phone":
            page.evaluate("document.querySelector('#result').scrollIntoView()")
        page.wait_for_selector("#version:not(:empty)", state="attached")
        page.screenshot(path=str(target / f"playground-{name}.png"))
    reduce(target / f"playground-{name}.png")


def reduce(path: Path) -> None:
    """Fewer colours: a third of the bytes, and nobody sees it."""
    from PIL import Image

    full = Image.open(path).convert("RGB")
    full.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


def terminal(target: Path) -> None:
    """What the command shows on a terminal, as a picture of it."""
    from rich.console import Console
    from rich.text import Text

    screen, shown = pty.openpty()
    program = Path(sys.executable).with_name(COMMAND[0])
    environment = {**os.environ, "TERM": "xterm-256color"}
    subprocess.run([program, *COMMAND[1:]], stdin=shown, stdout=shown, stderr=shown, env=environment, check=True)
    found = os.read(screen, 1 << 16).decode().replace("\r\n", "\n")
    console = Console(file=io.StringIO(), record=True, width=104, force_terminal=True)
    console.print(Text("$ " + shlex.join(COMMAND), style="green"), Text.from_ansi(found), sep="\n")
    console.save_svg(str(target / "compress.svg"), title="laconic compress")


def main(target: Path) -> None:
    from laconic.service.settings import Settings

    from .conftest import serving

    terminal(target)
    with serving(Settings()) as address, browsing() as browser:
        for name in PICTURES:
            shoot(browser, address, name, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
