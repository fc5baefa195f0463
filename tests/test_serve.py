import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from tests.logged import estimate, training

from vitrify import log, log_index, serve

HERE = {"host": "127.0.0.1:8765"}
_EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def _call(
    app: Starlette, path: str, *, headers: dict[str, str] | None = None, body: Any = None
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and content of one request, without a network."""
    sent: list[dict[str, Any]] = []
    content = b"" if body is None else json.dumps(body).encode()
    coming = iter([{"type": "http.request", "body": content, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(coming, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "",
        "method": "GET" if body is None else "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in (HERE | (headers or {})).items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8765), "extensions": {},
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture
def logged(tmp_path: Path) -> tuple[Path, str]:
    training(tmp_path / "one", "other", model="mpnn")
    return tmp_path, training(tmp_path / "one", _EVIL)


def _token(app: Starlette) -> str:
    found = re.search(rb'name="vitrify-token" content="([^"]+)"', _call(app, "/")[2])
    assert found is not None
    return found[1].decode()


def test_the_page_trusts_nothing_but_itself(logged: tuple[Path, str]) -> None:
    app = serve.app(logged[0])
    code, headers, page = _call(app, "/")
    assert code == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert not re.search(rb"https?://|<script>|<style| on\w+=", page)
    for name in ("/page.css", "/page.js"):
        code, _, content = _call(app, name)
        assert code == 200
        assert b"innerHTML" not in content
        assert b"http://" not in content.replace(b"http://www.w3.org/2000/svg", b"")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 200),
        ({"host": "localhost:9"}, 200),
        ({"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "evil.example:8765"}, 403),
        ({"host": "127.0.0.1.evil.example:8765"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_another_host_or_origin_is_refused(logged: tuple[Path, str], headers: dict[str, str], code: int) -> None:
    app = serve.app(logged[0])
    for path in ("/", "/api/runs"):
        assert _call(app, path, headers=headers)[0] == code


def test_runs_are_listed_with_what_they_share_given_once(logged: tuple[Path, str]) -> None:
    root, key = logged
    app = serve.app(root)
    code, headers, content = _call(app, "/api/runs")
    found = json.loads(content)
    assert code == 200
    assert found["shared"]["train_k"] == 140
    assert [row["values"]["model"] for row in found["rows"]] == ["mpnn", "cnn"]
    assert found["rows"][1]["title"] == _EVIL
    assert found["rows"][1]["scores"]["best_test_accuracy"] == estimate(0.7)
    assert _call(app, "/api/runs", headers={"if-none-match": headers["etag"]})[0] == 304
    log.note(root / "one", key, "new")
    assert _call(app, "/api/runs", headers={"if-none-match": headers["etag"]})[0] == 200
    one = json.loads(_call(app, f"/api/runs/{key}")[2])
    assert one["history"]["validation_accuracy"] == [0.6, 0.8]
    assert one["record"]["notes"][0]["text"] == "new"
    assert _call(app, "/api/runs/zz")[0] == 400


def test_a_note_needs_the_pages_word_and_is_kept_as_text(logged: tuple[Path, str]) -> None:
    root, key = logged
    app = serve.app(root)
    path, word = f"/api/notes/{key}", {"x-vitrify-token": _token(app)}
    assert _call(app, path, body={"text": "forged"})[0] == 403
    assert _call(app, path, body={"text": "forged"}, headers=word | {"origin": "http://evil.example"})[0] == 403
    assert _call(app, path, body={"text": _EVIL}, headers=word)[0] == 200
    assert _call(app, path, body={"text": "better", "replaces": 0}, headers=word)[0] == 200
    for wrong in ({"text": 3}, {"text": "x" * 30_000}, {"text": " "}, {"text": "x", "replaces": 5}, []):
        assert _call(app, path, body=wrong, headers=word)[0] == 400
    record = log_index.find(log_index.gather(root), key)
    assert [note["text"] for note in record["notes"]] == ["better"]


def test_figures_are_those_of_the_record_and_below_its_study(logged: tuple[Path, str]) -> None:
    root, key = logged
    (root / "secret.png").write_bytes(b"secret")
    (root / "one" / "a.png").write_bytes(b"\x89PNG")
    log.append(root / "one", key, {"figures": ["a.png", "../secret.png", "log/origin"]})
    app = serve.app(root)
    assert _call(app, f"/figure/0/{key}")[2] == b"\x89PNG"
    for number in (1, 2, 3):
        assert _call(app, f"/figure/{number}/{key}")[0] == 404


def test_the_curve_of_a_run_grows_while_it_trains(tmp_path: Path) -> None:
    app = serve.app(tmp_path)
    folder = tmp_path / "models" / "now"
    folder.mkdir(parents=True)
    with log.recorded(tmp_path, kind="train", name="now", known={"folder": "models/now"}):
        key = log.identify(tmp_path, "train", "now")
        assert json.loads(_call(app, f"/api/runs/{key}")[2])["history"] == {}
        for n in (1, 2):
            (folder / "history.json").write_text(json.dumps({"step": [10] * n, "validation_loss": [float("nan")] * n}))
            found = json.loads(_call(app, f"/api/runs/{key}")[2])
            assert found["record"]["status"] == "running"
            assert found["history"] == {"step": [10] * n, "validation_loss": [None] * n}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, subprocess.Popen]]:
    """A server of an empty log, in a process of its own."""
    words = ["serve", str(tmp_path), "--port", "0", "--no-browser", "--json"]
    command = [sys.executable, "-c", "from vitrify.cli import main; main()", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ)
    assert process.stdout is not None
    with process.stdout:
        yield json.loads(process.stdout.readline())["url"], tmp_path, process
    process.kill()
    process.wait()


def test_a_killed_server_loses_nothing(server: tuple[str, Path, subprocess.Popen]) -> None:
    url, root, process = server
    key = training(root, "one")
    with urllib.request.urlopen(url) as answer:
        token = re.search(r'vitrify-token" content="([^"]+)"', answer.read().decode())
    assert token is not None
    headers = {"X-Vitrify-Token": token[1], "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}api/notes/{key}", data=b'{"text": "kept"}', headers=headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    foreign = urllib.request.Request(url, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(foreign)
    assert refused.value.code == 403
    refused.value.close()
    process.send_signal(signal.SIGKILL)
    process.wait()
    (record,) = log_index.gather(root)
    assert record["notes"][0]["text"] == "kept"
    assert record["n_damaged"] == 0


def _chromium() -> str | None:
    return next((path for path in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(path).exists()), None)


@pytest.mark.slow
def test_in_a_browser(server: tuple[str, Path, subprocess.Popen]) -> None:
    """Load with 1,000 runs, filter, sort, compare, watch a curve grow, write a note: by keyboard, in Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if _chromium() is None:
        pytest.skip("Chromium is not installed")
    url, root, _ = server
    training(root, "first-0")
    training(root, _EVIL, auc=0.99)
    (text, *_) = [path.read_text() for path in (root / log.FOLDER).glob("*.jsonl") if "first-0" in path.read_text()]
    for number in range(998):
        made = text.replace('"first-0"', f'"run-{number}"').replace(
            '"learning_rate": 0.01', f'"learning_rate": {number}'
        )
        (root / log.FOLDER / f"{number:010x}.jsonl").write_text(made)
    log_index.gather(root)
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        took = []
        for _ in range(3):  # what else the machine does counts too
            began = time.perf_counter()
            page.goto(url)
            page.wait_for_selector("#runs tbody tr:nth-child(1000)", state="attached")
            took.append(time.perf_counter() - began)
        assert min(took) < 1, took
        page.keyboard.press("/")
        page.keyboard.type("learning_rate<20 run-1")
        page.keyboard.press("Enter")
        assert page.locator("#runs tbody tr").count() == 11
        page.get_by_role("button", name="AUC", exact=True).click()
        page.fill("#filter", "")
        assert page.locator("#runs tbody tr").first.inner_text().split("\t")[1].strip() == _EVIL
        assert page.locator("img").count() == 0
        page.keyboard.press("Enter")
        for key in ("Home", " ", "j", " ", "c"):
            page.keyboard.press(key)
        page.wait_for_selector("#beside[open] tr.differs")
        page.keyboard.press("Escape")
        page.keyboard.press("k")
        page.keyboard.press("n")
        page.wait_for_selector("#notes textarea")
        page.keyboard.type(_EVIL)
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(".note")
        assert page.locator(".note span").inner_text() == _EVIL
        assert page.locator("#detail script, .note img").count() == 0
        folder = root / "models" / "now"
        folder.mkdir(parents=True)
        history = {"step": [10], "validation_accuracy": [0.5]}
        with log.recorded(root, kind="train", name="now", known={"folder": "models/now"}):
            (folder / "history.json").write_text(json.dumps(history))
            page.keyboard.press("x")
            page.fill("#filter", "status=running")
            page.wait_for_selector("#runs tbody tr:only-child td.status-running")
            page.keyboard.press("Enter")
            page.keyboard.press(" ")
            page.wait_for_selector("#curves[data-points='1']")
            (folder / "history.json").write_text(json.dumps({name: one * 2 for name, one in history.items()}))
            page.wait_for_selector("#curves[data-points='2']", timeout=5000)
        assert said == []
        browser.close()
    record = next(one for one in log_index.gather(root) if one["name"] == _EVIL)
    assert [note["text"] for note in record["notes"]] == [_EVIL]
