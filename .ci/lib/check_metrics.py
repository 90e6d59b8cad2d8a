"""Checks the page of metrics, and the queries that are made of it.

Usage: check_metrics.py PROXY DASHBOARD_JSON ALERTS_YAML ALERTS_TEST_YAML

PROXY is the built program. It is started without a Redis, and its page is read in both formats; and once more with operations that it
measures.
"""

import importlib.resources
import json
import os
import re
import subprocess
import sys
import urllib.request

import promql_parser
import yaml
from measured_proxy import measured_proxy
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

# What every scrape adds, and the metric that Prometheus makes of it.
SCRAPED_LABELS = {"instance", "job"}
SCRAPED_METRICS = {"up": {}}

# Labels whose values are another process's own.
CHOSEN_LABELS = {"route", "version"}

FORMATS = ("text/plain", "application/openmetrics-text; version=1.0.0")

# What Grafana replaces in a query before it is one.
VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$route": ".*", "$instance": ".*"}

faults = []


def pages(proxy):
    """The page in Prometheus's format and in OpenMetrics, of a process that has just started."""
    # The metrics of certificates are there if certificates are in use; pip always brings some authorities.
    authorities = importlib.resources.files("pip._vendor.certifi") / "cacert.pem"
    arguments = [proxy, "--listen", "127.0.0.1:0", "--admin", "0"]
    arguments += ["--upstream", "rediss://127.0.0.1:1", "--upstream-ca", str(authorities)]
    environment = {"PATH": os.environ["PATH"], "OTEL_SERVICE_NAME": 'a "name"\\', "OTEL_TRACES_EXPORTER": "none"}
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            found = (re.search(r"admin port address=(\S+)", line) for line in process.stderr)
            address = next(match for match in found if match)[1]
            yield from both(address)
        finally:
            process.terminate()


def both(address):
    """The page in both formats."""
    for accept in FORMATS:
        request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.headers["Content-Type"].startswith(accept.split(";")[0]), answer.headers
            yield answer.read().decode()


def merge(known, more):
    for name, labels in more.items():
        merged = known.setdefault(name, {})
        for label, values in labels.items():
            merged.setdefault(label, set()).update(values)


def samples(families):
    """Each sample's name with its labels' names, and for each of those the values that it has."""
    known = {}
    for family in families:
        if not family.documentation or family.type not in ("counter", "gauge", "histogram"):
            faults.append(f"{family.name}: {family.type}, described as {family.documentation!r}")
        for sample in family.samples:
            labels = known.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return known


def selectors(node):
    """Every vector selector in a parsed query."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "param", "vector_selector", "vs"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, (str, int, float)):
            yield from selectors(child)
    for child in getattr(node, "args", None) or []:
        yield from selectors(child)


def check_query(where, query, known):
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    try:
        parsed = promql_parser.parse(query)
    except ValueError as error:
        faults.append(f"{where}: {error}: {query}")
        return set()
    names = set()
    for selector in selectors(parsed):
        names.add(selector.name)
        labels = known.get(selector.name)
        if labels is None:
            faults.append(f"{where}: there is no metric {selector.name}")
            continue
        for matcher in selector.matchers.matchers:
            wanted = matcher.value
            if matcher.name in SCRAPED_LABELS:
                continue
            if matcher.name not in labels:
                faults.append(f"{where}: {selector.name} has no label {matcher.name}")
            elif not any(re.fullmatch(choice, value) for choice in wanted.split("|") for value in labels[matcher.name]):
                faults.append(f"{where}: {selector.name} has no {matcher.name} that is {wanted}")
            else:
                for choice in (c for c in wanted.split("|") if re.fullmatch(r"\w+", c)):
                    if choice not in labels[matcher.name]:
                        faults.append(f"{where}: {selector.name} has no {matcher.name} that is {choice}")
    if not names:
        faults.append(f"{where}: no metric was found in {query}")
    # Labels of groups and legends must be those of some metric in the query.
    available = set().union(*(known.get(name, {}).keys() for name in names)) | SCRAPED_LABELS
    for group in re.findall(r"\b(?:by|on|group_left) ?\(([^)]*)\)", query):
        for label in filter(None, (label.strip() for label in group.split(","))):
            if label not in available:
                faults.append(f"{where}: nothing in the query has a label {label}")
    return names


def check_dashboard(path, known):
    with open(path, encoding="utf-8") as file:
        dashboard = json.load(file)
    shown, ids, places = set(), set(), set()
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    for panel in dashboard["panels"]:
        where = f"dashboard, {panel['title']}"
        place = panel["gridPos"]
        covered = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        if panel["id"] in ids or places & covered or place["x"] + place["w"] > 24:
            faults.append(f"{where}: its id or its place is another panel's")
        ids.add(panel["id"])
        places |= covered
        if panel["type"] == "row":
            continue
        if not panel["targets"]:
            faults.append(f"{where}: asks nothing")
        for target in panel["targets"]:
            names = check_query(where, target["expr"], known)
            shown |= names
            for variable in re.findall(r"\$(?!__)(\w+)", target["expr"]):
                if variable not in variables:
                    faults.append(f"{where}: there is no variable {variable}")
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
            if label not in known.get(name, {}) and label not in SCRAPED_LABELS or name not in known:
                faults.append(f"dashboard, variable {variable['name']}: {name} has no label {label}")
    return shown


def check_alerts(path, known):
    with open(path, encoding="utf-8") as file:
        groups = yaml.safe_load(file)["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    for rule in rules:
        where = f"alert {rule['alert']}"
        check_query(where, rule["expr"], known)
        if rule["labels"]["severity"] not in ("critical", "warning", "info"):
            faults.append(f"{where}: its severity is {rule['labels']['severity']}")
        for text in ("summary", "runbook"):
            if len(rule["annotations"][text]) < 20:
                faults.append(f"{where}: has no {text} to speak of")
    names = [rule["alert"] for rule in rules]
    if len(set(names)) != len(names):
        faults.append("two alerts have one name")
    return len(rules)


def check_alerts_test(path, alerts, known):
    """The test of the alerts leaves none out, and is made of series that there are."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(alerts, encoding="utf-8") as file:
        for name in re.findall(r"alert: (\w+)", file.read()):
            if f'"{name}"' not in text:
                faults.append(f"{path}: nothing makes {name} fire")
    for test in yaml.safe_load(text)["tests"]:
        for given in test["input_series"]:
            series = promql_parser.parse(given["series"])
            if series.name not in known:
                faults.append(f"{path}: there is no metric {series.name}")
                continue
            for label in series.matchers.matchers:
                values = known[series.name].get(label.name, set())
                if label.name not in SCRAPED_LABELS | CHOSEN_LABELS and label.value not in values:
                    faults.append(f"{path}: {series.name} has no {label.name} that is {label.value}")


def main():
    proxy, dashboard, alerts, alerts_test = sys.argv[1:]
    known, of_open = {}, {}
    with measured_proxy(proxy) as admin:
        for plain, open_page in (pages(proxy), both(admin)):
            merge(known, samples(prometheus(plain)))
            merge(of_open, samples(openmetrics(open_page)))
    if known.keys() != of_open.keys():
        faults.append("the two formats have different samples")
    queried = known | SCRAPED_METRICS
    shown = check_dashboard(dashboard, queried)
    base = lambda name: re.sub(r"_(bucket|sum|count)$", "", name)
    left_out = {base(name) for name in known} - {base(name) for name in shown}
    count = check_alerts(alerts, queried)
    check_alerts_test(alerts_test, alerts, queried)
    for name in sorted(left_out - {"process_virtual_memory_bytes"}):
        faults.append(f"dashboard: nothing shows {name}")
    for fault in dict.fromkeys(faults):
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"{len(known)} kinds of samples in both formats; the dashboard and {count} alerts ask for what is there")


main()
