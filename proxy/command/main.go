// Package command is the command line of the proxy, a gRPC batching proxy in front of an SGLang
// server: it collects prefill requests into batches, forwards each as one list and hands every
// caller its own answer.
//
// Package server does the work. This package has the flags (flags.go) and their sources
// (sources.go), signals and exit codes (this file), and the subcommands that call a
// running proxy (admin.go).
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"go.opentelemetry.io/otel"

	"paceline/proxy/server"
	"paceline/proxy/telemetry"
	"paceline/proxy/version"
)

// Exit codes.
const (
	exitOK       = 0
	exitFailed   = 1 // an address can't be bound, or requests were cut
	exitBadInput = 2 // a flag is wrong
)

// gcPercent is GOGC, unless the environment sets that. A proxy holds a few MiB and makes
// much garbage: 400 takes 15 % less CPU time a request than Go's default of 100, and some
// 25 MiB more (bench/overhead).
const gcPercent = 400

// memoryLimit returns GOMEMLIMIT, unless the environment sets that: what queue_bytes lets
// wait, a quarter more, and enough for all else. Beyond it the collector runs more often.
func memoryLimit(queueBytes int64) int64 { return queueBytes + queueBytes/4 + 96<<20 }

// Main runs the proxy with the arguments after its name, and returns its exit code. It owns the
// process's signals from then on.
func Main(args []string) int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	return run(args, os.Environ(), os.Stdout, os.Stderr, signals)
}

// run runs the program and returns its exit code. The first signal drains, or ends a start at
// once, the second ends at once, and SIGHUP reads the settings again.
func run(args, environ []string, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	if len(args) > 0 {
		if c, ok := adminCommands[args[0]]; ok {
			ctx, stop := untilSignal(signals)
			defer stop()
			return c.run(ctx, args[0], args[1:], environ, stdout, stderr)
		}
	}
	started := make(chan *start, 1)
	go func() { started <- begin(args, environ, stdout, stderr) }()
	again := false // SIGHUP came
	for {
		select {
		case s := <-signals:
			if again = again || s == syscall.SIGHUP; s != syscall.SIGHUP {
				return exitOK // nothing was accepted, and a file may hang
			}
		case s := <-started:
			if s.proxy == nil {
				return s.code
			}
			defer s.tracing.End(s.options.config.Logger)
			reload := func() {
				next, err := parseOptions(args, environ, io.Discard)
				s.options.reload(s.proxy, next, err)
			}
			return serve(s.proxy, s.options.config.Logger, signals, again, reload)
		}
	}
}

// start is a proxy that is ready to serve, or the exit code where there is none.
type start struct {
	proxy   *server.Server
	options *options
	tracing *telemetry.Tracing
	code    int
}

// begin reads the settings and makes the proxy of them.
func begin(args, environ []string, stdout, stderr io.Writer) *start {
	o, err := parseOptions(args, environ, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return &start{code: exitOK}
	case err != nil:
		fmt.Fprintln(stderr, "proxy:", err) //nolint:errcheck // nowhere else to tell
		return &start{code: exitBadInput}
	case o.version:
		fmt.Fprintln(stdout, "proxy", version.Full()) //nolint:errcheck // as above
		return &start{code: exitOK}
	case o.print:
		if err := printConfig(stdout, o.set, o.from); err != nil {
			fmt.Fprintln(stderr, "proxy:", err) //nolint:errcheck // as above
			return &start{code: exitFailed}
		}
		return &start{code: exitOK}
	}
	o.config.Logger = o.logger(stderr)
	o.config.Version, o.config.Sources = version.Short(), o.from
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(o.config.Settings.QueueBytes))
	}
	tracing, err := startTracing(o)
	if err != nil {
		fmt.Fprintln(stderr, "proxy:", err) //nolint:errcheck // as above
		return &start{code: exitBadInput}
	}
	proxy, err := server.New(o.config)
	if err != nil {
		fmt.Fprintln(stderr, "proxy:", err) //nolint:errcheck // as above
		tracing.End(o.config.Logger)
		return &start{code: exitFailed}
	}
	return &start{proxy: proxy, options: o, tracing: tracing}
}

// untilSignal returns a context that ends at the first signal. SIGHUP ends it too,
// because there is nothing to read again.
func untilSignal(signals <-chan os.Signal) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		defer stop()
		select {
		case <-signals:
		case <-ctx.Done():
		}
	}()
	return ctx, stop
}

// startTracing reads the OTEL_* variables.
func startTracing(o *options) (*telemetry.Tracing, error) {
	log := telemetry.Quiet(o.config.Logger)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces", "error", err) }))
	tracing, err := telemetry.Start(context.Background(), telemetry.Defaults{Service: "paceline", Version: o.config.Version})
	if err != nil {
		return nil, err
	}
	o.config.TracerProvider, o.config.Propagator = tracing.Provider, tracing.Propagator
	if tracing.Provider != nil {
		o.config.Spans = tracing.Spans
	}
	if tracing.Exporter != "" {
		log.Info("tracing", "exporter", tracing.Exporter, "sampler", tracing.Sampler)
	}
	return tracing, nil
}

// reload puts settings in force that were read again, unless they have an error.
func (o *options) reload(proxy *server.Server, next *options, err error) {
	if err == nil {
		err = apply(proxy, o, next)
	}
	if err != nil {
		o.config.Logger.Error("the settings could not be read again and stay as they were", "error", err)
		return
	}
	o.set = next.set
}

// apply changes the settings that differ from before and can change while the proxy
// serves. It logs those that can't.
func apply(proxy *server.Server, before, next *options) error {
	var live, later []string
	for _, name := range changed(before.set, next.set) {
		if server.IsLive(name) {
			live = append(live, name)
		} else {
			later = append(later, name)
		}
	}
	var changes []string
	if len(live) > 0 {
		var err error
		if changes, err = proxy.UpdateSettings(next.config.Settings, live, next.from); err != nil {
			return err
		}
	}
	log := before.config.Logger
	log.Info("settings read again", "by", "SIGHUP", "changed", changes)
	if len(later) > 0 {
		log.Warn("these settings change only at the next start", "settings", later)
	}
	return nil
}

// serve runs the proxy until it ends. At SIGHUP, or first of all if again, it calls reload
// on another goroutine, because a file may hang.
func serve(proxy *server.Server, log *slog.Logger, signals <-chan os.Signal, again bool, reload func()) int {
	ctx, drain := context.WithCancel(context.Background())
	defer drain()
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(ctx) }()
	reloads := make(chan struct{}, 1) // a signal during a reload asks for another
	defer close(reloads)
	go func() {
		for range reloads {
			reload()
		}
	}()
	if again {
		reloads <- struct{}{}
	}
	for {
		select {
		case err := <-ended:
			if err != nil {
				log.Error("stopped", "error", err)
				return exitFailed
			}
			log.Info("stopped")
			return exitOK
		case s := <-signals:
			if s == syscall.SIGHUP {
				select {
				case reloads <- struct{}{}:
				default:
				}
				continue
			}
			if ctx.Err() != nil {
				log.Error("stopped at once", "signal", s.String(), "requests_cut", proxy.Pending())
				return exitFailed
			}
			log.Info("stopping: no new requests, answering what was accepted; a second signal ends at once",
				"signal", s.String(), "pending", proxy.Pending())
			drain()
		}
	}
}
