// Package command is the command line of loadgen, which replays agent trajectories through a
// batching proxy and reports the throughput at each batch setting.
//
// Without arguments it needs nothing: it starts a simulated SGLang and a proxy in this process, in
// virtual time (bubble.go), with gRPC and HTTP in memory between them.
//
// This package parses flags and wires. Read options.go (the flags), then run.go (one sweep from
// its prompts to its report); stack.go starts or reaches the proxy and the server. The other
// files are the subcommands; find is a sweep with an objective. The work is in packages: trajectory and prompt → load → sweep,
// which sends through target → journal → report.
package command

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"

	"paceline/loadgen/cli"
	"paceline/proxy/version"
)

// Exit statuses.
const (
	exitOK          = 0
	exitFailed      = 1   // a server is away, a request failed
	exitBadInput    = 2   // a flag or a file
	exitThreshold   = 3   // a condition of -fail-if holds, or no setting keeps the objective of find
	exitImpossible  = 4   // what is reported can't be true
	exitDisturbed   = 5   // the machine was too busy to measure on
	exitInterrupted = 130 // 128 + SIGINT, as shells count
)

// inputError is an error in what the user gave: a flag or a file.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

// Main runs loadgen with the arguments after its name, and returns its exit status.
func Main(args []string) int {
	if len(args) > 0 {
		if c, ok := subcommands[args[0]]; ok {
			ctx := context.Background()
			if c.stops {
				var stop context.CancelFunc
				ctx, stop = untilSignal()
				defer stop()
			}
			return fail(c.run(ctx, args[0], args[1:], os.Stdin, os.Stdout))
		}
	}
	parse := parseOptions
	if len(args) > 0 && args[0] == "find" {
		parse, args = parseFind, args[1:]
	}
	o, err := parse(args, os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return fail(inputError{err})
	case o.version:
		fmt.Println("loadgen", version.Full())
		return exitOK
	}
	ctx, stop := untilSignal()
	defer stop()
	out, err := execute(ctx, o)
	if err == nil && o.plain {
		err = executeSharedStates(ctx, o, filepath.Join(out, "states"))
	}
	return fail(err)
}

// subcommand is one subcommand of loadgen.
type subcommand struct {
	args    string // the arguments after the flags, for errors; empty: none
	maxArgs int    // how many may be given; 0: any number above 0
	stops   bool   // it ends its work after a signal; others end at once

	// define defines the flags, and returns what runs the subcommand once they are set.
	define func(f *cli.FlagSet) runner
}

// runner runs a subcommand with the arguments after its flags. An error blames the input, unless
// it was wrapped by failed.
type runner func(ctx context.Context, args []string, in io.Reader, out io.Writer) error

var subcommands = map[string]subcommand{
	"calibrate": calibrateCommand,
	"check":     checkCommand,
	"compare":   compareCommand,
	"report":    reportCommand,
	"schema":    schemaCommand,
	"simulate":  simulateCommand,
}

func (c subcommand) run(ctx context.Context, name string, args []string, in io.Reader, out io.Writer) error {
	f := newFlagSet(name)
	r := c.define(f)
	switch err := f.Read(args, out); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return inputError{err}
	case c.args == "" && f.NArg() > 0:
		return inputError{fmt.Errorf("%s: unexpected argument %q: flags only, see -h", name, f.Arg(0))}
	case c.args != "" && (f.NArg() == 0 || c.maxArgs > 0 && f.NArg() != c.maxArgs):
		return inputError{fmt.Errorf("%s: must be given %s, got %d arguments", name, c.args, f.NArg())}
	}
	err := r(ctx, f.Args(), in, out)
	if err == nil || errors.As(err, new(failure)) {
		return err
	}
	return inputError{err}
}

// failure is an error of a subcommand that the input did not cause.
type failure struct{ error }

func (e failure) Unwrap() error { return e.error }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

//go:embed help
var helpFiles embed.FS

// newFlagSet returns a flag set whose help begins with help/NAME.txt.
func newFlagSet(name string) *cli.FlagSet {
	usage, _ := helpFiles.ReadFile("help/" + name + ".txt") // a test reads each
	return cli.New(name, string(usage))
}

// sameSignal is the time within which two signals count as one: timeout(1) and others send a
// signal to the process and to its group.
const sameSignal = 100 * time.Millisecond

// untilSignal returns a context that ends at the first signal. A second signal ends the process
// at once, even if the process started with signals ignored, as in the background of a shell.
func untilSignal() (context.Context, context.CancelFunc) {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, ends...)
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	go func() { // until the process ends
		<-signals
		time.Sleep(sameSignal)
		for len(signals) > 0 {
			<-signals
		}
		if term.IsTerminal(int(os.Stderr.Fd())) {
			_, _ = fmt.Fprintln(os.Stderr) // ends the live line and ^C
		}
		_, _ = fmt.Fprintln(os.Stderr, "stopping; a second signal ends at once")
		<-signals
		os.Exit(exitInterrupted)
	}()
	return ctx, stop
}

// fail prints an error on one line and returns its exit status.
func fail(err error) int {
	if err == nil {
		return exitOK
	}
	printError(err)
	switch {
	case errors.As(err, new(inputError)):
		return exitBadInput
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, errImpossible):
		return exitImpossible
	case errors.Is(err, errDisturbed):
		return exitDisturbed
	case errors.Is(err, errThreshold), errors.Is(err, errNotKept):
		return exitThreshold
	}
	return exitFailed
}

func printError(err error) {
	_, _ = fmt.Fprintln(os.Stderr, "loadgen:", err) // there is nowhere else to say so
}
