"""The log as a live page on this machine: a small server, and one page that needs nothing from the network.

The server listens on 127.0.0.1 only. It refuses a request whose ``Host`` is another (as after DNS rebinding) or whose
``Origin`` or ``Sec-Fetch-Site`` says that another site's page sent it; a note needs, besides, a word that only the page
was given. It keeps nothing of its own: all it writes is notes, through `vitrify.log.note`.
"""

__all__ = ["app", "run"]

import json
import math
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import resources
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from vitrify import log, log_index

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
     b"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]  # fmt: skip
_LONGEST_NOTE = 20_000
_CURVE = ("step", "epoch", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy", "learning_rate")


def run(root: Path, *, port: int, browser: bool, ready: Callable[[str], None]) -> None:
    """Serve the log below a folder until the process is asked to end.

    Args:
        root: Folder below which the logs of all studies are read.
        port: Port on 127.0.0.1; 0 takes a free one.
        browser: Whether the page is opened in a browser.
        ready: Told the page's address.

    Raises:
        FileNotFoundError: There is no such folder.
        OSError: The port is taken.
    """
    log_index.gather(root)
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        why = f"port {port} of 127.0.0.1 cannot be had ({os.strerror(error.errno or 0)}): --port 0 takes a free one"
        raise OSError(why) from error
    with listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        ready(url)
        if browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        config = uvicorn.Config(app(root), log_level="warning", lifespan="off", server_header=False)
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:
            return


def app(root: Path) -> Starlette:
    """Return the page and what it asks for, as an ASGI application."""
    token = secrets.token_urlsafe(16)
    gathered = _Gathering(root)

    def page(_request: Request) -> Response:
        return HTMLResponse(_asset("page.html").replace("{{ token }}", token))

    def runs(request: Request) -> Response:
        return _answer(request, gathered.listing())

    def one(request: Request) -> Response:
        record = log_index.find(gathered(), request.path_params["key"])
        found = {"record": record, "values": log_index.flat(record), "history": _curve(root, record)}
        return _answer(request, _text(found))

    def figure(request: Request) -> Response:
        record = log_index.find(gathered(), request.path_params["key"])
        out, names = (root / record["where"]).resolve(), record.get("figures") or []
        number = request.path_params["number"]
        path = (out / names[number]).resolve() if number < len(names) else out
        if path.suffix != ".png" or not path.is_relative_to(out) or not path.is_file():
            return _refusal(404, "there is no such figure")
        return Response(path.read_bytes(), media_type="image/png")

    async def note(request: Request) -> Response:
        if not secrets.compare_digest(request.headers.get("x-vitrify-token", ""), token):
            return _refusal(403, "reload the page: it was made by another server")
        given = json.loads(await request.body())
        if not isinstance(given, dict) or not isinstance(given.get("text"), str) or len(given["text"]) > _LONGEST_NOTE:
            raise ValueError(f"a note is text of {_LONGEST_NOTE} characters at most")
        record = log_index.find(gathered(), request.path_params["key"])
        log.note(root / record["where"], record["id"], given["text"], replaces=given.get("replaces"))
        return _answer(request, _text({"notes": log_index.find(gathered(), record["key"])["notes"]}))

    def asset(request: Request) -> Response:
        name = request.url.path.lstrip("/")
        return Response(_asset(name), media_type="text/css" if name.endswith(".css") else "text/javascript")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/page.css", asset),
            Route("/page.js", asset),
            Route("/api/runs", runs),
            Route("/api/runs/{key:path}", one),
            Route("/api/notes/{key:path}", note, methods=["POST"]),
            Route("/figure/{number:int}/{key:path}", figure),
        ],
        middleware=[Middleware(_Guard)],
        exception_handlers={ValueError: _wrong, OSError: _wrong},
    )


class _Gathering:
    """The records below a folder, read again when a file has changed or a process has gone; requests share it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._files: dict[str, tuple[int, int]] | None = None
        self._records: list[log_index.Record] = []
        self._listing: bytes | None = None

    def __call__(self) -> list[log_index.Record]:
        with self._lock:
            self._refresh()
            return self._records

    def listing(self) -> bytes:
        """Return the table's content as JSON."""
        with self._lock:
            self._refresh()
            if self._listing is None:
                self._listing = _text(_listed(self._records))
            return self._listing

    def _refresh(self) -> None:
        files = log_index.files(self._root)
        if files != self._files or any(log.state(one) != one["status"] for one in self._records):
            self._records, self._listing = log_index.gather(self._root), None
            self._files = files


class _Guard:
    """Refuses what another site's page may have sent, and gives every answer the headers of a page that trusts none."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        if _foreign(headers):
            refusal = _refusal(403, "this log is for pages of this machine, at 127.0.0.1")
            await refusal(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)


def _foreign(headers: dict[bytes, str]) -> bool:
    """Return whether a request was not addressed to this machine by name, or was sent by another site's page."""
    host, origin = headers.get(b"host", ""), headers.get(b"origin")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    here = name in _HOSTS and (origin is None or origin == f"http://{host}")
    return not here or headers.get(b"sec-fetch-site", "none") not in ("none", "same-origin")


def _listed(records: list[log_index.Record]) -> dict[str, Any]:
    """Return what the table shows of every record; a value that all of them share is given once."""
    every = [{k: v for k, v in log_index.flat(one).items() if v is not None} for one in records]
    first = every[0] if every else {}
    shared = {k: v for k, v in first.items() if len(every) > 1 and all(k in one and one[k] == v for one in every)}
    rows = [
        {
            "values": {name: value for name, value in values.items() if name not in shared},
            "title": log_index.title(record),
            "scores": {
                name: log_index.score(record, *name.split("_"))
                for name in ("best_validation_accuracy", "best_test_accuracy", "best_test_auc", "energy_test_auc",
                             "energy_test_accuracy")
            },
            "transfer": [
                {"T": one["T"], "accuracy": one["test"]["accuracy"]} for one in record.get("transfer") or []
            ],
            "notes": record["notes"],
        }
        for record, values in zip(records, every, strict=True)
    ]  # fmt: skip
    return {"shared": shared, "rows": rows}


def _curve(root: Path, record: log_index.Record) -> dict[str, list[float]]:
    history = log_index.history(root, record)
    return {name: history[name] for name in _CURVE if name in history}


def _text(value: Any) -> bytes:
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False).encode(errors="replace")


def _answer(request: Request, text: bytes) -> Response:
    """Return JSON, or that it is still what the page has."""
    tag = f'"{hash(text):x}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    return Response(text, media_type="application/json", headers={"etag": tag})


def _finite(value: Any) -> Any:
    """Return a value with null for the numbers that JSON has no word for."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _wrong(_request: Request, error: Exception) -> Response:
    return _refusal(500 if isinstance(error, OSError) else 400, str(error))


def _refusal(code: int, why: str) -> Response:
    return Response(json.dumps({"error": why}), status_code=code, media_type="application/json")


def _asset(name: str) -> str:
    return resources.files("vitrify.serve").joinpath(name).read_text("utf-8")
