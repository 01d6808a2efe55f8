#!/usr/bin/env python3
"""Embeds single prompts of 64 callers, in four processes: straight and through the proxy, interleaved, each three times.
usage: embed.py SGLANG_URL PROXY_URL     SGLang was started with --is-embedding; prints a JSON line a row"""
import concurrent.futures as cf, json, multiprocessing as mp, random, sys, time

from client import call, ids, text

SGLANG, PROXY = sys.argv[1:3]


def embed(base, prompt):
    begin = time.time()
    call(base, "/v1/embeddings", {"model": "m", "input": prompt, "encoding_format": "base64"})
    return time.time() - begin


def part(base, prompts):
    with cf.ThreadPoolExecutor(16) as threads:
        return list(threads.map(lambda p: embed(base, p), prompts))


def main():
    rnd = random.Random(11)
    with mp.get_context("spawn").Pool(4) as processes:
        for kind, tokens, n in [("texts", 20, 2048), ("ids", 20, 2048), ("texts", 200, 1024), ("ids", 200, 1024)]:
            for base in [SGLANG, PROXY] * 3:
                make = ids if kind == "ids" else text
                prompts = [make(rnd, tokens) for _ in range(n)]
                begin = time.time()
                took = sorted(t for l in processes.starmap(part, [(base, prompts[i::4]) for i in range(4)]) for t in l)
                seconds = time.time() - begin
                print(json.dumps({"as": kind, "tokens": tokens, "way": "proxy" if base == PROXY else "SGLang", "requests_per_s": round(n / seconds, 1),
                                  "p50": round(took[n // 2], 4), "p99": round(took[int(n * .99)], 4)}), flush=True)


if __name__ == "__main__":
    main()
