#!/usr/bin/env python3
"""Embeds single prompts of 64 callers, in four processes: straight and through the proxy, interleaved, each three times.
usage: embed.py SGLANG_URL PROXY_URL     SGLang was started with --is-embedding; prints a JSON line a row"""
import concurrent.futures as cf, json, multiprocessing as mp, random, sys, time, urllib.request

SGLANG, PROXY = sys.argv[1:3]
WORDS = "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one".split()


def embed(base, prompt):
    request = urllib.request.Request(base + "/v1/embeddings", json.dumps({"model": "m", "input": prompt, "encoding_format": "base64"}).encode(), {"content-type": "application/json"})
    begin = time.time()
    with urllib.request.urlopen(request, timeout=300) as answer:
        answer.read()
    return time.time() - begin


def part(base, prompts):
    with cf.ThreadPoolExecutor(16) as threads:
        return list(threads.map(lambda p: embed(base, p), prompts))


def main():
    rnd = random.Random(11)
    with mp.get_context("spawn").Pool(4) as processes:
        for kind, tokens, n in [("texts", 20, 2048), ("ids", 20, 2048), ("texts", 200, 1024), ("ids", 200, 1024)]:
            for base in [SGLANG, PROXY] * 3:
                make = (lambda: [rnd.randrange(1000, 140000) for _ in range(tokens)]) if kind == "ids" else (lambda: " ".join(rnd.choices(WORDS, k=tokens)))
                prompts = [make() for _ in range(n)]
                begin = time.time()
                took = sorted(t for l in processes.starmap(part, [(base, prompts[i::4]) for i in range(4)]) for t in l)
                seconds = time.time() - begin
                print(json.dumps({"as": kind, "tokens": tokens, "way": "proxy" if base == PROXY else "SGLang", "requests_per_s": round(n / seconds, 1),
                                  "p50": round(took[n // 2], 4), "p99": round(took[int(n * .99)], 4)}), flush=True)


if __name__ == "__main__":
    main()
