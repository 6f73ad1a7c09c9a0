#!/usr/bin/env python3
"""Faults: what clients and operators do to servers. Each prints what happened; exit status 0, or 1.

  faults.py [NAME ...]     of those below; all by default
"""
import contextlib
import json
import multiprocessing
import os
import resource
import select
import signal
import socket
import sys
import threading
import time

from server import Server, main_or_skip, wait_until

GREEDY = {"temperature": 0, "extra_body": {"ignore_eos": True}}


class Fault(AssertionError):
    pass


def expect(truth, what):
    if not truth:
        raise Fault(what)


def post(body, port):
    """The bytes of a request for a completion."""
    text = json.dumps(body).encode()
    return (f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n\r\n").encode() + text


def ask(server, count=8):
    """A small request of an ordinary client; the seconds it took."""
    start = time.perf_counter()
    answer = server.json("/v1/completions", {"prompt": "ROMEO:", "max_tokens": count, "temperature": 0, "ignore_eos": True})
    took = time.perf_counter() - start
    expect(answer["usage"]["completion_tokens"] == count, f"an ordinary request got {answer['usage']}")
    return took


def stream_forever(url, model):
    import openai
    client = openai.OpenAI(base_url=url + "/v1", api_key="unused", max_retries=0)
    while True:
        for _ in client.completions.create(model=model, prompt="ROMEO:", max_tokens=1500, stream=True, **GREEDY):
            pass


def killed_clients(server):
    """kill -9 of 12 clients in the middle of their streams."""
    context = multiprocessing.get_context("spawn")
    clients = [context.Process(target=stream_forever, args=(server.url, server.model())) for _ in range(12)]
    for client in clients:
        client.start()
    wait_until(lambda: server.metric("heed:num_requests_running") >= 12, "12 streams")
    start = time.perf_counter()
    for client in clients:
        client.kill()
    server.wait_idle()
    freed = time.perf_counter() - start
    for client in clients:
        client.join()
    expect(server.metric("heed:kv_cache_usage_perc") == 0, "pages are still held")
    return f"all requests freed within {freed:.2f} s, pages held: 0"


def idle_connections(server, count=10_000):
    """10,000 connections that say nothing, while an ordinary client works."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    count = min(count, files[1] - 200)
    before, alone = server.rss(), ask(server)
    sockets, refused = [], 0
    for index in range(count):
        try:
            # Many local addresses: one has too few ports.
            sockets.append(socket.create_connection(("127.0.0.1", server.port), 20, (f"127.0.{1 + index // 5000}.1", 0)))
        except OSError:
            refused += 1
    beside, during = ask(server), server.rss()
    for one in sockets:
        one.close()
    time_after = ask(server)
    return (f"{len(sockets)} open, {refused} refused; {(during - before) / max(1, len(sockets)) / 1024:.1f} KiB each; an ordinary "
            f"request took {alone:.3f} s before, {beside:.3f} s beside them, {time_after:.3f} s after")


def slowloris(server, count=200):
    """200 clients that send their headers a byte a second, while an ordinary client works."""
    sockets = [socket.create_connection(("127.0.0.1", server.port), 20) for _ in range(count)]
    text = post({"model": "x"}, server.port)
    closed, start, times = 0, time.monotonic(), []
    for position in range(90):
        for one in list(sockets):
            try:
                one.sendall(text[position:position + 1])
            except OSError:
                sockets.remove(one)
                closed += 1
        times.append(ask(server, 2))
        if not sockets:
            break
        time.sleep(1)
    took = time.monotonic() - start
    for one in sockets:
        one.close()
    return f"{closed} of {count} cut off within {took:.0f} s; an ordinary request took at most {max(times):.3f} s meanwhile"


def huge_body(server):
    """A body of 1 GB, announced; then one in chunks that never end. The client goes on sending until it is cut off."""
    before, told = server.rss(), []
    for head in (b"Content-Length: 1000000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        one = socket.create_connection(("127.0.0.1", server.port), 60)
        one.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + head)
        part = b"10000\r\n" + b"x" * 65536 + b"\r\n" if b"chunked" in head else b"x" * 65536
        sent, answer, answered_at = 0, b"", None
        with contextlib.suppress(OSError):
            while sent < 1 << 40 and not ("Length" in head.decode() and sent >= 1_000_000_000):
                if answered_at is None and select.select([one], [], [], 0)[0]:
                    answer, answered_at = one.recv(4096), sent
                one.sendall(part)
                sent += 65536
        one.close()
        told.append(f"{answer[:12].decode()} after {answered_at / 2**20 if answered_at is not None else -1:.0f} MiB, cut off "
                    f"after {sent / 2**20:.0f}")
        expect(b" 413" in answer[:16], f"answer {answer[:100]}")
    ask(server)
    grown = (server.rss() - before) / 2**20
    expect(grown < 64, f"memory grew by {grown:.1f} MiB")
    return f"{'; '.join(told)}; memory grew by {grown:.1f} MiB"


def slow_reader(server, count=12):
    """12 clients that ask for long streams and read nothing; an ordinary client works beside them."""
    before = server.rss()
    sockets = []
    for _ in range(count):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", server.port))
        one.sendall(post({"model": server.model(), "prompt": "ROMEO:", "max_tokens": 800, "stream": True, "logprobs": 5,
                          "ignore_eos": True}, server.port))
        sockets.append(one)
    wait_until(lambda: server.metric("heed:num_requests_running") > 0, "their requests to run")
    took = ask(server)
    start = time.perf_counter()
    server.wait_idle()
    ended = time.perf_counter() - start
    grown = server.rss() - before
    for one in sockets:
        one.close()
    server.wait_idle()
    expect(server.metric("heed:kv_cache_usage_perc") == 0, "pages are still held")
    return (f"an ordinary request took {took:.3f} s beside them; the engine was done with them after {ended:.1f} s; "
            f"memory grew by {grown / 2**20:.1f} MiB")


class Streaming(threading.Thread):
    """Reads one stream to its end."""

    def __init__(self, server, count):
        super().__init__()
        self.client, self.model, self.count = server.openai(), server.model(), count
        self.pieces, self.reason, self.error = 0, None, None
        self.begun = threading.Event()

    def run(self):
        try:
            for chunk in self.client.completions.create(model=self.model, prompt="ROMEO:", max_tokens=self.count, stream=True,
                                                        **GREEDY):
                for choice in chunk.choices:
                    self.pieces += 1
                    self.begun.set()
                    self.reason = choice.finish_reason or self.reason
        except Exception as error:  # what the client was told
            self.error = error
        self.begun.set()


def health_of(server):
    """200, 503, ..., or what became of the connection."""
    try:
        return server.call("GET", "/health", timeout=20)[0]
    except OSError as error:
        return str(getattr(error, "reason", error))


def drain(_):
    """SIGTERM during streams: they end well, the server is not ready meanwhile and takes nothing new, exit status 0."""
    server = Server("--disable-access-log", "--shutdown-timeout", "300")
    streams = [Streaming(server, 600) for _ in range(8)]
    for stream in streams:
        stream.start()
    for stream in streams:
        stream.begun.wait()
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "shutting down" in server.output(), "the drain to begin")
    start = time.perf_counter()
    health = wait_until(lambda: (h := health_of(server)) != 200 and h, "/health not to say 200 any more")
    still = server.process.poll() is None
    status = server.process.wait(300)
    took = time.perf_counter() - start
    for stream in streams:
        stream.join()
    whole = sum(stream.reason == "length" for stream in streams)
    expect(whole == 8, f"{whole} of 8 streams ended well: {[repr(s.error) for s in streams if s.error][:3]}")
    expect(status == 0, f"exit status {status}\n{server.output()[-2000:]}")
    expect(still, "the server had ended before it was asked")
    return f"8 of 8 streams whole, exit status 0 after {took:.1f} s, /health meanwhile: {health}"


def second_signal(_):
    """A second SIGTERM aborts."""
    server = Server("--disable-access-log", "--shutdown-timeout", "300")
    streams = [Streaming(server, 1900) for _ in range(16)]
    for stream in streams:
        stream.start()
    for stream in streams:
        stream.begun.wait()
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "shutting down" in server.output(), "the drain to begin")
    start = time.perf_counter()
    server.process.send_signal(signal.SIGTERM)
    status = server.process.wait(120)
    took = time.perf_counter() - start
    for stream in streams:
        stream.join()
    cut = sum(stream.reason is None for stream in streams)
    expect(cut > 0, "all streams had ended before")
    return f"exit status {status} after {took:.2f} s; {cut} of 16 streams cut off, the clients were told: {streams[0].error!r}"


def main():
    faults = {f.__name__: f for f in (killed_clients, idle_connections, slowloris, huge_body, slow_reader, drain, second_signal)}
    names = sys.argv[1:] or list(faults)
    os.environ.pop("HEED_API_KEY", None)
    server, failed = Server("--disable-access-log"), 0
    for name in names:
        try:
            print(f"{name}: {faults[name](server)}", flush=True)
        except Exception as error:
            failed += 1
            print(f"{name}: FAILED: {error!r}", flush=True)
            if server.process.poll() is not None:
                print(server.output()[-3000:])
                server = Server("--disable-access-log")
    status = server.stop()
    print(f"the server then ended with {status}")
    return 1 if failed or status != 0 else 0


if __name__ == "__main__":
    main_or_skip(main)
