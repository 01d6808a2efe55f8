package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	pb "paceline/proto/paceline/v1"

	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
	"paceline/proxy/server"
	"paceline/sglang"
	"paceline/sglang/sim"
)

const (
	// readyPatience is how long a server may take to become ready once it has
	// been addressed: enough for a connection, not for loading a model.
	readyPatience = 10 * time.Second
	// stopPatience is how long the embedded proxy may take to end.
	stopPatience = 10 * time.Second
)

// stack is everything between the prompts and the model: what runs in this
// process and what is only spoken to.
type stack struct {
	proxy    *target.Proxy
	direct   *target.Direct // nil without -sglang
	counters sweep.Counters // nil where SGLang can't be reached from here
	status   *pb.GetStatusResponse
	tracing  *tracing

	closers []func() error
}

// Close ends it in the reverse order of its start.
func (s *stack) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	return errors.Join(errs...)
}

func (s *stack) onClose(f func() error) { s.closers = append(s.closers, f) }

// buildStack starts and connects what the flags ask for, and waits until it is
// ready. On an error nothing is left running.
func buildStack(ctx context.Context, o options, t *tracing, log *slog.Logger) (*stack, error) {
	s := &stack{tracing: t}
	if err := s.build(ctx, o, log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *stack) build(ctx context.Context, o options, log *slog.Logger) error {
	upstream, err := s.server(ctx, o)
	if err != nil {
		return err
	}
	addr, admin := o.target, o.targetAdmin
	if o.target == "" {
		if addr, admin, err = s.startProxy(upstream, o, log); err != nil {
			return err
		}
	}
	if s.proxy, err = target.DialProxy(addr, admin, o.access); err != nil {
		return inputError{err}
	}
	s.onClose(s.proxy.Close)
	s.proxy.MaxNewTokens, s.proxy.Tracer = uint32(o.maxNewTokens), s.tracing.client()
	if o.sglangLog != "" {
		s.counters = withLog(s.counters, o.sglangLog)
	}
	if admin == "" { // the coordinator knows
		return nil
	}
	s.status, err = awaitReady(ctx, s.proxy, admin)
	return err
}

// server starts the simulator, or checks the SGLang of -sglang, and returns its
// URL; "" when only a proxy is given.
func (s *stack) server(ctx context.Context, o options) (string, error) {
	if o.simulated() {
		return s.startSimulator(o)
	}
	if o.sglang == "" {
		return "", nil
	}
	key, err := readKey(o.sglangKeyFile)
	if err != nil {
		return "", inputError{err}
	}
	client, err := sglang.NewClient(o.sglang, sglang.Options{APIKey: key, Header: s.tracing.client().Header})
	if err != nil {
		return "", inputError{fmt.Errorf("-sglang: %w", err)}
	}
	s.onClose(func() error { client.CloseIdle(); return nil })
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	if err := client.Ready(ctx); err != nil {
		return "", fmt.Errorf("-sglang: no SGLang is ready at %s: %w", client.URL(), err)
	}
	s.counters = sweep.ServerCounters{Client: client}
	s.direct = &target.Direct{Client: client, MaxNewTokens: int(o.maxNewTokens), Tracer: s.tracing.client()}
	return client.URL(), nil
}

func (s *stack) startSimulator(o options) (string, error) {
	profile, err := simProfile(o.simProfile)
	if err != nil {
		return "", inputError{fmt.Errorf("-sim-profile: %w", err)}
	}
	simulator, err := sim.New(sim.Options{Profile: profile, Speed: o.simSpeed})
	if err != nil {
		return "", inputError{fmt.Errorf("-sim-profile: %w", err)}
	}
	s.onClose(simulator.Close)
	url, err := simulator.Listen("127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("start the simulator: %w", err)
	}
	client, err := sglang.NewClient(url, sglang.Options{})
	if err != nil {
		return "", err
	}
	s.onClose(func() error { client.CloseIdle(); return nil })
	s.counters = sweep.ServerCounters{Client: client}
	return url, nil
}

// simProfile finds a profile by name, or reads it from a file.
func simProfile(name string) (sim.Profile, error) {
	if strings.ContainsAny(name, `/\`) || strings.HasSuffix(name, ".json") {
		return sim.ReadProfile(name)
	}
	return sim.ProfileNamed(name)
}

// startProxy runs a proxy in this process, on loopback ports of the system's
// choice, and returns its data and admin addresses.
func (s *stack) startProxy(upstream string, o options, log *slog.Logger) (addr, admin string, err error) {
	key, err := readKey(o.sglangKeyFile)
	if err != nil {
		return "", "", inputError{err}
	}
	cfg := server.DefaultConfig()
	cfg.Upstream.URL, cfg.Upstream.Key = upstream, key
	cfg.Listen, cfg.HTTP, cfg.Admin, cfg.Metrics = "127.0.0.1:0", "", "127.0.0.1:0", ""
	cfg.Upstream.Tokenizer = o.tokenizer
	cfg.DrainTimeout = stopPatience
	cfg.TracerProvider, cfg.Propagator = s.tracing.ofProxy.Provider, s.tracing.ofProxy.Propagator
	cfg.Logger = log.With("part", "proxy")
	cfg.Version = version()
	proxy, err := server.New(cfg)
	var wrong *server.ConfigError
	if errors.As(err, &wrong) {
		return "", "", inputError{fmt.Errorf("-%w", wrong)}
	}
	if err != nil {
		return "", "", fmt.Errorf("start the proxy: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(ctx) }()
	s.onClose(func() error { stop(); return <-ended })
	return proxy.Addr(), proxy.AdminAddr(), nil
}

// withLog adds the account of SGLang's log to another, which may be nil.
func withLog(c sweep.Counters, path string) sweep.Counters {
	all := sweep.AllCounters{sweep.LogCounters{Path: path}}
	if c != nil {
		all = append(all, c)
	}
	return all
}

// awaitReady waits until a proxy says that it would serve, and answers its status.
func awaitReady(ctx context.Context, proxy *target.Proxy, admin string) (*pb.GetStatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for {
		status, err := proxy.Status(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return nil, fmt.Errorf("no proxy answers at its admin address %s: %w", admin, err)
		case err == nil && status.GetReady():
			return status, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("the proxy is not ready: %s", status.GetNotReadyReason())
		}
	}
}

// readKey reads an API key from a file; no file, no key.
func readKey(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("-sglang-key-file: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
