#!/usr/bin/env bash
# Measures two builds of loadgen, each with its own proxy, in turn against one SGLang: the first
# turns at 64 and 256 callers, and rollouts. About 6 minutes on an H100.
# usage: compare.sh OLD NEW SGLANG DATA OUT     (DATA holds swe_verified_500.jsonl and prompts/)
set -euo pipefail
old=$1 new=$2 sglang=$3 data=$4 out=$5
load=(-sglang "$sglang" -problems "$data/swe_verified_500.jsonl" -system "$data/prompts/system.txt"
	-instance "$data/prompts/instance_apr2025_flat.txt" -tokenizer "$data/../model/tokenizer.json" -direct=false)
run() { # NAME LOADGEN FLAGS…
	local name=$1 loadgen=$2
	shift 2
	echo "== $name"
	"$loadgen" "${load[@]}" -out "$out/$name" "$@" 2>&1 | grep -E '^ +[a-z0-9]|requests/s|differs' || true
}
for round in 1 2; do
	for build in old new; do
		run "turns-$build-$round" "${!build}" -sizes 16 -unbatched=false -repeats 1
		run "callers256-$build-$round" "${!build}" -sizes 64 -unbatched=false -repeats 1 -concurrency 256 -phases warm
		run "rollouts-$build-$round" "${!build}" -n 60 -rollouts 8 -sizes 16 -order prefix -unbatched=false -repeats 1 -phases cold
	done
done
