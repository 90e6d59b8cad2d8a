"""Lets a real Prometheus scrape the page, and asks it for the exemplars.

Usage: scrape_metrics.py PROXY PROMETHEUS
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from measured_proxy import measured_proxy
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

HISTOGRAMS = [
    "messaging_client_operation_duration_seconds",
    "messaging_process_duration_seconds",
    "db_client_operation_duration_seconds",
    "http_server_request_duration_seconds",
]
PATIENCE = 60  # seconds


def read(url, accept="*/*"):
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=20) as answer:
        return answer.read().decode()


def on_the_page(admin):
    """The trace ids of the exemplars of each histogram."""
    ids = {name: set() for name in HISTOGRAMS}
    for family in openmetrics(read(f"http://{admin}/metrics", "application/openmetrics-text; version=1.0.0")):
        for sample in family.samples:
            if sample.exemplar:
                ids[family.name].add(sample.exemplar.labels["trace_id"])
    return ids


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def in_prometheus(address, name):
    """The trace ids that Prometheus has for a histogram."""
    now = time.time()
    query = urllib.parse.urlencode({"query": f"{name}_bucket", "start": now - 3600, "end": now + 60})
    try:
        answer = json.loads(read(f"http://{address}/api/v1/query_exemplars?{query}"))
    except (urllib.error.URLError, ConnectionError):
        # It still starts.
        return set()
    return {exemplar["labels"]["trace_id"] for series in answer["data"] for exemplar in series["exemplars"]}


def main():
    proxy, prometheus = sys.argv[1:]
    with measured_proxy(proxy) as admin, tempfile.TemporaryDirectory() as folder:
        expected = on_the_page(admin)
        missing = [name for name, ids in expected.items() if not ids]
        if missing:
            sys.exit(f"the page has no exemplars of {missing}")
        with open(f"{folder}/prometheus.yml", "w", encoding="utf-8") as file:
            json.dump({"scrape_configs": [
                {"job_name": "redistributed", "scrape_interval": "1s", "static_configs": [{"targets": [admin]}]},
            ]}, file)
        address = f"127.0.0.1:{free_port()}"
        arguments = [prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        arguments += [f"--web.listen-address={address}", "--enable-feature=exemplar-storage"]
        with open(f"{folder}/log", "w+", encoding="utf-8") as log, subprocess.Popen(arguments, stderr=log, stdout=log) as process:
            try:
                deadline = time.monotonic() + PATIENCE
                found = {}
                while found != expected:
                    if process.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        sys.exit(f"Prometheus has {found}, the page has {expected}; it says:\n{log.read()}")
                    time.sleep(0.2)
                    found = {name: in_prometheus(address, name) for name in expected}
            finally:
                process.terminate()
    count = sum(map(len, expected.values()))
    print(f"a Prometheus scraped the page and has its {count} exemplars")


main()
