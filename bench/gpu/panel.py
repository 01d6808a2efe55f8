#!/usr/bin/env python3
"""A panel of judges: four callers ask at once about the same states, eight questions each, as one /v1/score. SGLang's own way,
leader first by hand within each call, and through the proxy, which also knows what the other callers ask.
usage: panel.py SGLANG_URL PROXY_URL     needs SGLang to itself; empties its cache before each row; prints a JSON line a row, every row twice, interleaved"""
import concurrent.futures as cf, json, random, sys, time

from client import call, flush, ids, score, text

SGLANG, PROXY = sys.argv[1:3]


def computed():
    try:
        return sum(load["total_prefill_uncached_tokens"] for load in call(SGLANG, "/v1/loads")["loads"])
    except (OSError, KeyError, TypeError):
        return None


def straight(query, items):
    score(SGLANG, query, items)


def by_hand(query, items):
    score(SGLANG, query, items[:1])
    score(SGLANG, query, items[1:])


def proxied(query, items):
    score(PROXY, query, items)


def main():
    rnd = random.Random(9)
    for kind, make in [("ids", ids), ("texts", text)]:
        n, judges, questions = 12, 4, 8
        states = [(make(rnd, 2000), [[make(rnd, 60) for _ in range(questions)] for _ in range(judges)]) for _ in range(n)]
        fewest = n * (2000 + judges * questions * 60)
        for way, run in [("SGLang", straight), ("by hand, each caller's first question first", by_hand), ("proxy", proxied)] * 2:
            flush(SGLANG)
            before, begin = computed(), time.time()
            with cf.ThreadPoolExecutor(judges) as pool:
                for query, panels in states:
                    list(pool.map(lambda items: run(query, items), panels))
            seconds, after = time.time() - begin, computed()
            ratio = None if before is None or after is None else round((after - before) / fewest, 3)
            print(json.dumps({"as": kind, "way": way, "questions_per_s": round(n * judges * questions / seconds, 1), "computed_over_fewest": ratio}), flush=True)


main()
