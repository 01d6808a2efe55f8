#!/usr/bin/env python3
"""Streams generation that shares nothing, by 64 callers and by 1: straight and through a proxy, interleaved, each three times.
usage: unrelated.py SGLANG_URL PROXY_URL     prints a JSON line a row"""
import concurrent.futures as cf, json, random, sys, time, urllib.request

SGLANG, PROXY = sys.argv[1:3]

def stream(base, ids):
    body = {"input_ids": ids, "sampling_params": {"max_new_tokens": 32, "ignore_eos": True}, "stream": True}
    request = urllib.request.Request(base + "/generate", json.dumps(body).encode(), {"content-type": "application/json"})
    begin, first = time.time(), None
    with urllib.request.urlopen(request, timeout=300) as answer:
        for line in answer:
            if first is None and line.startswith(b"data: {"): first = time.time() - begin
    return first

def main():
    rnd = random.Random(3)
    for callers, n in [(64, 256), (1, 24)]:
        for base in [SGLANG, PROXY] * 3:
            prompts = [[rnd.randrange(1000, 140000) for _ in range(1000)] for _ in range(n)]
            begin = time.time()
            with cf.ThreadPoolExecutor(callers) as e: ttft = sorted(e.map(lambda p: stream(base, p), prompts))
            seconds = time.time() - begin
            print(json.dumps({"way": "proxy" if base == PROXY else "SGLang", "callers": callers, "requests_per_s": round(n / seconds, 2),
                              "ttft_p50": round(ttft[n // 2], 4), "ttft_p99": round(ttft[int(n * .99)], 4)}), flush=True)

main()
