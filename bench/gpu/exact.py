#!/usr/bin/env python3
"""Says by how much a score through the proxy differs from the direct one, beside how much two direct ones differ: a forward of
another shape rounds otherwise.
usage: exact.py SGLANG_URL PROXY_URL     needs SGLang to itself; empties its cache before each row; prints a JSON line a row"""
import json, random, sys, time, urllib.request

SGLANG, PROXY = sys.argv[1:3]
LABELS = [9454, 2753]
WORDS = "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one".split()


def call(base, path, body=None):
    data = b"" if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"content-type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=300) as answer:
        return answer.read()


def flush():
    for _ in range(100):
        try:
            return call(SGLANG, "/flush_cache")
        except OSError:
            time.sleep(0.2)
    raise SystemExit("SGLang does not empty its cache: is it busy?")


def scores(base, query, items):
    body = {"model": "m", "query": query, "items": items, "label_token_ids": LABELS, "apply_softmax": True}
    return [row[0] for row in json.loads(call(base, "/v1/score", body))["scores"]]


def main():
    rnd = random.Random(5)

    def ids(n):
        return [rnd.randrange(1000, 140000) for _ in range(n)]

    def text(n):
        return "".join(" " + rnd.choice(WORDS) for _ in range(n))

    for kind, make in [("ids", ids), ("texts", text)]:
        for state, questions, length in [(1000, 8, 60), (300, 50, 20)]:
            loads = [(make(state), [make(length) for _ in range(questions)]) for _ in range(24)]

            def run(base, order):
                flush()
                return [order(scores(base, query, order(items))) for query, items in loads]

            same, turned = lambda x: x, lambda x: x[::-1]
            direct = run(SGLANG, same)
            spread = sorted(a for row in direct for a in row)
            for way, got in [("SGLang again", run(SGLANG, same)), ("SGLang, items in reverse", run(SGLANG, turned)), ("proxy", run(PROXY, same))]:
                off = sorted(abs(a - b) for x, y in zip(direct, got) for a, b in zip(x, y))
                print(json.dumps({"state": state, "questions": questions, "as": kind, "way": way, "equal": sum(o == 0 for o in off), "of": len(off),
                                  "off_p50": off[len(off) // 2], "off_p99": off[int(len(off) * .99)], "off_most": off[-1],
                                  "scores_p5": spread[len(spread) // 20], "scores_p95": spread[-len(spread) // 20]}), flush=True)


main()
