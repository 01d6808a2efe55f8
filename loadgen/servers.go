package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"paceline/loadgen/calibrate"
	"paceline/sglang"
	"paceline/sglang/sim"
)

// simulateCommand serves a simulated SGLang.
var simulateCommand = subcommand{
	stops: true,
	define: func(f *flagSet) runner {
		var listen, profile string
		var speed float64
		define(f, &listen, "127.0.0.1:30000", "listen", "`host:port` to serve; SGLang's own default")
		define(f, &profile, defaultProfile, "sim-profile", "`name` or JSON file of the profile")
		define(f, &speed, 1, "sim-speed", "simulated seconds in a real one")
		return func(ctx context.Context, _ []string, _ io.Reader, out io.Writer) error {
			simulator, p, err := newSimulator(profile, speed)
			if err != nil {
				return inputError{err}
			}
			url, err := simulator.Listen(listen)
			if err != nil {
				return errors.Join(fmt.Errorf("-listen: %w", err), simulator.Close())
			}
			_, err = fmt.Fprintf(out, "simulating SGLang at %s: %s, %s\n", url, p.Model, p.Device)
			if err == nil {
				<-ctx.Done()
			}
			return errors.Join(err, simulator.Close())
		}
	},
}

// newSimulator makes a simulator with the profile of a name or a file. An error names a flag.
func newSimulator(profile string, speed float64) (*sim.Server, sim.Profile, error) {
	find := sim.ProfileNamed
	if strings.ContainsAny(profile, `/\`) || strings.HasSuffix(profile, ".json") {
		find = sim.ReadProfile
	}
	p, err := find(profile)
	if err != nil {
		return nil, p, fmt.Errorf("-sim-profile: %w", err)
	}
	if !(speed > 0) {
		return nil, p, fmt.Errorf("-sim-speed: must be above 0, got %v", speed)
	}
	simulator, err := sim.New(sim.Options{Profile: p, Speed: speed})
	if err != nil {
		return nil, p, fmt.Errorf("-sim-profile, -sim-speed: %w", err)
	}
	return simulator, p, nil
}

// calibrateCommand fits the simulator to a server.
var calibrateCommand = subcommand{
	stops: true,
	define: func(f *flagSet) runner {
		o := calibrate.Options{Speed: 1}
		var url, keyFile, path string
		define(f, &url, "http://127.0.0.1:30000", "sglang", "`URL` of the running SGLang")
		define(f, &keyFile, "", "sglang-key-file", "`file` with SGLang's API key")
		define(f, &path, "profile.json", "out", "`file` to write")
		define(f, &o.Name, "calibrated", "name", "the profile's name")
		define(f, &o.Repeats, 3, "repeats", "calls of each shape")
		define(f, &o.Tokens, 2048, "tokens", "tokens of the longest prompt: that of the load to be simulated")
		define(f, &o.VocabSize, 0, "vocab-size", "token ids the model knows; 0 takes the server's, or the model's config.json")
		define(f, &o.Seed, 1, "seed", "seed of the prompts and their order")
		return func(ctx context.Context, _ []string, _ io.Reader, out io.Writer) error {
			switch {
			case o.Repeats < 1:
				return inputError{fmt.Errorf("-repeats: must be at least 1, got %d", o.Repeats)}
			case o.Tokens < 128:
				return inputError{fmt.Errorf("-tokens: must be at least 128, got %d", o.Tokens)}
			}
			client, err := newClient(url, keyFile, nil)
			if err != nil {
				return inputError{err}
			}
			defer client.CloseIdle()
			return runCalibration(ctx, client, o, path, out)
		}
	},
}

func runCalibration(ctx context.Context, client *sglang.Client, o calibrate.Options, path string, out io.Writer) error {
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
	if err := os.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return inputError{fmt.Errorf("-out: %w", err)}
	}
	_, err = fmt.Fprintf(out, "%swritten to %s\n", r, path)
	return err
}
