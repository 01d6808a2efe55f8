package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"paceline/loadgen/number"
	"paceline/loadgen/stats"
	"paceline/loadgen/trajectory"
	"paceline/tokenizer"
)

const describeUsage = `loadgen describe prints what trajectories are made of: generated ones, beside
published figures and, with -trajectories, beside those of a file.

  go run ./loadgen describe
  go run ./loadgen describe -seed 7 -out generated.jsonl   write them, as R2E-Gym does: the same seed, the same bytes
  go run ./loadgen describe -trajectories run.jsonl -tokenizer tokenizer.json

Tokens are estimated from bytes, unless -tokenizer counts them.

Flags:
`

// describeOptions is the command line of describe.
type describeOptions struct {
	prompts                      int
	seed                         uint64
	trajectories, tokenizer, out string
}

// runDescribe is the subcommand describe.
func runDescribe(args []string, w io.Writer) error {
	o, err := parseDescribe(args, w)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return inputError{err}
	}
	var count func(string) int
	if o.tokenizer != "" {
		t, err := tokenizer.Load(o.tokenizer)
		if err != nil {
			return inputError{fmt.Errorf("-tokenizer: %w", err)}
		}
		count = func(text string) int { return len(t.Encode(text)) }
	}
	var real []trajectory.Trajectory
	if o.trajectories != "" {
		if real, err = trajectory.ReadFile(o.trajectories); err != nil {
			return inputError{fmt.Errorf("-trajectories: %w", err)}
		}
	}
	generated := trajectory.Generate(o.prompts, o.seed)
	if o.out != "" {
		if err := writeFile(o.out, func(f *os.File) error { return trajectory.Write(f, generated) }); err != nil {
			return inputError{err}
		}
	}
	of := []described{{fmt.Sprintf("generated, %d trajectories, seed %d", o.prompts, o.seed), trajectory.SizesOf(generated, count)}}
	if real != nil {
		of = append(of, described{fmt.Sprintf("%s, %d trajectories", filepath.Base(o.trajectories), len(real)), trajectory.SizesOf(real, count)})
	}
	how := "Tokens are estimated: bytes over the bytes a token of Qwen2.5 has on average in such texts."
	if count != nil {
		how = "Tokens are counted by " + filepath.Base(o.tokenizer) + "."
	}
	return tabulate(w, of, how)
}

func parseDescribe(args []string, w io.Writer) (o describeOptions, err error) {
	f := flag.NewFlagSet("loadgen describe", flag.ContinueOnError)
	f.IntVar(&o.prompts, "n", defaultPrompts, "trajectories to generate")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the generated trajectories")
	f.StringVar(&o.trajectories, "trajectories", "", "`file` of R2E-Gym trajectories, to be described too")
	f.StringVar(&o.tokenizer, "tokenizer", "", "tokenizer.json `file` that counts tokens (default: estimates)")
	f.StringVar(&o.out, "out", "", "`file` for the generated trajectories, JSON lines in R2E-Gym's form")
	err = parseFlags(f, args, describeUsage, w)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return o, err
	case err != nil:
		return o, err
	case f.NArg() > 0:
		return o, fmt.Errorf("describe: unexpected argument %q: flags only, see -h", f.Arg(0))
	case o.prompts < 1:
		return o, fmt.Errorf("-n: must be at least 1, got %d", o.prompts)
	}
	return o, nil
}

// described are trajectories with their name.
type described struct {
	name  string
	sizes trajectory.Sizes
}

// quantities are what is described, in order.
var quantities = []struct {
	name string
	of   func(trajectory.Sizes) []float64
}{
	{"steps", func(s trajectory.Sizes) []float64 { return s.Steps }},
	{"problem, tokens", func(s trajectory.Sizes) []float64 { return s.Problem }},
	{"thought, tokens", func(s trajectory.Sizes) []float64 { return s.Thought }},
	{"action, tokens", func(s trajectory.Sizes) []float64 { return s.Action }},
	{"observation, tokens", func(s trajectory.Sizes) []float64 { return s.Observation }},
	{"env_exec_time of a step, s", func(s trajectory.Sizes) []float64 { return s.ExecSeconds }},
	{"env_exec_time of the first 5 steps, s", func(s trajectory.Sizes) []float64 { return s.FirstFiveSeconds }},
	{"env_exec_time of all steps, s", func(s trajectory.Sizes) []float64 { return s.AllSeconds }},
}

// tabulate prints a block for each quantity: what was published, and what is described.
func tabulate(w io.Writer, of []described, how string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, values ...float64) {
		_, _ = fmt.Fprintf(t, "  %s", name) // Flush tells of errors
		for _, v := range values {
			text := number.Significant(v, 3)
			if v == 0 {
				text = "–"
			}
			_, _ = fmt.Fprintf(t, "\t%s", text)
		}
		_, _ = fmt.Fprintln(t)
	}
	for _, q := range quantities {
		_, _ = fmt.Fprintf(t, "%s\tmean\tP50\tP95\tP99\tmax\n", q.name)
		for _, p := range published[q.name] {
			row(p.of, p.mean, p.p50, p.p95, p.p99, p.max)
		}
		for _, d := range of {
			s := stats.Summarize(q.of(d.sizes))
			row(d.name, s.Mean, s.P50, s.P95, s.P99, s.Max)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s A dash: not told.\n", how)
	return err
}
