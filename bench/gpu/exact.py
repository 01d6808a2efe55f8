#!/usr/bin/env python3
"""Says by how much a score through the proxy differs from the direct one, beside how much two direct ones differ: a forward of
another shape rounds otherwise.
usage: exact.py SGLANG_URL PROXY_URL     needs SGLang to itself; empties its cache before each row; prints a JSON line a row"""
import json, random, sys

from client import flush, ids, score, text

SGLANG, PROXY = sys.argv[1:3]


def main():
    rnd = random.Random(5)
    for kind, make in [("ids", ids), ("texts", text)]:
        for state, questions, length in [(1000, 8, 60), (300, 50, 20)]:
            loads = [(make(rnd, state), [make(rnd, length) for _ in range(questions)]) for _ in range(24)]

            def run(base, order):
                flush(SGLANG)
                return [order([row[0] for row in score(base, query, order(items))]) for query, items in loads]

            same, turned = lambda x: x, lambda x: x[::-1]
            direct = run(SGLANG, same)
            spread = sorted(a for row in direct for a in row)
            for way, got in [("SGLang again", run(SGLANG, same)), ("SGLang, items in reverse", run(SGLANG, turned)), ("proxy", run(PROXY, same))]:
                off = sorted(abs(a - b) for x, y in zip(direct, got) for a, b in zip(x, y))
                print(json.dumps({"state": state, "questions": questions, "as": kind, "way": way, "equal": sum(o == 0 for o in off), "of": len(off),
                                  "off_p50": off[len(off) // 2], "off_p99": off[int(len(off) * .99)], "off_most": off[-1],
                                  "scores_p5": spread[len(spread) // 20], "scores_p95": spread[-len(spread) // 20]}), flush=True)


main()
