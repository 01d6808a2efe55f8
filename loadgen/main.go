// Command loadgen replays agent trajectories through a batching proxy and
// reports the throughput at each batch setting.
//
// Without arguments it needs nothing: it starts a simulated SGLang and a proxy
// in this process, with real gRPC and HTTP on loopback between them.
//
// Read it in the order of its work: options.go and arrival.go (flags), load.go, mix.go
// and recorded.go (trajectories and traces to prompts), stack.go (proxy, server,
// simulator), run.go (the sweep and its report), record.go (what survives a crash),
// coordinate.go and member.go (one load from several processes), line.go (the live line).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

// Exit statuses.
const (
	exitOK          = 0
	exitFailed      = 1   // a server away, a request failed
	exitBadInput    = 2   // a flag or a file
	exitThreshold   = 3   // a condition of -fail-if holds
	exitInterrupted = 130 // 128 + SIGINT, as shells count
)

// inputError is an error in what the user gave: a flag or a file.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "calibrate":
			ctx, stop := untilSignal()
			defer stop()
			return fail(runCalibrate(ctx, args[1:], os.Stdout))
		case "check":
			return fail(runCheck(args[1:], os.Stdin, os.Stdout))
		case "describe":
			return fail(runDescribe(args[1:], os.Stdout))
		case "report":
			return fail(runReport(args[1:], os.Stdout))
		case "schema":
			return fail(runSchema(args[1:], os.Stdout))
		case "compare":
			return fail(runCompare(args[1:], os.Stdout))
		case "merge":
			return fail(runMerge(args[1:], os.Stdout))
		case "coordinate":
			ctx, stop := untilSignal()
			defer stop()
			return fail(runCoordinate(ctx, args[1:], os.Stdout))
		case "simulate":
			ctx, stop := untilSignal()
			defer stop()
			return fail(runSimulate(ctx, args[1:], os.Stdout))
		}
	}
	o, err := parseOptions(args, os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return fail(inputError{err})
	}
	ctx, stop := untilSignal()
	defer stop()
	return fail(execute(ctx, o))
}

// doubled is how soon the same signal may come twice for one wish: timeout(1) and
// others send it to the process and to its group.
const doubled = 100 * time.Millisecond

// untilSignal is a context that ends at the first signal. A second one ends the
// process at once, also where signals were ignored when it began, as in a shell's
// background.
func untilSignal() (context.Context, context.CancelFunc) {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, ends...)
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	go func() { // until the process ends
		<-signals
		time.Sleep(doubled)
		for len(signals) > 0 {
			<-signals
		}
		if term.IsTerminal(int(os.Stderr.Fd())) {
			_, _ = fmt.Fprintln(os.Stderr) // after what is left of the live line, and ^C
		}
		_, _ = fmt.Fprintln(os.Stderr, "stopping (once more ends at once)")
		<-signals
		os.Exit(exitInterrupted)
	}()
	return ctx, stop
}

// fail prints an error in one line and returns the exit status that fits it.
func fail(err error) int {
	if err == nil {
		return exitOK
	}
	var bad inputError
	switch {
	case errors.As(err, &bad):
		tell(err)
		return exitBadInput
	case errors.Is(err, errThreshold):
		tell(err)
		return exitThreshold
	case errors.Is(err, errInterrupted):
		tell(err)
		return exitInterrupted
	}
	tell(err)
	return exitFailed
}

func tell(err error) {
	_, _ = fmt.Fprintln(os.Stderr, "loadgen:", err) // nowhere else to say so
}
