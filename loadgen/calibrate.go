package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"paceline/loadgen/calibrate"
	"paceline/sglang"
)

const calibrateUsage = `loadgen calibrate measures what work costs a running SGLang and writes it as a
profile of the simulator.

  go run ./loadgen calibrate -sglang http://127.0.0.1:30000 -out mine.json
  go run ./loadgen -sim-profile mine.json

It needs the server for itself, and empties its cache.

Flags:
`

// runCalibrate is the subcommand calibrate.
func runCalibrate(ctx context.Context, args []string, w io.Writer) error {
	o := calibrate.Options{Speed: 1}
	var url, keyFile, out string
	f := flag.NewFlagSet("loadgen calibrate", flag.ContinueOnError)
	f.StringVar(&url, "sglang", "http://127.0.0.1:30000", "`URL` of the running SGLang")
	f.StringVar(&keyFile, "sglang-key-file", "", "`file` with SGLang's API key")
	f.StringVar(&out, "out", "profile.json", "`file` to write")
	f.StringVar(&o.Name, "name", "calibrated", "the profile's name")
	f.IntVar(&o.Repeats, "repeats", 3, "calls of each shape")
	f.IntVar(&o.Tokens, "tokens", 2048, "tokens of the longest prompt: that of the load to be simulated")
	f.IntVar(&o.VocabSize, "vocab-size", 0, "token ids the model knows; 0 takes the server's, or the model's config.json")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the prompts and their order")
	err := parseFlags(f, args, calibrateUsage, w)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return inputError{err}
	case f.NArg() > 0:
		return inputError{fmt.Errorf("unexpected argument %q: flags only, see calibrate -h", f.Arg(0))}
	case o.Repeats < 1:
		return inputError{fmt.Errorf("-repeats: must be at least 1, got %d", o.Repeats)}
	case o.Tokens < 128:
		return inputError{fmt.Errorf("-tokens: must be at least 128, got %d", o.Tokens)}
	}
	key, err := readKey(keyFile)
	if err != nil {
		return inputError{fmt.Errorf("-sglang-key-file: %w", err)}
	}
	client, err := sglang.NewClient(url, sglang.Options{APIKey: key})
	if err != nil {
		return inputError{fmt.Errorf("-sglang: %w", err)}
	}
	defer client.CloseIdle()
	o.Progress = func(done, all int) {
		if done%10 == 0 || done == all {
			_, _ = fmt.Fprintf(os.Stderr, "%d of %d calls\n", done, all)
		}
	}
	r, err := calibrate.Run(ctx, client, o)
	if err != nil {
		return orInterrupted(ctx, err)
	}
	data, err := json.MarshalIndent(r.Profile, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, append(data, '\n'), 0o600); err != nil {
		return inputError{fmt.Errorf("-out: %w", err)}
	}
	p := r.Profile
	_, err = fmt.Fprintf(w, `%d calls of %s on %s, one at a time, fitted:
  call      %8.3f ms + %.3f ms a prompt + %.3f us a byte of text   off by %s
  forward   %8.3f ms + %.3f ms a prompt + %.3f us a new token + %.3f ns a prompt's tokens squared   off by %s
  a whole call is off by %s
  with two callers a forward takes %.2f s longer for each second of the front end's   off by %s
written to %s
`, r.Calls, p.Model, strings.TrimSuffix(p.Device, " (simulated)"), 1e3*p.CallSeconds, 1e3*p.RequestSeconds, 1e6*p.TokenizeSecondsPerByte, told(r.Rest),
		1e3*p.ForwardSeconds, 1e3*p.SequenceSeconds, 1e6*p.TokenSeconds, 1e9*p.AttentionSeconds, told(r.Busy), told(r.Whole), p.Contention, told(r.Contended), out)
	return err
}

func told(e calibrate.Errors) string {
	return fmt.Sprintf("%.0f %% on average, %.0f %% at the 90th percentile, %.0f %% at the worst", 100*e.Mean, 100*e.P90, 100*e.Worst)
}
