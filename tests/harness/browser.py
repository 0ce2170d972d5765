"""Debian's Chromium on the page, with a microphone that plays a file; and what to say about what it heard."""

import array
import math
import wave
from pathlib import Path

from playwright.sync_api import Page, Playwright, expect

from harness.judges import power

AXE = Path(__file__).parents[1] / "clients/node_modules/axe-core/axe.min.js"
SHOTS = Path(__file__).parents[2] / "target/screenshots"
TONES = tuple(400 + 150 * number for number in range(20))
"""Hertz; one after the other, each for STEP seconds, over and over: what is missing breaks the order or a length."""
STEP = 0.4
LISTEN = """
window.heard = [];
window.AudioWorkletNode = class extends AudioWorkletNode {
    constructor(...rest) {
        super(...rest);
        this.port.addEventListener("message", ({data}) => heard.push(data.slice()));
    }
};
"""
"""Keeps what the audio thread hands to the page, so that its loss is told from a browser's that was late."""
WIDE, PHONE = {"width": 1_280, "height": 800}, {"width": 360, "height": 740}


# Browsers share two cores with everything else.
expect.set_options(timeout=15_000)


class Chromium:
    """The browser, with this file for a microphone (None: no microphone may be used)."""

    def __init__(self, driver: Playwright, microphone: Path | None):
        hear = [
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        ]
        self.browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", *(hear if microphone else [])],
        )

    def open(self, server, place: str = "/", **options) -> Page:
        """A page of its own, with nothing remembered. Scripts that fail and requests to other hosts fail the test."""
        options = {"viewport": WIDE, "reduced_motion": "reduce"} | options
        context = self.browser.new_context(**options)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda said: page.problems.append(said.text) if "Content Security" in said.text else None)
        own = (server.url("/"), server.url("/", "ws"), "data:", "blob:")
        page.on("request", lambda asked: None if asked.url.startswith(own) else page.problems.append(asked.url))
        page.add_init_script(LISTEN)
        page.goto(server.url(place))
        return page

    def close(self) -> None:
        self.browser.close()


def heard_by(page: Page) -> bytes:
    """Every sample that the page got from its audio thread, as s16le."""
    return array.array("h", page.evaluate("heard.flatMap((frame) => [...frame])")).tobytes()


def violations(page: Page) -> list[str]:
    """What axe finds serious or critical."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {each['help']}: {each['nodes'][0]['html']} {each['nodes'][0]['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def tone_file(path: Path, rate: int = 48_000) -> Path:
    """One round of TONES, of which each begins and ends at zero."""
    samples = array.array("h")
    for hertz in TONES:
        turns = round(hertz * STEP) / STEP
        samples.extend(round(16_000 * math.sin(2 * math.pi * turns * i / rate)) for i in range(round(STEP * rate)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def heard_tones(pcm: bytes, rate: int = 16_000, window: float = 0.02) -> list[tuple[int | None, float]]:
    """The tones in it, one after the other, with their lengths in seconds: a tone's number, or None."""
    size = 2 * round(window * rate)
    runs: list[list] = []
    for at in range(0, len(pcm) - size + 1, size):
        number = _tone(pcm[at : at + size], rate)
        if runs and runs[-1][0] == number:
            runs[-1][1] += window
        else:
            runs.append([number, window])
    return [(number, round(seconds, 3)) for number, seconds in runs]


def _tone(pcm: bytes, rate: int) -> int | None:
    powers = [power(pcm, hertz, rate) for hertz in TONES]
    loudest = max(powers)
    return powers.index(loudest) if loudest > 0.02 else None


def broken_order(runs: list[tuple[int | None, float]]) -> list[str]:
    """Where a tone does not begin when it should after those before it; and much silence, of which a late browser plays some."""
    problems, now, known = [], 0.0, None
    for (before, length), (number, _) in zip(runs, runs[1:], strict=False):
        now += length
        if before is None or number is None:
            continue
        if known:
            due = known[1] + (number - known[0]) % len(TONES) * STEP
            # Two windows may lie across the tones' ends.
            if abs(now - due) > 0.045:
                problems.append(f"tone {number} begins at {now:.2f} s, not {due:.2f} s")
        known = number, now
    silence = sum(length for number, length in runs if number is None)
    if silence > 1 or not known:
        problems.append(f"{silence:.2f} s of silence")
    return problems
