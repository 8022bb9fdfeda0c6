"""A real browser for what people look at: headless Chromium, spoken to through two pipes, so without any driver."""

import base64
import json
import os
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 30.0


class Browser:
    """One page after the other; what its console says wrongly and what it asks for outside is kept."""

    def __init__(self, folder: Path, width: int = 900, height: int = 1200) -> None:
        program = next((found for name in NAMES if (found := shutil.which(name))), None)
        if program is None:
            pytest.skip("no Chromium here, which shows the pages: install the package chromium")
        heard, self._say = os.pipe()
        self._hear, said = os.pipe()
        command = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}",
        ]  # fmt: skip
        line = f"exec {shlex.join(command)} 3<&{heard} 4>&{said}"
        self._process = subprocess.Popen(
            ["bash", "-c", line], pass_fds=(heard, said), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(heard)
        os.close(said)
        self._rest = b""
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}  # by number, until who asked takes them
        self._session: str | None = None
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._frames: list[str] = []  # sessions of frames that live in a process of their own
        self._contexts: list[int] = []  # contexts of scripts: of the page, and of frames in its process
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self._call(f"{domain}.enable")
        self._call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._say)
        os.close(self._hear)

    def open(self, url: str) -> None:
        """Show a page and wait until it is loaded."""
        self._frames.clear()
        self._contexts.clear()
        self._call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression, promises awaited."""
        found = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, condition: str, patience_s: float = PATIENCE_S) -> None:
        """Wait for an expression to become true."""
        end = time.monotonic() + patience_s
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"never came true: {condition}"
            time.sleep(0.05)

    def choose(self, selector: str, path: Path) -> None:
        """Put a file into a page's file input, as a person does."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def resize(self, width: int, height: int) -> None:
        """Another size of window, such as a phone's."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def phone(self, width: int = 390, height: int = 844) -> None:
        """A screen that is touched."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=True)
        self._call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=1)

    def no_touch(self) -> None:
        """A mouse again."""
        self._call("Emulation.setTouchEmulationEnabled", enabled=False)
        self._call("Emulation.clearDeviceMetricsOverride")

    def media(self, kind: str = "", **features: str) -> None:
        """Another medium (print), or what a person prefers: prefers_color_scheme="dark"."""
        wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self._call("Emulation.setEmulatedMedia", media=kind, features=wanted)

    def before(self, script: str) -> None:
        """Run a script in each page before its own."""
        self._call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def place(self, selector: str) -> tuple[float, float, float, float]:
        """Where an element is seen: left, top, width, height; scrolled to first."""
        found = self.run(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            "found.scrollIntoView({block: 'center', behavior: 'instant'}); const box = found.getBoundingClientRect();"
            "return [box.left, box.top, box.width, box.height]; })()"
        )
        return found[0], found[1], found[2], found[3]

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element."""
        left, top, width, height = self.place(selector)
        self.drag([(left + width / 2, top + height / 2)])

    def drag(self, path: Sequence[tuple[float, float]], let_go: bool = True) -> None:
        """Press the mouse at the first place, move it along the others, let go at the last; one place is a click."""
        for at, (x, y) in enumerate(path):
            self.move(x, y, pressed=at > 0)
            if at == 0:
                self._mouse("mousePressed", x, y, 1)
        if let_go:
            self._mouse("mouseReleased", *path[-1], 0)

    def move(self, x: float, y: float, pressed: bool = False) -> None:
        """Move the mouse to a place."""
        self._mouse("mouseMoved", x, y, int(pressed))

    def _mouse(self, kind: str, x: float, y: float, buttons: int) -> None:
        button = "none" if kind == "mouseMoved" and not buttons else "left"
        count = 0 if kind == "mouseMoved" else 1
        self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=buttons, clickCount=count)

    def touch(self, path: Sequence[tuple[float, float]]) -> None:
        """Put a finger down at the first place, move it along the others, and lift it."""
        for at, (x, y) in enumerate(path):
            kind = "touchMove" if at else "touchStart"
            self._call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self._call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def key(self, name: str, code: int) -> None:
        """Press and let go of a key that types no letter: Tab 9, Enter 13, Escape 27, ArrowDown 40."""
        text = {"text": "\r"} if name == "Enter" else {}
        common = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        self._call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self, path: Path, whole: bool = True) -> Path:
        """The page as it is shown now, whole or as far as the window shows it."""
        found = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def paper(self, path: Path) -> bytes:
        """The page as it is printed: a PDF."""
        found = self._call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path.read_bytes()

    def busy_s(self) -> float:
        """Seconds of processor that the page has taken so far; waiting for others is not in it."""
        self._call("Performance.enable", timeDomain="threadTicks")
        found = {one["name"]: one["value"] for one in self._call("Performance.getMetrics")["metrics"]}
        return float(found["TaskDuration"])

    def framed(self) -> bool:
        """Whether the page shows a frame by now."""
        self.run("0")  # hears what there is to hear
        return bool(self._frames) or len(self._contexts) > 1

    def within(self, script: str) -> Any:
        """The value of an expression in the page's only frame, whatever process that lives in."""
        wanted = {"expression": script, "awaitPromise": True, "returnByValue": True}
        if self._frames:
            found = self._call("Runtime.evaluate", self._frames[-1], **wanted)
        else:
            found = self._call("Runtime.evaluate", contextId=self._contexts[-1], **wanted)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def _call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if (session or self._session) is not None:
            message["sessionId"] = session or self._session
        os.write(self._say, json.dumps(message).encode() + b"\0")
        number = self._number  # an event may ask something of its own meanwhile
        while number not in self._answers:
            found = self._next()
            if "id" in found:
                self._answers[found["id"]] = found
            else:
                self._note(found)
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer["error"])
        return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._hear], [], [], 2 * PATIENCE_S)[0], "the browser says nothing any more"
            part = os.read(self._hear, 1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Target.attachedToTarget" if params["targetInfo"]["type"] == "iframe":
                self._frames.append(params["sessionId"])
                for domain in ("Runtime", "Log", "Network"):
                    self._call(f"{domain}.enable", params["sessionId"])
            case "Runtime.executionContextCreated":
                self._contexts.append(params["context"]["id"])
            case "Runtime.exceptionThrown":
                self.errors.append(str(params["exceptionDetails"].get("exception", {}).get("description", params)))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning"):
                self.errors.append(" ".join(str(one.get("value", one)) for one in params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
