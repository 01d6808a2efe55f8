#!/usr/bin/env bash
# Measures what reading a shared prefix once is worth to unmodified clients: SGLang straight,
# leader first by hand, and through the proxy. Then that it harms nothing: generation that
# shares nothing, straight and through the proxy. About 4 minutes on an H100.
# usage: share.sh PROXY SGLANG SCRIPTS OUT     (SCRIPTS holds generate.py and score.py)
set -euo pipefail
proxy=$1 sglang=$2 scripts=$3 out=$4
here=$(cd "$(dirname "$0")" && pwd)
"$proxy" -upstream "$sglang" -listen 127.0.0.1:7050 -http 127.0.0.1:7080 -admin 127.0.0.1:7060 -metrics 127.0.0.1:7090 >"$out.log" 2>&1 &
trap 'kill $!' EXIT
for _ in $(seq 100); do curl -sf -o /dev/null http://127.0.0.1:7090/readyz && break; sleep 0.2; done
python3 "$scripts/generate.py" "$sglang" 32 http://127.0.0.1:7080 | tee "$out.generate.jsonl"
python3 "$here/unrelated.py" "$sglang" http://127.0.0.1:7080 | tee "$out.unrelated.jsonl"
[ -z "${SCORE-}" ] || timeout 300 python3 "$scripts/score.py" "$sglang" http://127.0.0.1:7080 | tee "$out.score.jsonl"
curl -s http://127.0.0.1:7090/metrics | grep -E '^paceline_(held_seconds_(sum|count)|shared)' >"$out.metrics.txt" || true
