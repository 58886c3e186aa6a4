"""A headless Chromium, spoken to over its DevTools protocol with the standard library alone."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import time
import urllib.request
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE_S = 90.0
TROUBLE = (
    "Log.entryAdded",
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
    "Page.javascriptDialogOpening",
    "Audits.issueAdded",
)


def find_chromium():
    """Return the path of a browser, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """Drive one page of one browser process."""

    def __init__(self, program, profile):
        self.events = []
        self._n_calls = 0
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._socket = self._connect(Path(profile) / "DevToolsActivePort")
            for domain in ("Page", "Log", "Runtime", "Network", "Audits"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def close(self):
        self._process.kill()
        self._process.wait()
        if hasattr(self, "_socket"):
            self._socket.close()

    def _connect(self, port_file):
        wait_for(lambda: port_file.is_file() and port_file.read_text().count("\n"))
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=PATIENCE_S) as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        path = pages[0]["webSocketDebuggerUrl"].split(port, 1)[1]
        connection = socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE_S)
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        return connection

    def call(self, method, **parameters):
        """Call a method of the protocol and return its result; events go to `events`."""
        self._n_calls += 1
        message = {"id": self._n_calls, "method": method, "params": parameters}
        data, mask = json.dumps(message).encode(), os.urandom(4)
        # 254 is: masked, and the size follows in two bytes; a short message may be sent so, too
        size = b"\xfe" + struct.pack(">H", len(data))
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self._socket.sendall(b"\x81" + size + mask + masked)
        while (answer := self._receive()).get("id") != self._n_calls:
            self.events.append(answer)
        return answer.get("result", {})  # nothing while a page is being left

    def _receive(self):
        data, is_last = b"", False
        while not is_last:
            first, second = self._exactly(2)
            size, is_last = second & 127, bool(first & 128)
            if size == 126:
                [size] = struct.unpack(">H", self._exactly(2))
            elif size == 127:
                [size] = struct.unpack(">Q", self._exactly(8))
            data += self._exactly(size)
        return json.loads(data)

    def _exactly(self, n):
        data = b""
        while len(data) < n:
            part = self._socket.recv(n - len(data))
            assert part, "the browser has gone"
            data += part
        return data

    def ask(self, expression):
        """Evaluate JavaScript in the page and return its value."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found.get("result", {}).get("value")

    def open(self, path, *, width=1200, scheme="light"):
        """Open a file and wait until its figures are drawn."""
        self.call("Page.navigate", url="about:blank")
        wait_for(lambda: self.ask("location.href") == "about:blank")
        self.events.clear()
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media="", features=[feature])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        wait_for(lambda: self.ask("document.documentElement.dataset.drawn"))

    def trouble(self):
        """Return what went wrong since the page was opened: errors, dialogs, policy violations."""
        return [e for e in self.events if e.get("method") in TROUBLE]

    def requests(self):
        """Return the addresses that were asked for since."""
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [e["params"]["request"]["url"] for e in sent]


def wait_for(condition):
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not.
    """
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the browser did not get there in time")
        time.sleep(0.05)
