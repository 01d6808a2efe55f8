// Command proxy is a gRPC batching proxy in front of an SGLang server: it
// collects prefill requests into batches, forwards each as one list and hands
// every caller its own answer.
//
// Package server is its body; here are only the flags (flags.go), signals and
// exit codes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"paceline/proxy/server"
)

// Exit codes.
const (
	exitOK       = 0
	exitFailed   = 1 // an address can't be bound, or requests were cut
	exitBadInput = 2 // a flag
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, signals))
}

// run is the whole program; the first signal drains, the second ends at once.
func run(args []string, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	o, err := parseOptions(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintln(stderr, "proxy:", err) //nolint:errcheck // nowhere else to tell
		return exitBadInput
	case o.version:
		fmt.Fprintln(stdout, "proxy", version()) //nolint:errcheck // as above
		return exitOK
	}
	o.config.Logger = o.logger(stderr)
	o.config.Version = version()
	proxy, err := server.New(o.config)
	if err != nil {
		fmt.Fprintln(stderr, "proxy:", err) //nolint:errcheck // as above
		return exitFailed
	}
	return serve(proxy, o.config.Logger, signals)
}

func serve(proxy *server.Server, log *slog.Logger, signals <-chan os.Signal) int {
	ctx, drain := context.WithCancel(context.Background())
	defer drain()
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(ctx) }()
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
