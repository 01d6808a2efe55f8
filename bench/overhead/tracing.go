package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"paceline/loadgen/stats"
)

// tracingMode is a configuration of tracing, with a collector.
type tracingMode struct {
	name      string
	collector string   // path at the upstream, or dead; empty: no traces
	sampler   []string // environment
	arguments []string // of the role proxy
}

// tracingModes has all modes. The others are compared with the first.
var tracingModes = []tracingMode{
	{"off", "", nil, nil},
	{"bare", "", nil, []string{"-bare"}}, // no metrics either
	{"1%", "/fast", []string{"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01"}, nil},
	{"100%", "/fast", nil, nil},
	{"100%-links", "/fast", nil, []string{"-trace-detail", "links"}},
	{"100%-dead", "dead", nil, nil},
	{"100%-slow", "/slow", nil, nil},
	{"100%-refusing", "/refusing", nil, nil},
}

// collectors adds collectors to the upstream: one takes spans at once, one takes a
// minute, and one refuses them.
func collectors(mux *http.ServeMux) {
	read := func(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	mux.HandleFunc("/fast/v1/traces", func(_ http.ResponseWriter, r *http.Request) { read(r) })
	mux.HandleFunc("/slow/v1/traces", func(_ http.ResponseWriter, r *http.Request) {
		read(r)
		select {
		case <-time.After(time.Minute):
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/refusing/v1/traces", func(w http.ResponseWriter, r *http.Request) {
		read(r)
		http.Error(w, "refused", http.StatusServiceUnavailable)
	})
}

// selectModes returns the first mode and those with the given names, which are separated by
// commas. Without names it returns all.
func selectModes(names string) ([]tracingMode, error) {
	if names == "" {
		return tracingModes, nil
	}
	modes := tracingModes[:1:1]
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(tracingModes, func(m tracingMode) bool { return m.name == name })
		switch {
		case i < 0:
			return nil, fmt.Errorf("-modes: there is no %q", name)
		case i > 0:
			modes = append(modes, tracingModes[i])
		}
	}
	return modes, nil
}

// tracedProxy is a proxy under measurement.
type tracedProxy struct {
	tracingMode
	*child
	before  time.Duration // CPU time when the load began
	results []result      // by round
	memory  float64       // max resident size in MiB
}

// measureTracing measures the CPU time that a request costs the proxy, for each mode. It
// prints lines for benchstat, and ratios to the first mode. Many short rounds show smaller
// differences than few long ones, because the machine's speed changes from minute to
// minute: -time 400ms -repeats 100.
func measureTracing(parent context.Context, o options) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	modes, err := selectModes(o.modes)
	if err != nil {
		return err
	}
	up, err := start(ctx, o, "upstream")
	if err != nil {
		return err
	}
	proxies := make([]*tracedProxy, len(modes))
	for i, m := range modes {
		if proxies[i], err = startTraced(ctx, o, m, up.addr); err != nil {
			return err
		}
	}
	prompt := source(o.bytes)
	for range o.repeats {
		for _, i := range rand.Perm(len(proxies)) { // a mode must not always follow the same one
			if err := proxies[i].round(ctx, o, prompt); err != nil {
				return fmt.Errorf("%s: %w", proxies[i].name, err)
			}
		}
	}
	return reportTracing(proxies)
}

func startTraced(ctx context.Context, o options, m tracingMode, upstream string) (*tracedProxy, error) {
	switch m.collector {
	case "":
	case "dead":
		o.env = append(o.env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1")
	default:
		o.env = append(o.env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+upstream+m.collector)
	}
	o.env = append(o.env, m.sampler...)
	c, err := start(ctx, o, "proxy", slices.Concat(m.arguments, []string{"-upstream", "http://" + upstream})...)
	if err != nil {
		return nil, err
	}
	before, err := c.cpu()
	return &tracedProxy{tracingMode: m, child: c, before: before}, err
}

func (p *tracedProxy) round(ctx context.Context, o options, prompt string) error {
	r, err := once(ctx, p.child, kinds[0], o, prompt)
	if err != nil {
		return err
	}
	rss, err := p.resident()
	if err != nil {
		return err
	}
	p.results, p.memory = append(p.results, r), max(p.memory, mib(rss))
	fmt.Printf("BenchmarkPrefill/tracing=%s 1 %d cpu-ns/request %.0f requests/s\n", p.name, r.cpu.Nanoseconds(), r.rate)
	return nil
}

// perRequest returns the CPU time of a request in seconds over all rounds, exports between
// them included.
func (p *tracedProxy) perRequest() (float64, error) {
	cpu, err := p.cpu()
	var served int64
	for _, r := range p.results {
		served += r.all
	}
	return (cpu - p.before).Seconds() / float64(served), err
}

func reportTracing(proxies []*tracedProxy) error {
	base := proxies[0]
	baseTotal, err := base.perRequest()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stderr, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "tracing\tCPU a request / %[1]s\tmedian, 95 %%\tof all rounds\trequests/s / %[1]s\tmost MiB resident\n", base.name)
	for _, p := range proxies {
		total, err := p.perRequest()
		if err != nil {
			return err
		}
		byRound := quotients(p.results, base.results, func(r result) float64 { return float64(r.cpu) })
		interval := "too few"
		if low, high, ok := stats.MedianInterval(byRound, .95); ok {
			interval = fmt.Sprintf("%.3f (%.3f – %.3f)", stats.Median(byRound), low, high)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%.3f\t%s\t%.0f\n", p.name, spread(byRound, "%.2f"), interval, total/baseTotal,
			ratios(p.results, base.results, func(r result) float64 { return r.rate }), p.memory)
	}
	return w.Flush()
}
