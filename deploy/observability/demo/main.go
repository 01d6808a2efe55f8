// Command demo starts a real Jaeger, sends a short load through a proxy with every
// request traced, and prints the tree of a batch and the addresses of its traces.
//
//	go run ./deploy/observability/demo                                 simulated SGLang
//	go run ./deploy/observability/demo -sglang http://127.0.0.1:30000  a running one
//
// Run it from the root of the repository. If a Jaeger answers at -page, it takes that one, and
// -otlp-http is where that one takes traces. Else the first run builds Jaeger from its Go module
// (about five minutes); -jaeger names another binary.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

type options struct {
	jaeger, sglang string
	addresses      addresses
	prompts        int
	exit           bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.jaeger, "jaeger", "", "`file` of a Jaeger 2 binary (default: built from its Go module, once)")
	flag.StringVar(&o.sglang, "sglang", "", "`URL` of a running SGLang (default: a simulator). "+
		"Started with --enable-trace --otlp-traces-endpoint 127.0.0.1:4317 it adds its own spans")
	flag.StringVar(&o.addresses.page, "page", "127.0.0.1:16686", "`host:port` of Jaeger's page and API")
	flag.StringVar(&o.addresses.grpc, "otlp-grpc", "127.0.0.1:4317", "`host:port` where Jaeger takes OTLP over gRPC")
	flag.StringVar(&o.addresses.http, "otlp-http", "127.0.0.1:4318", "`host:port` where Jaeger takes OTLP over HTTP")
	flag.IntVar(&o.prompts, "n", 64, "prompts to send at each setting")
	flag.BoolVar(&o.exit, "exit", false, "end after the load, and Jaeger too, not only at Ctrl-C")
	flag.Parse()
	if err := run(ctx, o, os.Stdout); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

func run(ctx context.Context, o options, w io.Writer) error {
	j := &jaeger{addresses: o.addresses}
	if j.answers(ctx) {
		printf(w, "a Jaeger runs at %s: it gets the traces\n", j.url())
	} else {
		binary, err := jaegerBinary(ctx, o.jaeger, w)
		if err != nil {
			return err
		}
		if j, err = startJaeger(ctx, binary, o.addresses); err != nil {
			return err
		}
		defer j.stop()
	}
	began := time.Now()
	if err := load(ctx, o, w); err != nil {
		return fmt.Errorf("the load: %w", err)
	}
	if err := show(ctx, j, began, w); err != nil {
		return err
	}
	if o.exit || j.cmd == nil {
		return nil
	}
	printf(w, "\nJaeger runs at %s until Ctrl-C.\n", j.url())
	if o.jaeger == "" {
		printf(w, "Built from its module it has an API and no page; the image jaegertracing/jaeger:2.13.0 has the page.\n")
	}
	<-ctx.Done()
	return nil
}

// load replays trajectories with every request traced.
func load(ctx context.Context, o options, w io.Writer) error {
	dir, err := os.MkdirTemp("", "paceline-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // leftovers are small, and in the temporary folder
	args := []string{"run", "./loadgen", "-n", fmt.Sprint(o.prompts), "-sizes", "16", "-auto=false", "-unbatched=false", "-repeats", "1",
		"-max-wait", "50ms", "-out", filepath.Join(dir, "report"), "-jaeger", "http://" + o.addresses.page}
	if o.sglang != "" {
		args = append(args, "-sglang", o.sglang, "-direct=false")
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "OTEL_TRACES_SAMPLER=always_on",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://"+o.addresses.http, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	return cmd.Run()
}

// show prints the largest batch and one of its requests.
func show(ctx context.Context, j *jaeger, since time.Time, w io.Writer) error {
	batches, err := j.settled(ctx, query{service: "paceline", operation: "batch.dispatch", since: since})
	if err != nil {
		return err
	}
	largest := slices.MaxFunc(batches, func(a, b []span) int { return cmp.Compare(len(a), len(b)) })
	root := rootOf(largest)
	printf(w, "\nThe trace of a batch: %s/trace/%s\n%s", j.url(), root.TraceID, tree(largest))
	if len(root.Links) == 0 {
		return nil
	}
	request, err := j.trace(ctx, root.Links[0].TraceID)
	if err != nil {
		return err
	}
	printf(w, "\nThe trace of one of its requests: %s/trace/%s\n%s", j.url(), root.Links[0].TraceID, tree(request))
	id, _ := root.attribute("batch.id")
	printf(w, "\nAll requests of that batch: search for service paceline and tag batch.id=%s\n", id)
	return nil
}

func printf(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format, args...) // nowhere else to report it
}
