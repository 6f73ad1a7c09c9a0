#!/usr/bin/env python3
"""Load and abuse: many streaming clients for minutes, arrivals at random, some hanging up midway, some sending nonsense.

  load.py [--seconds 120] [--clients 256] [--rate REQUESTS_PER_SECOND]

Afterwards the server must be idle with every page free and no more memory than after a warm-up of the same load, and no
request may have failed but by its client's own doing. Prints what `heed bench serve` reports. Exit status 0, or 1.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from server import HEED, Server, main_or_skip

LIMIT = 1.05  # of memory, at the end over after the warm-up
# Small, so that the warm-up touches all of it: pages never used before would look like a leak. 2 KiB a token of bard's.
CACHE_MIB = 128


def fill_cache(server):
    """Prompts of more tokens than the cache holds, none of them twice."""
    count = CACHE_MIB * 512 // 1900 * 5 // 4
    subprocess.run([HEED, "bench", "serve", "--base-url", server.url, "--num-prompts", str(count), "--random-input-len", "1900",
                    "--random-output-len", "1", "--max-concurrency", "8", "--seed", "77"], check=True, capture_output=True)


def bench(server, args, seconds, seed, folder):
    """Runs the load; its figures."""
    result = pathlib.Path(folder) / f"{seed}.json"
    subprocess.run([
        HEED, "bench", "serve", "--base-url", server.url, "--dataset-name", "random", "--random-input-len", "96",
        "--random-output-len", "64", "--random-range-ratio", "0.9", "--random-prefix-len", "32", "--random-vocab-size", "4096",
        "--max-concurrency", str(args.clients), "--request-rate", str(args.rate), "--duration", str(seconds),
        "--disconnect-fraction", "0.1", "--malformed-fraction", "0.05", "--temperature", "0.8", "--seed", str(seed),
        "--metric-percentiles", "50,99", "--percentile-metrics", "ttft,tpot,itl,e2el", "--save-result",
        "--result-filename", str(result)], check=True, stdout=None if seed else subprocess.DEVNULL)
    return json.loads(result.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--warm-up", type=float, default=30)
    parser.add_argument("--clients", type=int, default=256)
    parser.add_argument("--rate", type=float, default=100, help="arrivals per second; more than can be served keeps all clients busy")
    args = parser.parse_args()
    server = Server("--max-num-seqs", str(args.clients), "--kv-cache-memory", f"{CACHE_MIB}M", "--disable-access-log")
    wrong = []

    def expect(name, value, good):
        print(f"{name}: {value}{'' if good else '   <-- WRONG'}", flush=True)
        if not good:
            wrong.append(name)

    with tempfile.TemporaryDirectory() as folder:
        at_start = server.rss()
        fill_cache(server)
        bench(server, args, args.warm_up, 0, folder)
        server.wait_idle()
        warm = server.rss()
        figures = bench(server, args, args.seconds, 1, folder)
        server.wait_idle()
    expect("failed requests", figures["failed"], figures["failed"] == 0)
    expect("completed, disconnected, refused", (figures["completed"], figures["disconnected"], figures["refused"]),
           min(figures["completed"], figures["disconnected"], figures["refused"]) > 0)
    for name in ("heed:num_requests_running", "heed:num_requests_waiting", "heed:kv_cache_usage_perc"):
        value = server.metric(name)
        expect(name, value, value == 0)
    expect("aborted, by the metrics", server.metric("heed:request_success_total", finished_reason="abort"), True)
    after = server.rss()
    expect("memory in MiB at the start, after the warm-up, at the end", [round(x / 2**20, 1) for x in (at_start, warm, after)],
           after <= LIMIT * warm)
    status = server.stop()
    expect("exit status after SIGTERM", status, status == 0)
    if wrong:
        print(server.output()[-3000:])
    return 1 if wrong else 0


if __name__ == "__main__":
    main_or_skip(main)
