#!/usr/bin/env bash
# Samples where SGLang's processes spend their time while 256 callers send prompts that it has
# cached. Needs py-spy, and leave to trace processes.
# usage: profile.sh NAME LOADGEN SGLANG DATA OUT PYSPY
set -euo pipefail
name=$1 loadgen=$2 sglang=$3 data=$4 out=$5 spy=$6
"$loadgen" -sglang "$sglang" -tokenizer "$data/../model/tokenizer.json" -problems "$data/swe_verified_500.jsonl" -system "$data/prompts/system.txt" \
	-instance "$data/prompts/instance_apr2025_flat.txt" -sizes 64 -max-in-flight 8 -max-wait 0s -repeats 12 -concurrency 256 \
	-phases warm -direct=false -defaults=false -unbatched=false -n 400 -out "$out/$name-profiled" >/dev/null 2>&1 &
trap 'kill $! 2>/dev/null || true' EXIT
sleep 5
for pid in $(pgrep -f 'sglang::|launch_server'); do
	process=$(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-40)
	{ echo "== $pid $process"; timeout 40 "$spy" record -n -d 25 -r 50 -F -f raw -o "/tmp/spy.$pid" -p "$pid" 2>&1 | tail -2 || true; } >"/tmp/spy.$pid.log" &
	spies+=($!)
done
wait "${spies[@]}"
for log in /tmp/spy.*.log; do
	cat "$log"
	raw=${log%.log}
	[ -s "$raw" ] || continue
	# own time by function, then time with callees, both as shares of all samples
	awk '{n=$NF; $NF=""; total+=n; k=split($0, f, ";"); own[f[k]]+=n; delete seen; for(i=1;i<=k;i++) if(!(f[i] in seen)) {seen[f[i]]=1; with[f[i]]+=n}}
		END {print total, "samples"; for(s in own) printf "own  %5.1f %% %s\n", 100*own[s]/total, s; for(s in with) printf "with %5.1f %% %s\n", 100*with[s]/total, s}' "$raw" |
		sort -k1,1 -k2,2nr | awk '$1=="own" && ++a<=25 || $1=="with" && ++b<=40 || $2=="samples"'
done >"$out/$name-profile.txt"
