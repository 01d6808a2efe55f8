"""What the scripts beside this one share: calls of SGLang's HTTP interface, and prompts of random content."""
import json, time, urllib.request

LABELS = [9454, 2753]  # Qwen's Yes and No
WORDS = "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one".split()


def call(base, path, body=None):
    """Returns the answer to a body, posted, or without one to GET."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.loads(answer.read() or b"null")


def flush(base):
    for _ in range(100):
        try:
            return urllib.request.urlopen(urllib.request.Request(base + "/flush_cache", b"", method="POST"), timeout=10).read()
        except OSError:
            time.sleep(0.2)
    raise SystemExit("SGLang does not empty its cache: is it busy?")


def score(base, query, items):
    body = {"model": "m", "query": query, "items": items, "label_token_ids": LABELS, "apply_softmax": True}
    return call(base, "/v1/score", body)["scores"]


def ids(random, n):
    return [random.randrange(1000, 140000) for _ in range(n)]


def text(random, n):
    return "".join(" " + random.choice(WORDS) for _ in range(n))
