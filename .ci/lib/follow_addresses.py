"""Follows every address in the container files to the container that must listen there.

Usage: follow_addresses.py PROXY POD_YAML COLLECTOR_YAML < (the resolved Compose file as JSON)

PROXY is the built program. It reads the settings of each sidecar itself: with --healthcheck it ends with 2 when they
are wrong, and with 0 or 1 when they are right, whether or not anything listens.
"""

import json
import os
import subprocess
import sys
from urllib.parse import urlsplit

import yaml

# Where the images that are not ours listen, by their own documentation.
FOREIGN_PORTS = {"redis": {6379}, "jaeger": {4317, 4318, 16686}}

faults = []


def routes(environment):
    """Pairs of listen address and upstream. The proxy itself complains about malformed ones."""
    for route in environment.get("REDISTRIBUTED_ROUTES", "").split():
        listen, comma, upstream = route.partition("=")[2].partition(",")
        if comma:
            yield listen, upstream


def http_ports(environment):
    """Pairs of the address for clients and the service's, as addresses with ports."""
    for port in environment.get("REDISTRIBUTED_HTTP", "").split():
        listen, comma, service = port.partition("=")[2 if "=" in port else 0].partition(",")
        if comma:
            yield listen, service


def listeners(environment):
    """The addresses a container binds, as its environment says them."""
    if "LISTEN" in environment:
        yield environment["LISTEN"]
    if environment.get("REDISTRIBUTED_LISTEN"):
        yield environment["REDISTRIBUTED_LISTEN"]
    for listen, _ in [*routes(environment), *http_ports(environment)]:
        yield listen


def targets(environment):
    """The addresses a container dials."""
    for name in ("REDIS_URL", "REDISTRIBUTED_UPSTREAM", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if environment.get(name):
            yield name, environment[name]
    for _, upstream in routes(environment):
        yield "REDISTRIBUTED_ROUTES", upstream
    for _, service in http_ports(environment):
        yield "REDISTRIBUTED_HTTP", f"http://{service}"


def check_context(build, dockerfile):
    """Every file of ours that a Dockerfile names is let into the build by .dockerignore."""
    with open(os.path.join(build["context"], ".dockerignore"), encoding="utf-8") as file:
        let_in = [line[1:].strip() for line in file if line.startswith("!")]
    commands = (line for line in dockerfile.splitlines() if not line.startswith("#"))
    for word in {word for line in commands for word in line.split() if "/" in word}:
        is_ours = not word.startswith("/") and os.path.exists(os.path.join(build["context"], word))
        if is_ours and not any(word == path or word.startswith(path + "/") for path in let_in):
            faults.append(f"{build['dockerfile']}: .dockerignore keeps {word} out of the build")


def check_settings(proxy, where, environment):
    ours = {k: v for k, v in environment.items() if k.startswith(("REDISTRIBUTED_", "OTEL_"))}
    known = subprocess.run([proxy, "--help"], capture_output=True, text=True, check=True).stdout
    for name in ours:
        if name.startswith("REDISTRIBUTED_") and f"[env: {name}]" not in known:
            faults.append(f"{where}: the proxy does not know {name}")
    run = subprocess.run([proxy, "--healthcheck"], env=ours, capture_output=True, text=True, check=False)
    if run.returncode not in (0, 1):
        faults.append(f"{where}: the proxy refuses its settings: {run.stderr.strip()}")


def check_compose(proxy, services):
    # A container that joins the namespace of another listens and is reached there.
    def namespace(name):
        mode = services[name].get("network_mode") or ""
        return mode.removeprefix("service:") if mode.startswith("service:") else name

    bound = {name: set(ports) for name, ports in FOREIGN_PORTS.items()}
    loopback = {}
    for name, service in services.items():
        for address in listeners(service.get("environment") or {}):
            host, port = address.rsplit(":", 1)
            where = loopback if host == "127.0.0.1" else bound
            where.setdefault(namespace(name), set()).add(int(port))

    for name, service in services.items():
        environment = service.get("environment") or {}
        for variable, url in targets(environment):
            target = urlsplit(url)
            if target.hostname == "127.0.0.1":
                there = loopback.get(namespace(name), set()) | bound.get(namespace(name), set())
            else:
                there = bound.get(target.hostname, set())
            if target.port not in there:
                faults.append(f"{name}: nothing listens where {variable}={url} leads")
        for port in service.get("ports") or []:
            if port["target"] not in bound.get(name, set()):
                faults.append(f"{name}: publishes {port['target']}, where nothing listens")
            if any(container != name and "REDISTRIBUTED_HTTP" in (services[name].get("environment") or {})
                   and str(port["target"]) == (other.get("environment") or {}).get("LISTEN", "").rpartition(":")[2]
                   for container, other in services.items()):
                faults.append(f"{name}: publishes {port['target']}, which goes around its sidecar")
        if any(key.startswith("REDISTRIBUTED_") for key in environment):
            check_settings(proxy, name, environment)
        build = service.get("build")
        if build:
            dockerfile = open(os.path.join(build["context"], build["dockerfile"]), encoding="utf-8").read()
            if "target" in build and f" AS {build['target']}\n" not in dockerfile:
                faults.append(f"{name}: {build['dockerfile']} has no target {build['target']}")
            check_context(build, dockerfile)
            for line in dockerfile.splitlines():
                if line.startswith("COPY ") and "--from=" not in line:
                    source = os.path.join(build["context"], line.split()[1])
                    if not os.path.exists(source):
                        faults.append(f"{build['dockerfile']}: {line}: no such file")


def check_pod(proxy, deployment):
    spec = deployment["spec"]["template"]["spec"]
    containers = spec["initContainers"] + spec["containers"]
    environments = {c["name"]: {e["name"]: e.get("value", "from-the-pod") for e in c["env"]} for c in containers}
    there = {address for environment in environments.values() for address in listeners(environment)}
    for name, environment in environments.items():
        url = environment.get("REDIS_URL")
        if url and urlsplit(url).netloc not in there:
            faults.append(f"pod, {name}: nothing listens where REDIS_URL={url} leads")
        if "REDISTRIBUTED_LISTEN" in environment:
            check_settings(proxy, f"pod, {name}", environment)


def check_collector(config, services):
    """Whether the Collector's pipelines name what is defined, all of it, and its exporters lead to a container."""
    used = {kind: set() for kind in ("receivers", "processors", "exporters")}
    for pipeline in config["service"]["pipelines"].values():
        for kind, names in used.items():
            names.update(pipeline[kind])
    used["extensions"] = set(config["service"]["extensions"])
    for kind, names in used.items():
        if names != set(config[kind]):
            faults.append(f"Collector: {kind} are {sorted(config[kind])}, and the service uses {sorted(names)}")
    for name, exporter in config["exporters"].items():
        host, port = exporter["endpoint"].rsplit(":", 1)
        if int(port) not in FOREIGN_PORTS.get(host, set()) or host not in services:
            faults.append(f"Collector: nothing listens where {name} leads, {exporter['endpoint']}")


def collector_ports(config):
    protocols = config["receivers"]["otlp"]["protocols"].values()
    return {int(protocol["endpoint"].rsplit(":", 1)[1]) for protocol in protocols}


def main():
    proxy, pod, collector = sys.argv[1:]
    services = json.load(sys.stdin)["services"]
    with open(collector, encoding="utf-8") as file:
        config = yaml.safe_load(file)
    check_collector(config, services)
    if "collector" in services:
        FOREIGN_PORTS["collector"] = collector_ports(config)
    check_compose(proxy, services)
    with open(pod, encoding="utf-8") as file:
        check_pod(proxy, yaml.safe_load(file))
    for fault in dict.fromkeys(faults):
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"{len(services)} services and the pod: every address leads to a listener, the proxy takes its settings")


main()
