#!/usr/bin/env python3
"""A panel of judges: four callers ask at once about the same states, eight questions each, as one /v1/score. SGLang's own way,
leader first by hand within each call, and through the proxy, which also knows what the other callers ask.
usage: panel.py SGLANG_URL PROXY_URL     needs SGLang to itself; empties its cache before each row; prints a JSON line a row, every row twice, interleaved"""
import concurrent.futures as cf, json, random, sys, time, urllib.request

SGLANG, PROXY = sys.argv[1:3]
LABELS = [9454, 2753]
WORDS = "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one".split()


def call(base, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.loads(answer.read() or b"null")


def flush():
    for _ in range(100):
        try:
            return urllib.request.urlopen(urllib.request.Request(SGLANG + "/flush_cache", b"", method="POST"), timeout=10).read()
        except OSError:
            time.sleep(0.2)
    raise SystemExit("SGLang does not empty its cache: is it busy?")


def computed():
    try:
        return sum(load["total_prefill_uncached_tokens"] for load in call(SGLANG, "/v1/loads")["loads"])
    except (OSError, KeyError, TypeError):
        return None


def score(base):
    return lambda query, items: call(base, "/v1/score", {"model": "m", "query": query, "items": items, "label_token_ids": LABELS, "apply_softmax": True})


def by_hand(query, items):
    score(SGLANG)(query, items[:1])
    score(SGLANG)(query, items[1:])


def main():
    rnd = random.Random(9)

    def ids(n):
        return [rnd.randrange(1000, 140000) for _ in range(n)]

    def text(n):
        return "".join(" " + rnd.choice(WORDS) for _ in range(n))

    for kind, make in [("ids", ids), ("texts", text)]:
        n, judges, questions = 12, 4, 8
        states = [(make(2000), [[make(60) for _ in range(questions)] for _ in range(judges)]) for _ in range(n)]
        fewest = n * (2000 + judges * questions * 60)
        for way, run in [("SGLang", score(SGLANG)), ("by hand, each caller's first question first", by_hand), ("proxy", score(PROXY))] * 2:
            flush()
            before, begin = computed(), time.time()
            with cf.ThreadPoolExecutor(judges) as pool:
                for query, panels in states:
                    list(pool.map(lambda items: run(query, items), panels))
            seconds, after = time.time() - begin, computed()
            ratio = None if before is None or after is None else round((after - before) / fewest, 3)
            print(json.dumps({"as": kind, "way": way, "questions_per_s": round(n * judges * questions / seconds, 1), "computed_over_fewest": ratio}), flush=True)


main()
