"""The demo: a real WAV in a real browser, and a server that answers its own page alone."""

import base64
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from plastsearch import load_model
from plastsearch.audio import write_audio
from plastsearch.demo.hearing import heard
from plastsearch.demo.server import ASKS, DemoServer
from plastsearch.errors import PlastsearchError
from tests.browser import Browser


@pytest.fixture(scope="module")
def server(found_root) -> Iterator[DemoServer]:
    with DemoServer(load_model(f"{found_root}/resnet18:1"), 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "a clip & more.wav"
    write_audio(path, 0.1 * np.random.default_rng(0).standard_normal(30_000), 16_000)
    return path


def ask(server: DemoServer, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict]:
    connection = http.client.HTTPConnection(*server.server_address, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    found = answer.read()
    connection.close()
    return answer.status, json.loads(found) if answer.headers["Content-Type"] == "application/json" else {}


def test_the_spectrum_brings_a_weight_for_each_of_its_pixels(server, wav):
    found = heard(server.model, wav.read_bytes(), wav.name, 0.5)
    weights = np.frombuffer(base64.b64decode(found["relevance"]), np.uint8)
    assert len(weights) == found["spectrum"]["rows"] * found["spectrum"]["columns"]
    assert weights.max() == 255
    assert len(set(weights.tolist())) > 20


def test_a_wav_dropped_in_a_browser_shows_the_score_that_the_model_gives(server, wav, tmp_path):
    expected = server.model.score(wav)
    with Browser(tmp_path) as browser:
        browser.open(server.url)
        browser.until("document.getElementById('about').textContent.includes('resnet18')")
        browser.choose("#file", wav)
        browser.until("document.getElementById('score').textContent")
        shown = browser.run("document.getElementById('score').textContent")
        assert shown.startswith(f"{expected.score:.3f} (plain score")
        verdict = browser.run("document.getElementById('verdict').textContent")
        assert verdict == ("Taken for real speech" if expected.bona_fide else "Taken for a spoof")
        painted = browser.run(
            "(() => { const c = document.getElementById('spectrum'); const d = c.getContext('2d')"
            ".getImageData(60, 20, c.width - 80, c.height - 60).data; return new Set(d).size })()"
        )
        assert painted > 50  # shades of a spectrum, not one blank field
        below = browser.run("document.getElementById('about-spectrum').textContent")
        assert "dark where the model did not listen" in below
        assert browser.picture(tmp_path / "page.png").stat().st_size > 10_000
        (tmp_path / "broken.wav").write_text("no audio")
        browser.choose("#file", tmp_path / "broken.wav")
        browser.until("document.getElementById('said').className === 'bad'")
        assert "this clip: not audio" in browser.run("document.getElementById('said').textContent")
        assert [url for url in browser.requests if not url.startswith((server.url, "blob:", "data:"))] == []
        # of the clip that is none the status says so, too, and nothing else went wrong
        assert [error for error in browser.errors if "422" not in error] == []


def test_what_is_said_of_a_clip_is_what_the_model_says(server, wav):
    found = heard(server.model, wav.read_bytes(), "x.wav", 0.5)
    assert found["score"] == server.model.score(wav).score
    assert found["seconds"] == 30_000 / 16_000
    windows = found["windows"]
    assert isinstance(windows, list)
    assert windows[0]["start_s"] == 0
    assert windows[-1]["end_s"] == pytest.approx(found["seconds"])


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {"Host": "evil.example"}, 403),
        ("POST", "/score", {"Host": "evil.example", ASKS: "1"}, 403),
        ("POST", "/score", {}, 403),
        ("GET", "/../../etc/passwd", {}, 404),
        ("POST", "/score?prior=7", {ASKS: "1"}, 422),
        ("POST", "/score?prior=x", {ASKS: "1"}, 422),
        ("POST", "/score", {ASKS: "1", "Content-Length": "999999999999"}, 413),
        ("POST", "/score", {ASKS: "1", "Content-Length": "-1"}, 413),
    ],
)
def test_whoever_is_not_the_page_is_refused(server, wav, method, path, headers, status):
    body = wav.read_bytes() if method == "POST" and "Content-Length" not in headers else b""
    assert ask(server, method, path, body, **headers)[0] == status


def test_a_port_that_is_taken_is_told(server, found_root):
    with pytest.raises(PlastsearchError, match="cannot be used"):
        DemoServer(server.model, server.server_address[1])
