package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"paceline/loadgen/cli"
	"paceline/loadgen/plausibility"
	"paceline/loadgen/report"
	"paceline/loadgen/report/render"
)

// checker decides whether reported throughputs can be true.
type checker struct {
	devices []plausibility.Device
	model   plausibility.Model

	prompts, tokens, shared int // for tables, which have no tokens
}

// Default tokens of a first turn, measured with Qwen2.5's tokenizer on the 500 problem statements
// of SWE-bench Verified.
const (
	firstTurnTokens = 2023
	firstTurnShared = 1267
)

var errImpossible = errors.New("what is reported can't be true")

var checkCommand = subcommand{
	args: "one file, or - for standard input", maxArgs: 1,
	define: func(f *cli.FlagSet) runner {
		var c checker
		var device, model string
		cli.Define(f, &device, "", "device", strings.Join(plausibility.Known(), ", ")+", several such as 8xh100, or a JSON `file` with "+
			"name, flops_per_second, fp8_flops_per_second, memory_bytes_per_second and count (default: one of each)")
		cli.Define(f, &model, "", "model-config", "the model's config.json `file` (default: Qwen2.5-7B)")
		cli.Define(f, &c.prompts, 500, "prompts", "number of prompts behind each time of a table, if its heading does not say")
		cli.Define(f, &c.tokens, firstTurnTokens, "prompt-tokens", "mean tokens of a prompt, if none were counted")
		cli.Define(f, &c.shared, firstTurnShared, "shared-tokens", "tokens that all prompts begin with, if none were counted")
		return func(_ context.Context, args []string, in io.Reader, out io.Writer) error {
			if err := c.complete(device, model); err != nil {
				return err
			}
			claims, err := c.claims(args[0], in)
			if err != nil {
				return err
			}
			return failed(c.judge(out, claims))
		}
	},
}

func (c *checker) complete(device, model string) (err error) {
	switch {
	case c.prompts < 1:
		return fmt.Errorf("-prompts: must be at least 1, got %d", c.prompts)
	case c.tokens < 1:
		return fmt.Errorf("-prompt-tokens: must be at least 1, got %d", c.tokens)
	case c.shared < 0 || c.shared > c.tokens:
		return fmt.Errorf("-shared-tokens: must be from 0 to -prompt-tokens, got %d", c.shared)
	}
	names := []string{device}
	if device == "" {
		names = plausibility.Known()
	}
	for _, name := range names {
		d, err := plausibility.DeviceNamed(name)
		if err != nil {
			return fmt.Errorf("-device: %w", err)
		}
		c.devices = append(c.devices, d)
	}
	if c.model, err = modelOf(model); err != nil {
		return fmt.Errorf("-model-config: %w", err)
	}
	return nil
}

func modelOf(config string) (plausibility.Model, error) {
	if config == "" {
		return plausibility.Qwen25of7B, nil
	}
	return plausibility.ReadModel(config)
}

// claim is a reported throughput with its name in the file.
type claim struct {
	name string
	plausibility.Claim
}

// claims reads a report, or a table of batch sizes and times.
func (c *checker) claims(file string, stdin io.Reader) (claims []claim, err error) {
	if strings.EqualFold(filepath.Ext(file), ".json") {
		r, err := readResults(file)
		if err != nil {
			return nil, err
		}
		return claimsOf(r)
	}
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // only read
		in = f
	}
	rows, err := plausibility.ReadTable(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, r := range rows {
		prompts := cmp.Or(r.Prompts, c.prompts)
		seconds := r.Seconds
		if seconds == 0 {
			seconds = float64(prompts) / r.Rate
		}
		claims = append(claims, claim{r.Name, plausibility.Claim{
			Prompts: prompts, Seconds: seconds,
			PromptTokens: int64(prompts) * int64(c.tokens), CachedTokens: int64(prompts) * int64(c.shared),
		}})
	}
	return claims, nil
}

// claimsOf returns the claims of a report's runs.
func claimsOf(r report.Report) (claims []claim, err error) {
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

// judge prints a verdict for each claim and device, and the arithmetic for the fastest claim.
func (c *checker) judge(w io.Writer, claims []claim) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := "batch size\tseconds\tprompts/s"
	for _, d := range c.devices {
		line += "\t" + d.Label()
	}
	_, _ = fmt.Fprintln(t, line) // Flush returns the error
	perSecond := func(c claim) float64 { return float64(c.Prompts) / c.Seconds }
	fastest, impossible := claims[0], 0
	for _, one := range claims {
		line = fmt.Sprintf("%s\t%.4g\t%.4g", one.name, one.Seconds, perSecond(one))
		for _, d := range c.devices {
			v := plausibility.Judge(d, c.model, one.Claim)
			line += "\t" + string(v.Kind)
			if v.Kind == plausibility.Impossible {
				impossible++
				line += fmt.Sprintf(" (at least %.3g s, %.3g×)", v.FloorSeconds, v.TimesFaster())
			}
		}
		_, _ = fmt.Fprintln(t, line)
		if perSecond(one) > perSecond(fastest) {
			fastest = one
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range c.devices {
		_, _ = fmt.Fprintf(w, "\nThe fastest, %s, on %s: %s\n", fastest.name, d.Label(),
			render.Sum(plausibility.Judge(d, c.model, fastest.Claim), render.English))
	}
	_, err := fmt.Fprintf(w, "\nThe arithmetic leaves out attention, the vocabulary and all waiting: the true floor is higher.\n")
	if err == nil && impossible > 0 {
		err = fmt.Errorf("%w: %d of %d verdicts say impossible", errImpossible, impossible, len(claims)*len(c.devices))
	}
	return err
}
