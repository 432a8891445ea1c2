"""One HTTP/1.1 exchange over kept-alive connections. Knows nothing of routes, retries or problems."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from .clock import Clock
from .errors import FettleError, UnreachableError


@dataclass(frozen=True)
class HttpAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Interrupt:
    """Lets another thread end an exchange that waits for its answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.fired = False

    def fire(self) -> None:
        with self._lock:
            self.fired = True
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it has ended by itself

    def bind(self, sock: socket.socket | None) -> None:
        with self._lock:
            self._socket = sock
            if self.fired and sock is not None:
                raise UnreachableError("interrupted")


class _StaleConnection(UnreachableError):
    pass


class Transport:
    """May be used by many threads at once. Of ordinary requests at most `connections_max` are under way; long polls,
    which the server answers late on purpose, come on top, so that they delay nothing else."""

    def __init__(
        self, url: str, token: str | None, clock: Clock, *, connections_max: int, answer_bytes_max: int
    ) -> None:
        base = urlsplit(url)
        if base.scheme not in ("http", "https") or not base.hostname:
            raise FettleError("invalid_url", f"{url!r}: only http and https")
        self._secure = base.scheme == "https"
        self._host, self._port = base.hostname, base.port
        self._origin = f"{base.scheme}://{base.netloc}"
        self._prefix = base.path.rstrip("/")
        self._clock = clock
        self._answer_bytes_max = answer_bytes_max
        self._headers = {"accept": "application/json", "user-agent": "fettle-python"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._room = threading.BoundedSemaphore(connections_max)
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._closed = False

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str],
        timeout_ms: float,
        interrupt: Interrupt | None = None,
        long_poll: bool = False,
    ) -> HttpAnswer:
        """UnreachableError when there is no answer."""
        if long_poll:
            return self._send(method, path, body, headers, timeout_ms, interrupt)
        with self._room:
            return self._send(method, path, body, headers, timeout_ms, interrupt)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout_ms: float,
        interrupt: Interrupt | None,
    ) -> HttpAnswer:
        try:
            return self._exchange(self._take(), method, path, body, headers, timeout_ms, interrupt)
        except _StaleConnection:
            # The server closed a kept connection while the request was on its way into it: no sign of trouble, so
            # again at once, and once. A request may be repeated like any whose answer was lost (call.py).
            return self._exchange(self._open(), method, path, body, headers, timeout_ms, interrupt)

    def _take(self) -> http.client.HTTPConnection:
        with self._lock:
            return self._idle.pop() if self._idle else self._open()

    def _open(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(self._host, self._port)
        return http.client.HTTPConnection(self._host, self._port)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout_ms: float,
        interrupt: Interrupt | None,
    ) -> HttpAnswer:
        deadline_ms = self._clock.now_ms() + timeout_ms
        reused = connection.sock is not None
        all_headers = {**self._headers, **headers}
        if body is not None:
            all_headers["content-type"] = "application/json"
        try:
            connection.timeout = timeout_ms / 1000
            if not reused:
                connection.connect()  # without Nagle's delay, http.client sees to that
            sock: socket.socket = connection.sock  # connected
            sock.settimeout(timeout_ms / 1000)
            if interrupt is not None:
                interrupt.bind(sock)
            connection.request(method, self._prefix + path, body, all_headers)
            response = connection.getresponse()
            answer = self._read(response, sock, deadline_ms)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            broken = isinstance(error, (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected))
            stale = reused and broken and not (interrupt and interrupt.fired)
            what = f"{method} {self._origin}{self._prefix}{path}: {error or type(error).__name__}"
            raise (_StaleConnection if stale else UnreachableError)(what) from error
        except UnreachableError:
            connection.close()
            raise
        finally:
            if interrupt is not None:
                interrupt.bind(None)
        if response.will_close:
            connection.close()
        else:
            self._keep(connection)
        return answer

    def _read(self, response: http.client.HTTPResponse, sock: socket.socket, deadline_ms: float) -> HttpAnswer:
        parts: list[bytes] = []
        size = 0
        while part := response.read(1 << 20):
            parts.append(part)
            size += len(part)
            if size > self._answer_bytes_max:
                raise UnreachableError(f"the answer exceeds {self._answer_bytes_max} bytes")
            left_ms = deadline_ms - self._clock.now_ms()
            if left_ms <= 0:
                raise UnreachableError("the answer did not end in time")
            sock.settimeout(left_ms / 1000)
        if response.length:
            raise UnreachableError("the connection was cut within the answer")
        headers = {name.lower(): value for name, value in response.getheaders()}
        return HttpAnswer(response.status, headers, b"".join(parts))

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()
