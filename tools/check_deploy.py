#!/usr/bin/env python3
"""Holds what lies under deploy/ to what Heed does: every metric and label in the dashboard exists, manifests fit each
other, and the times of a shutdown fit into each other everywhere.

  check_deploy.py EXPOSE_METRICS
"""
import http.server
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import yaml
from prometheus_client.parser import text_string_to_metric_families

DEPLOY = pathlib.Path(__file__).resolve().parent.parent / "deploy"
SCRAPED = {"instance", "job"}  # labels that Prometheus adds
WORDS = {"sum", "max", "by", "on", "and", "rate", "increase", "time", "histogram_quantile", "label_values"}


def samples_of(tool):
    """{sample name: its labels}, and {sample name: type}."""
    text = subprocess.run([tool, "--serving"], check=True, capture_output=True).stdout.decode()
    labels, kinds = {}, {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels[sample.name] = set(sample.labels)
            kinds[sample.name] = family.type
    return labels, kinds


def check_expression(expression, labels, kinds):
    assert expression.count("(") == expression.count(")") and expression.count("{") == expression.count("}"), expression
    bare = re.sub(r'"[^"]*"', '""', expression)
    names = set(re.findall(r"\b(?:heed:\w+|process_\w+)", bare))
    assert names, f"no metric in {expression}"
    for name in names:
        assert name in labels, f"{name} is not exposed: {expression}"
    known = SCRAPED.union(*(labels[name] for name in names))
    selectors = re.findall(r"(\w+)=~?\"", bare)
    groups = [label.strip() for group in re.findall(r"\b(?:by|on) ?\(([^)]*)\)", bare) for label in group.split(",")]
    for label in [*selectors, *groups]:
        assert label in known, f"no label {label}: {expression}"
    for name in re.findall(r"\b(?:rate|increase)\(([\w:]+)", bare):
        assert kinds[name] in ("counter", "histogram"), f"rate of a {kinds[name]}: {expression}"
    for name in re.findall(r"([\w:]+_bucket)\{", bare):
        assert "(le)" in bare, f"buckets without le: {expression}"
    return names


def overlap(a, b):
    return a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


def check_dashboard(labels, kinds):
    dashboard = json.loads((DEPLOY / "grafana" / "heed.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels), "two panels of one id"
    for a, b in itertools.combinations(panels, 2):
        assert not overlap(a["gridPos"], b["gridPos"]), f"{a['title']} overlaps {b['title']}"
    used = set()
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]
        assert panel["type"] == "row" or panel["targets"], panel["title"]
        for target in panel.get("targets", []):
            used |= check_expression(target["expr"], labels, kinds)
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            check_expression(re.sub(r"label_values\((.*), (\w+)\)", r"sum by (\2) (\1)", variable["definition"]), labels,
                             kinds)
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) if kinds[name] == "histogram" else name
            for name in labels if name.startswith("heed:")}
    missing = {name for name in ours - {"heed:cache_config_info"} if not any(each.startswith(name) for each in used)}
    assert not missing, f"not on the dashboard: {missing}"
    return sum(len(panel.get("targets", [])) for panel in panels)


def seconds(variables, name):
    return int(next(entry["value"] for entry in variables if entry["name"] == name))


def check_kubernetes():
    documents = {file.name: yaml.safe_load(file.read_text()) for file in (DEPLOY / "kubernetes").glob("*.yaml")}
    for name in documents["kustomization.yaml"]["resources"]:
        assert name in documents, name
    deployment = documents["deployment.yaml"]["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    for selector in [deployment["selector"]["matchLabels"], documents["service.yaml"]["spec"]["selector"],
                     documents["pod-disruption-budget.yaml"]["spec"]["selector"]["matchLabels"]]:
        assert selector.items() <= labels, selector
    monitor = documents["service-monitor.yaml"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= documents["service.yaml"]["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == documents["service.yaml"]["spec"]["ports"][0]["name"]
    pod = deployment["template"]["spec"]
    container = pod["containers"][0]
    assert documents["service.yaml"]["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert seconds(container["env"], "HEED_PORT") == container["ports"][0]["containerPort"]
    drain = int(container["lifecycle"]["preStop"]["exec"]["command"][1]) + seconds(container["env"], "HEED_SHUTDOWN_TIMEOUT")
    assert drain < pod["terminationGracePeriodSeconds"], "the grace period ends before the drain"
    liveness = container["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= drain, "draining servers would be killed"
    assert pod["enableServiceLinks"] is False, "HEED_PORT would be the service's"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert str(seconds(container["env"], "HEED_THREADS")) == container["resources"]["limits"]["cpu"]
    return len(documents)


def check_systemd():
    unit = (DEPLOY / "systemd" / "heed.service").read_text()
    variables = dict(re.findall(r"(?m)^(HEED_\w+)=(.*)$", (DEPLOY / "systemd" / "heed.env").read_text()))
    stop = int(re.search(r"(?m)^TimeoutStopSec=(\d+)$", unit)[1])
    assert stop > int(variables["HEED_SHUTDOWN_TIMEOUT"]), "systemd kills before the drain is over"
    for name in re.findall(r"\$\{(\w+)\}", unit):
        assert name in variables, name
    if not shutil.which("systemd-analyze"):
        return "not verified: no systemd-analyze"
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "heed.service"
        file.write_text(unit.replace("/usr/local/bin/heed", shutil.which("true")))
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True)
        complaints = [line for line in verified.stderr.splitlines() if "heed.service" in line]
        assert not complaints, complaints
        security = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", file],
                                  capture_output=True, text=True).stdout
        exposure = re.search(r"Overall exposure level.*?: ([\d.]+)", security)
        assert exposure, security
        assert float(exposure[1]) < 2, exposure[0]
        return f"exposure {exposure[1]}"


def check_docker():
    """What can be seen without a daemon: the last stage is not root's, and its health check tells 200 from 503."""
    text = (DEPLOY / "Dockerfile").read_text()
    last = text[text.rindex("\nFROM "):]
    assert re.search(r"(?m)^USER [1-9]\d*:[1-9]\d*$", last) and "STOPSIGNAL SIGTERM" in last and "HEALTHCHECK" in last
    commands = re.search(r"HEALTHCHECK .*? CMD (\[.*?\])\n", last, re.S)[1].replace("\\\n", "")
    shell, _, script = json.loads(commands)
    for status in [200, 503]:
        healthy = subprocess.run([shell, "-c", script], env=os.environ | {"HEED_PORT": str(answering(status))}).returncode == 0
        assert healthy == (status == 200), (status, script)


def answering(status):
    """The port of a server that answers all requests with this status."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.path == "/health"
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def main():
    labels, kinds = samples_of(sys.argv[1])
    print(f"dashboard: {check_dashboard(labels, kinds)} expressions")
    print(f"kubernetes: {check_kubernetes()} documents")
    print(f"systemd: {check_systemd()}")
    check_docker()
    print("docker: health check works")


if __name__ == "__main__":
    main()
