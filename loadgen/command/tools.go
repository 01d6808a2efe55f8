package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"paceline/loadgen/calibrate"
	"paceline/loadgen/cli"
	"paceline/sglang"
	"paceline/sglang/sim"
)

// simulateCommand serves a simulated SGLang.
var simulateCommand = subcommand{
	stops: true,
	define: func(f *cli.FlagSet) runner {
		var listen, profile, sglangVersion string
		cli.Define(f, &listen, "127.0.0.1:30000", "listen", "`host:port` to serve; the default is SGLang's own")
		cli.Define(f, &profile, defaultProfile, "sim-profile", "`name` or JSON file of the profile")
		cli.Define(f, &sglangVersion, "", "sglang-version",
			"`version` of SGLang to play, from 0.5.10 on, without what came later (default: 0.5.23)")
		return func(ctx context.Context, _ []string, _ io.Reader, out io.Writer) error {
			simulator, p, err := newSimulator(profile, sglangVersion)
			if err != nil {
				return err
			}
			url, err := simulator.Listen(listen)
			if err != nil {
				return failed(errors.Join(fmt.Errorf("-listen: %w", err), simulator.Close()))
			}
			_, err = fmt.Fprintf(out, "simulating SGLang at %s: %s, %s\n", url, p.Model, p.Device)
			if err == nil {
				<-ctx.Done()
			}
			return failed(errors.Join(err, simulator.Close()))
		}
	},
}

// newSimulator returns a simulator with a named profile or one from a file, of a version of SGLang ("": the newest). Its
// error names a flag.
func newSimulator(profile, version string) (*sim.Server, sim.Profile, error) {
	find := sim.ProfileNamed
	if strings.ContainsAny(profile, `/\`) || strings.HasSuffix(profile, ".json") {
		find = sim.ReadProfile
	}
	p, err := find(profile)
	if err != nil {
		return nil, p, fmt.Errorf("-sim-profile: %w", err)
	}
	simulator, err := sim.New(sim.Options{Profile: p, Version: version})
	if err != nil {
		return nil, p, fmt.Errorf("-sim-profile, -sglang-version: %w", err)
	}
	return simulator, p, nil
}

// calibrateCommand fits the simulator to a server.
var calibrateCommand = subcommand{
	stops: true,
	define: func(f *cli.FlagSet) runner {
		var o calibrate.Options
		var url, keyFile, path string
		cli.Define(f, &url, "http://127.0.0.1:30000", "sglang", "`URL` of the running SGLang")
		cli.Define(f, &keyFile, "", "sglang-key-file", "`file` with SGLang's API key")
		cli.Define(f, &path, "profile.json", "out", "`file` to write")
		cli.Define(f, &o.Name, "calibrated", "name", "the profile's name")
		cli.Define(f, &o.Repeats, 3, "repeats", "calls of each shape")
		cli.Define(f, &o.Tokens, 2048, "tokens", "tokens of the longest prompt; take that of the load to simulate")
		cli.Define(f, &o.VocabSize, 0, "vocab-size", "token ids that the model knows; 0 asks the server or reads the model's config.json")
		cli.Define(f, &o.Seed, 1, "seed", "seed of the prompts and their order")
		return func(ctx context.Context, _ []string, _ io.Reader, out io.Writer) error {
			switch {
			case o.Repeats < 1:
				return fmt.Errorf("-repeats: must be at least 1, got %d", o.Repeats)
			case o.Tokens < 128:
				return fmt.Errorf("-tokens: must be at least 128, got %d", o.Tokens)
			}
			client, err := newClient(url, keyFile, nil, nil)
			if err != nil {
				return err
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
		return failed(orInterrupted(ctx, err))
	}
	data, err := json.MarshalIndent(r.Profile, "", "  ")
	if err != nil {
		return failed(err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	_, err = fmt.Fprintf(out, "%swritten to %s\n", r, path)
	return failed(err)
}
