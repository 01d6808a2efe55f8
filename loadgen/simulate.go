package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"paceline/sglang/sim"
)

const simulateUsage = `loadgen simulate serves a simulated SGLang over SGLang's own HTTP, until Ctrl-C or
SIGTERM: what a proxy is tried with where no GPU is.

  go run ./loadgen simulate -listen 127.0.0.1:30000
  go run ./proxy

It keeps the times of its profile and computes no model; /server_info says so.
Like SGLang it answers nothing that is still being read when it is stopped.

Flags:
`

// runSimulate is the subcommand simulate.
func runSimulate(ctx context.Context, args []string, w io.Writer) error {
	var listen, profile string
	var speed float64
	f := flag.NewFlagSet("loadgen simulate", flag.ContinueOnError)
	f.StringVar(&listen, "listen", "127.0.0.1:30000", "`host:port` to serve; SGLang's own default")
	f.StringVar(&profile, "sim-profile", defaultProfile, "`name` or JSON file of the profile")
	f.Float64Var(&speed, "sim-speed", 1, "simulated seconds in a real one")
	err := parseFlags(f, args, simulateUsage, w)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return inputError{err}
	case f.NArg() > 0:
		return inputError{fmt.Errorf("unexpected argument %q: flags only, see simulate -h", f.Arg(0))}
	case !(speed > 0):
		return inputError{fmt.Errorf("-sim-speed: must be above 0, got %v", speed)}
	}
	p, err := simProfile(profile)
	if err != nil {
		return inputError{fmt.Errorf("-sim-profile: %w", err)}
	}
	simulator, err := sim.New(sim.Options{Profile: p, Speed: speed})
	if err != nil {
		return inputError{fmt.Errorf("-sim-profile, -sim-speed: %w", err)}
	}
	url, err := simulator.Listen(listen)
	if err != nil {
		return errors.Join(fmt.Errorf("-listen: %w", err), simulator.Close())
	}
	_, err = fmt.Fprintf(w, "simulating SGLang at %s: %s, %s\n", url, p.Model, p.Device)
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, simulator.Close())
}
