"""A network that can be cut: a TCP proxy on loopback between Airflow and one hub."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

_BLOCK = 64 * 1024


class Proxy:
    """Carries bytes to ``port`` of this machine and back, until it is cut.

    Use it as a context manager. While it is cut, what was open is closed and what is new is refused.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Proxy:
        self.mend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    def mend(self) -> None:
        """Listen, on the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        listener, self._listener = self._listener, None
        if listener:
            # Closing alone would not wake the thread that waits in accept.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            _close(end)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._join(client)
                if self._listener is not listener:
                    # It came in while the network was being cut.
                    _close(client)

    def _join(self, client: socket.socket) -> None:
        try:
            hub = socket.create_connection(self._target, 5)
        except OSError:
            # The hub is away for a moment; the client learns it much as it would without a proxy.
            _close(client)
            return
        hub.settimeout(None)
        with self._lock:
            self._open |= {client, hub}
        for source, sink in ((client, hub), (hub, client)):
            threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BLOCK):
                sink.sendall(data)
        with self._lock:
            self._open -= {source, sink}
        for end in (source, sink):
            _close(end)


def _close(end: socket.socket) -> None:
    # Closing alone would not wake the thread that waits for its bytes.
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
