#!/usr/bin/env bash
# Makes the tables of docs/benchmarks.md on a GPU, one step a call, each under 8 minutes. What a step
# measured lies in OUT/NAME-STEP; a step cut short goes on where it was when it is called again.
# usage: record.sh STEP NAME LOADGEN SGLANG DATA OUT
#   STEP   turns, callers256, rollouts, warm64 and warm256 (each prompt many times), few (4 callers), one (1 caller) or conversations
#   NAME   how this SGLang was started, such as fcfs or lpm
#   DATA   holds swe_verified_500.jsonl, r2egym_trajectories_15.jsonl and prompts/
set -euo pipefail
step=$1 name=$2 loadgen=$3 sglang=$4 data=$5 out=$6
here=$(cd "$(dirname "$0")" && pwd)
made=$out/$name-$step
load=(-sglang "$sglang" -tokenizer "$data/../model/tokenizer.json" -device h100 -out "$made")
turns=(-problems "$data/swe_verified_500.jsonl" -system "$data/prompts/system.txt"
	-instance "$data/prompts/instance_apr2025_flat.txt")
# again repeats the first LINES problem statements TIMES times: a long pass over a small warm cache.
again() { # LINES TIMES
	for _ in $(seq "$2"); do head -n "$1" "$data/swe_verified_500.jsonl"; done >"$out/problems-$1.jsonl"
	turns[1]=$out/problems-$1.jsonl
}
case $step in
warm64) again 100 20 && flags=("${turns[@]}" -n 2000 -sizes 16,64 -max-in-flight 2,8 -max-wait 0s -repeats 3 -phases warm) ;;
warm256) again 300 7 && flags=("${turns[@]}" -n 2100 -sizes 16,64 -max-in-flight 8 -max-wait 0s -repeats 3 -concurrency 256 -phases warm -direct=false -defaults=false) ;;
turns) flags=("${turns[@]}" -n 300 -sizes 16,64 -max-in-flight 2,8 -max-wait 0s -repeats 3) ;;
callers256) flags=("${turns[@]}" -sizes 64 -max-in-flight 2,8,16 -max-wait 0s -repeats 3 -concurrency 256 -phases warm -direct=false) ;;
rollouts) flags=("${turns[@]}" -n 60 -rollouts 8 -sizes 64 -max-in-flight 2,8 -max-wait 0s -order prefix -repeats 3 -phases cold) ;;
few) flags=("${turns[@]}" -n 80 -sizes 64 -max-in-flight 2,8 -max-wait 0s -repeats 3 -concurrency 4) ;;
one) flags=("${turns[@]}" -n 40 -sizes 64 -max-in-flight 2,8 -max-wait 0s -repeats 3 -concurrency 1) ;;
conversations) flags=(-trajectories "$data/r2egym_trajectories_15.jsonl" -turns 0 -env-scale 0 -sizes 64 -max-in-flight 2,8 -max-wait 0s -repeats 3 -phases cold) ;;
*)
	sed -n '2,9s/^# //p' "$0"
	exit 2
	;;
esac
if [ -f "$made/runs.jsonl" ]; then flags=(-resume "$made"); else flags=("${load[@]}" "${flags[@]}"); fi
timeout 470 python3 "$here/cpu.py" "$loadgen" "${flags[@]}" 2>&1 | tee "$made.txt" | tail -60
