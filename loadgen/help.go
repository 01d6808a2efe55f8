package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

const usage = `loadgen replays agent trajectories through a batching proxy and reports the
throughput at each batch setting.

Begin here
  go run ./loadgen
        A simulated SGLang and a proxy in this process, 500 generated trajectories, every batch
        size three times, cold and warm. Needs nothing. The report says that it is simulated.
  go run ./loadgen -sglang http://127.0.0.1:30000 -problems swe.jsonl -n 100
        Your SGLang, behind a proxy in this process, with prompts made of your problem statements.
  go run ./loadgen -target 127.0.0.1:50051 -target-admin 127.0.0.1:9090 -sizes 8,16,32
        A proxy that runs already. Its settings are put back afterwards.

Other loads
  go run ./loadgen -trajectories run.jsonl -turns 0     whole conversations, turn after turn
  go run ./loadgen -rollouts 8 -n 60                    each trajectory eight times
  go run ./loadgen -rate 20                             20 a second, however long answers take
  go run ./loadgen -rate 5..50 -warm-up 5s              from 5 to 50 a second
  go run ./loadgen -trace trace.jsonl -speed 2          a recorded trace, twice as fast

Larger sweeps
  go run ./loadgen -sizes 1,4,16 -max-in-flight 1,2,4 -max-wait 0s,5ms -order fifo,prefix
        Each combination.
  go run ./loadgen -repeats 20 -stop-when 2%            as many repeats as a setting needs
  go run ./loadgen -resume results/…                    go on with a sweep that was cut short
  go run ./loadgen -resume results/… -repeats 5         or add repeats to one that was not

For others to believe it
  go run ./loadgen -repeats 5 -device h100              intervals, and whether the device can do it
  go run ./loadgen -fail-if 'p99>2s' -fail-if 'failed>0%'       exit status 3 if so
  go run ./loadgen compare before after                 which differences their repeats can tell

Subcommands, each with -h
  calibrate   fit the simulator to a server           check    can a reported throughput be true
  compare     two reports beside each other           report   write a report anew, also in Chinese
  describe    what the trajectories are like          schema   the JSON Schema of results.json
  coordinate  one load from several processes         merge    join the reports of shards
  simulate    serve a simulated SGLang

Ctrl-C stops the sweep and still writes what was measured (-resume goes on from there); once
more ends at once.
Exit status: 0 all answered, 1 something failed, 2 bad input, 3 a -fail-if holds, 130 interrupted.
`

// flagGroups are the flags by subject, in the order in which they are read.
var flagGroups = []struct {
	title string
	flags []string
}{
	{"What is sent", []string{"n", "trajectories", "problems", "trace", "turns", "env-scale", "rollouts", "stagger", "mix", "system", "instance", "chat-template", "max-new-tokens"}},
	{"When it is sent", []string{"concurrency", "rate", "arrival", "speed", "most-outstanding", "when-full", "late-after", "warm-up"}},
	{"What is measured", []string{"sizes", "unbatched", "auto", "direct", "repeats", "stop-when", "max-in-flight", "max-wait", "order", "phases", "timeout", "seed"}},
	{"Where it is sent", []string{"sglang", "sglang-key-file", "sglang-log", "target", "target-admin", "target-key-file", "target-tls-ca", "target-tls-cert", "target-tls-key", "tokenizer", "sim-profile", "sim-speed"}},
	{"From several processes, and after a cut", []string{"shard", "coordinator", "resume"}},
	{"What is made of it", []string{"out", "lang", "fail-if", "device", "model-config", "jaeger"}},
}

// printHelp writes what a command is for, and the flags by subject; those of no subject at
// the end.
func printHelp(w io.Writer, usage string, flags *flag.FlagSet) {
	var b strings.Builder
	b.WriteString(usage)
	grouped := map[string]bool{}
	for _, g := range flagGroups {
		fmt.Fprintf(&b, "\n%s\n", g.title)
		for _, name := range g.flags {
			grouped[name] = true
			if f := flags.Lookup(name); f != nil {
				describeFlag(&b, f)
			}
		}
	}
	var rest []*flag.Flag
	flags.VisitAll(func(f *flag.Flag) {
		if !grouped[f.Name] {
			rest = append(rest, f)
		}
	})
	for i, f := range rest {
		if i == 0 {
			b.WriteString("\nMore\n")
		}
		describeFlag(&b, f)
	}
	_, _ = io.WriteString(w, b.String()) // nowhere else to tell
}

// Widths of the help, in characters.
const (
	helpIndent = 26
	helpWidth  = 98
)

func describeFlag(b *strings.Builder, f *flag.Flag) {
	value, text := flag.UnquoteUsage(f)
	head := "  -" + f.Name
	if value != "" {
		head += " " + value
	}
	if d := f.DefValue; !slices.Contains([]string{"", "0", "false", "0s"}, d) && !strings.Contains(text, "default") {
		text += " (default " + d + ")"
	}
	if len(head) > helpIndent-2 {
		b.WriteString(head + "\n")
		head = ""
	}
	for _, line := range wrapped(text, helpWidth-helpIndent) {
		fmt.Fprintf(b, "%-*s%s\n", helpIndent, head, line)
		head = ""
	}
}

// wrapped breaks a text between words.
func wrapped(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
