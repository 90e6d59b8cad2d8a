"""A plugin of pytest that puts the proxy in front of every server that aiohttp's own tests start.

REDISTRIBUTED_BIN is the proxy. A server with TLS stays as it is, because the proxy speaks none to a service. At the end the plugin says
how many servers had a proxy in front.
"""

import os
import re
import subprocess

import aiohttp.test_utils
from yarl import URL

COUNTED = {"behind": 0, "direct": 0}
start_server = aiohttp.test_utils.BaseTestServer.start_server
close = aiohttp.test_utils.BaseTestServer.close


def proxy_to(host, port):
    """Starts a proxy, and returns it with its port."""
    words = [os.environ["REDISTRIBUTED_BIN"], "--http", f"{host}:0,{host}:{port}", "--mode", "observe"]
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
    for line in process.stderr:
        if found := re.search(r'for HTTP address="http://[^"]*:(\d+)"', line):
            return process, int(found[1])
    raise RuntimeError("the proxy did not start")


async def start_behind(self, *args, **kwargs):
    if self.runner:
        return
    await start_server(self, *args, **kwargs)
    if self._ssl:
        COUNTED["direct"] += 1
        return
    COUNTED["behind"] += 1
    host = f"[{self.host}]" if ":" in self.host else self.host
    self.proxy, self.port = proxy_to(host, self.port)
    self._root = URL(f"{self.scheme}://{host}:{self.port}")


async def close_behind(self):
    await close(self)
    proxy, self.proxy = getattr(self, "proxy", None), None
    if proxy:
        proxy.kill()
        proxy.wait()
        proxy.stderr.close()


def pytest_configure():
    if "REDISTRIBUTED_BIN" in os.environ:
        aiohttp.test_utils.BaseTestServer.start_server = start_behind
        aiohttp.test_utils.BaseTestServer.close = close_behind


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"servers: {COUNTED['behind']} behind the proxy, {COUNTED['direct']} not")
