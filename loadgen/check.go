package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"paceline/loadgen/plausibility"
	"paceline/loadgen/report"
	"paceline/loadgen/report/render"
)

const checkUsage = `loadgen check says whether reported throughputs can be true, by arithmetic.

  go run ./loadgen check table.csv                  a table of batch sizes and times in seconds
  go run ./loadgen check -device h100 results.json  a report of loadgen's own
  printf '1 0.55\n2 0.31\n' | go run ./loadgen check -prompts 500 -

Without -device a table is held against an A100, an H100 and an H200. A table tells no
tokens, so it is taken that its prompts are first turns of SWE-bench Verified with
R2E-Gym's short prompt, and that the cache had all that they share.
Exit status: 0 nothing is impossible, 1 something is, 2 bad input.

Flags:
`

// checkOptions is the command line of check.
type checkOptions struct {
	file    string
	devices []plausibility.Device
	model   plausibility.Model

	prompts, tokens, shared int
}

// What first turns are, where nobody says: measured with Qwen2.5's tokenizer on the
// 500 problem statements of SWE-bench Verified.
const (
	firstTurnTokens = 2023
	firstTurnShared = 1267
)

// errImpossible is what a claim makes that can't be true.
var errImpossible = errors.New("what is reported can't be true")

// runCheck is the subcommand check.
func runCheck(args []string, stdin io.Reader, w io.Writer) error {
	o, err := parseCheck(args, w)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return inputError{err}
	}
	claims, err := o.claims(stdin)
	if err != nil {
		return inputError{err}
	}
	return judge(w, o, claims)
}

func parseCheck(args []string, w io.Writer) (o checkOptions, err error) {
	var device, model string
	f := flag.NewFlagSet("loadgen check", flag.ContinueOnError)
	f.StringVar(&device, "device", "", "a100, h100, h200 or a JSON `file` with name, flops_per_second, memory_bytes_per_second and count (default: each of the three)")
	f.StringVar(&model, "model-config", "", "the model's config.json `file` (default: Qwen2.5-7B)")
	f.IntVar(&o.prompts, "prompts", 500, "prompts that each time of a table is for")
	f.IntVar(&o.tokens, "prompt-tokens", firstTurnTokens, "tokens of a prompt, on average, where none were counted")
	f.IntVar(&o.shared, "shared-tokens", firstTurnShared, "tokens at the beginning of all prompts, where none were counted")
	err = parseFlags(f, args, checkUsage, w)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return o, err
	case err != nil:
		return o, err
	case f.NArg() != 1:
		return o, fmt.Errorf("check: must be given one file, or - for standard input")
	case o.prompts < 1:
		return o, fmt.Errorf("-prompts: must be at least 1, got %d", o.prompts)
	case o.tokens < 1:
		return o, fmt.Errorf("-prompt-tokens: must be at least 1, got %d", o.tokens)
	case o.shared < 0 || o.shared > o.tokens:
		return o, fmt.Errorf("-shared-tokens: must be from 0 to -prompt-tokens, got %d", o.shared)
	}
	o.file = f.Arg(0)
	if o.devices, err = devicesNamed(device); err != nil {
		return o, fmt.Errorf("-device: %w", err)
	}
	if o.model, err = modelOf(model); err != nil {
		return o, fmt.Errorf("-model-config: %w", err)
	}
	return o, nil
}

func devicesNamed(name string) (all []plausibility.Device, err error) {
	names := []string{name}
	if name == "" {
		names = []string{"a100", "h100", "h200"}
	}
	for _, name := range names {
		d, err := plausibility.DeviceNamed(name)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func modelOf(config string) (plausibility.Model, error) {
	if config == "" {
		return plausibility.Qwen25of7B, nil
	}
	return plausibility.ReadModel(config)
}

// claim is a throughput with its name in the file.
type claim struct {
	name string
	plausibility.Claim
}

// claims reads the file, whichever kind it is.
func (o checkOptions) claims(stdin io.Reader) ([]claim, error) {
	if strings.EqualFold(filepath.Ext(o.file), ".json") {
		r, err := readResults(o.file)
		if err != nil {
			return nil, err
		}
		return reported(r)
	}
	in := stdin
	if o.file != "-" {
		f, err := os.Open(o.file)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // only read
		in = f
	}
	rows, err := plausibility.ReadTable(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.file, err)
	}
	claims := make([]claim, len(rows))
	for i, r := range rows {
		claims[i] = claim{r.Name, plausibility.Claim{
			Prompts: o.prompts, Seconds: r.Seconds,
			PromptTokens: int64(o.prompts) * int64(o.tokens), CachedTokens: int64(o.prompts) * int64(o.shared),
		}}
	}
	return claims, nil
}

// reported are the runs of a report.
func reported(r report.Report) ([]claim, error) {
	var claims []claim
	for _, run := range r.Runs {
		if c, ok := run.Claim(); ok {
			claims = append(claims, claim{fmt.Sprintf("%s, %s, repeat %d", run.Setting, run.Phase, run.Repeat), c})
		}
	}
	if len(claims) == 0 {
		return nil, errors.New("the report has no run with an answer")
	}
	return claims, nil
}

// judge prints a verdict for each claim and device, and the sums of the fastest.
func judge(w io.Writer, o checkOptions, claims []claim) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "batch size\tseconds\tprompts/s"
	for _, d := range o.devices {
		head += "\t" + d.Name
	}
	_, _ = fmt.Fprintln(t, head) // nowhere else to tell
	fastest, impossible := claims[0], 0
	for _, c := range claims {
		line := fmt.Sprintf("%s\t%.4g\t%.4g", c.name, c.Seconds, float64(c.Prompts)/c.Seconds)
		for _, d := range o.devices {
			v := plausibility.Judge(d, o.model, c.Claim)
			line += "\t" + string(v.Kind)
			if v.Kind == plausibility.Impossible {
				impossible++
				line += fmt.Sprintf(" (at least %.3g s)", v.FloorSeconds)
			}
		}
		_, _ = fmt.Fprintln(t, line)
		if float64(c.Prompts)/c.Seconds > float64(fastest.Prompts)/fastest.Seconds {
			fastest = c
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range o.devices {
		_, _ = fmt.Fprintf(w, "\nThe fastest, %s, on %s: %s\n", fastest.name, d.Name, render.Sum(plausibility.Judge(d, o.model, fastest.Claim), render.English))
	}
	_, _ = fmt.Fprintf(w, "\nThe arithmetic leaves out attention, the vocabulary and all waiting: the true floor is higher.\n")
	if impossible > 0 {
		return fmt.Errorf("%w: %d of %d verdicts say impossible", errImpossible, impossible, len(claims)*len(o.devices))
	}
	return nil
}
