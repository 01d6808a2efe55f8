package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"

	"paceline/loadgen/report"
	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
	pb "paceline/proto/paceline/v1"
	"paceline/proxy/server"
	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
	"paceline/proxy/version"
	"paceline/sglang"
	"paceline/sglang/sim"
)

const (
	// readyTimeout bounds how long a server may take to become ready: enough for a connection,
	// not for loading a model.
	readyTimeout = 10 * time.Second
	// drainTimeout bounds how long the proxy in this process may take to drain.
	drainTimeout = 10 * time.Second

	tokenizerAuto = upstream.TokenizerAuto
)

// stack is everything between the prompts and the model: the servers in this process and the
// connections to others.
type stack struct {
	proxy    *target.Proxy
	direct   *target.Direct // nil with only a proxy
	through  target.Sender  // of the work, through the proxy
	straight target.Sender  // of the work, straight to SGLang; unused with only a proxy
	counters sweep.Counters
	tokenize func(string) []int32 // nil: texts are sent
	status   *pb.GetStatusResponse

	bubble  *bubble // nil: TCP
	closers []func() error
}

// Close stops everything in reverse order.
func (s *stack) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	return errors.Join(errs...)
}

func (s *stack) onClose(f func() error) { s.closers = append(s.closers, f) }

// buildStack starts and connects what the flags ask for and waits until it is ready. After an
// error nothing keeps running.
func buildStack(ctx context.Context, b *bubble, o options, t *tracing, log *slog.Logger) (*stack, error) {
	s := &stack{bubble: b, counters: sweep.Counters{Log: o.sglangLog}}
	if err := s.build(ctx, o, t, log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *stack) build(ctx context.Context, o options, t *tracing, log *slog.Logger) error {
	upstream, err := s.reachServer(ctx, o, t)
	if err != nil {
		return err
	}
	addr, admin, http := o.target, o.targetAdmin, strings.TrimSuffix(o.targetHTTP, "/")
	if o.target == "" {
		if addr, admin, http, err = s.startProxy(upstream, o, t, log); err != nil {
			return err
		}
	}
	o.access.Dial = s.bubble.dialer()
	if s.proxy, err = target.DialProxy(addr, admin, o.access); err != nil {
		return inputError{err}
	}
	s.onClose(s.proxy.Close)
	s.proxy.MaxNewTokens, s.proxy.Tracer, s.proxy.Tokenize = uint32(o.maxNewTokens), t.client(), s.tokenize
	if err := s.senders(upstream, http, o, t.client()); err != nil {
		return inputError{err}
	}
	s.status, err = awaitReady(ctx, s.proxy, admin)
	return err
}

// senders sets who sends the work. Its error names a flag.
func (s *stack) senders(sglangURL, proxyURL string, o options, tracer *target.Tracer) error {
	s.through, s.straight = s.proxy, s.direct
	if o.load.Work == target.Prefill {
		return nil
	}
	key, err := readKey(o.sglangKeyFile)
	if err != nil {
		return err
	}
	straight, _ := target.NewHTTP(sglangURL, target.Access{Dial: o.access.Dial}) // without files nothing can fail
	through, err := target.NewHTTP(proxyURL, o.access)
	if err != nil {
		return err
	}
	straight.Key, s.through, s.straight = key, through, straight
	for _, sender := range []*target.HTTP{through, straight} {
		sender.Work, sender.MaxNewTokens, sender.Tracer = o.load.Work, int(o.maxNewTokens), tracer
		s.onClose(func() error { sender.Client.CloseIdleConnections(); return nil })
	}
	return nil
}

// reachServer starts the simulator or checks the SGLang of -sglang, and returns its URL. The URL is
// empty if only a proxy is given.
func (s *stack) reachServer(ctx context.Context, o options, t *tracing) (string, error) {
	url := o.sglang
	if o.simulated() {
		simulator, profile, err := newSimulator(o.simProfile, "")
		if err != nil {
			return "", inputError{err}
		}
		s.onClose(simulator.Close)
		l, err := s.bubble.listen("127.0.0.1:0")
		if err != nil {
			return "", err
		}
		url = simulator.Serve(l)
		if o.simulatedIDs() {
			s.tokenize = func(text string) []int32 { return sim.Tokenize(text, profile.VocabSize) }
		}
	}
	if url == "" {
		return "", nil
	}
	client, err := newClient(url, o.sglangKeyFile, t.client().Header, s.bubble.dialer())
	if err != nil {
		return "", inputError{err}
	}
	s.onClose(func() error { client.CloseIdle(); return nil })
	s.counters.Client = client
	s.direct = &target.Direct{Client: client, MaxNewTokens: int(o.maxNewTokens), Tracer: t.client()}
	if o.simulated() {
		return url, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := client.Ready(ctx); err != nil {
		return "", fmt.Errorf("-sglang: no SGLang is ready at %s: %w", client.URL(), err)
	}
	return client.URL(), nil
}

// newClient returns a client of SGLang. Its error names a flag.
func newClient(url, keyFile string, header func(context.Context, http.Header), dial sglang.Dial) (*sglang.Client, error) {
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	client, err := sglang.NewClient(url, sglang.Options{APIKey: key, Header: header, Dial: dial})
	if err != nil {
		return nil, fmt.Errorf("-sglang: %w", err)
	}
	return client, nil
}

// readKey reads SGLang's API key from a file. An empty path means no key.
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

// startProxy runs a proxy in this process, on loopback ports that the system chooses. It returns
// the data and admin addresses, and the URL of its HTTP, which listens for works sent there. No other
// function of loadgen uses package server.
func (s *stack) startProxy(url string, o options, t *tracing, log *slog.Logger) (addr, admin, http string, err error) {
	cfg := server.DefaultConfig()
	if cfg.Upstream.Key, err = readKey(o.sglangKeyFile); err != nil {
		return "", "", "", inputError{err}
	}
	cfg.Upstream.URL, cfg.Upstream.Dial = url, s.bubble.dialer()
	if s.bubble != nil {
		cfg.Bind = s.bubble.listen
	}
	cfg.Listen, cfg.HTTP, cfg.Admin, cfg.Metrics = "127.0.0.1:0", "", "127.0.0.1:0", ""
	if o.load.Work != target.Prefill {
		cfg.HTTP = cfg.Listen
	}
	cfg.Upstream.Tokenizer, cfg.DrainTimeout = o.tokenizer, drainTimeout
	cfg.TracerProvider, cfg.Propagator = t.ofProxy.Provider, t.ofProxy.Propagator
	cfg.Logger, cfg.Version = log.With("part", "proxy"), version.Short()
	proxy, err := server.New(cfg)
	var wrong *server.ConfigError
	if errors.As(err, &wrong) {
		return "", "", "", inputError{fmt.Errorf("-%w", wrong)}
	}
	if err != nil {
		return "", "", "", fmt.Errorf("start the proxy: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(ctx) }()
	s.onClose(func() error { stop(); return <-ended })
	return proxy.Addr(), proxy.AdminAddr(), "http://" + proxy.HTTPAddr(), nil
}

// awaitReady waits until a proxy is ready and returns its status.
func awaitReady(ctx context.Context, proxy *target.Proxy, admin string) (*pb.GetStatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
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

// tracing exports the spans of the load generator and of the proxy in this process. The proxy
// follows the load generator's sampling. Both are off if no endpoint is set.
type tracing struct {
	own, ofProxy *telemetry.Tracing
}

// startTracing reads the OTEL_* variables. Its error names one.
func startTracing(ctx context.Context, log *slog.Logger) (*tracing, error) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("export traces", "error", err) }))
	own, err := telemetry.Start(ctx, telemetry.Defaults{
		Service: "paceline-loadgen", Version: version.Short(), Sampler: "parentbased_traceidratio",
		Ratio: "0.01", // enough to see slow requests, at next to no cost
	})
	if err != nil {
		return nil, err
	}
	ofProxy, err := telemetry.Start(ctx, telemetry.Defaults{Service: "paceline", Version: version.Short()})
	if err != nil {
		return nil, errors.Join(err, own.Shutdown(ctx))
	}
	return &tracing{own, ofProxy}, nil
}

// end exports the remaining spans.
func (t *tracing) end(log *slog.Logger) {
	t.ofProxy.End(log)
	t.own.End(log)
}

// client returns the tracer of requests; nil if nothing is traced.
func (t *tracing) client() *target.Tracer { return target.NewTracer(t.own.Provider, t.own.Propagator) }

// forReport describes tracing for the report; nil if nothing is traced.
func (t *tracing) forReport(jaeger string) *report.Tracing {
	if t.own.Provider == nil {
		return nil
	}
	return &report.Tracing{URL: strings.TrimSuffix(jaeger, "/") + "/trace/", Sampler: t.own.Sampler}
}
