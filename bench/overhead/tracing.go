package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"text/tabwriter"
	"time"
)

// tracingModes are proxies that differ in what they tell of their requests, and to
// whom. The first is the one that the others are compared with.
var tracingModes = []struct {
	name      string
	collector string // path of the sink's; empty: no traces
	sampler   []string
	more      []string
}{
	{"bare", "", nil, []string{"-bare"}}, // no metrics either
	{"off", "", nil, nil},
	{"1%", "/fast", []string{"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01"}, nil},
	{"100%", "/fast", nil, nil},
	{"100%-links", "/fast", nil, []string{"-trace-detail", "links"}},
	{"100%-dead", "dead", nil, nil},
	{"100%-slow", "/slow", nil, nil},
	{"100%-refusing", "/refusing", nil, nil},
}

// collectors adds sinks for spans to the upstream: one that takes them, one that
// takes a minute for that, and one that refuses them.
func collectors(mux *http.ServeMux) {
	take := func(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	mux.HandleFunc("/fast/v1/traces", func(_ http.ResponseWriter, r *http.Request) { take(r) })
	mux.HandleFunc("/slow/v1/traces", func(_ http.ResponseWriter, r *http.Request) {
		take(r)
		select {
		case <-time.After(time.Minute):
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/refusing/v1/traces", func(w http.ResponseWriter, r *http.Request) {
		take(r)
		http.Error(w, "refused", http.StatusServiceUnavailable)
	})
}

// measureTracing tells the CPU time that a request costs the proxy by how it is
// traced, as ratios and as lines for benchstat.
func measureTracing(parent context.Context, o options) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	up, err := start(ctx, o, "upstream")
	if err != nil {
		return err
	}
	proxies := make([]*child, len(tracingModes))
	for i, m := range tracingModes {
		with := o
		switch m.collector {
		case "":
		case "dead":
			with.env = append(with.env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1")
		default:
			with.env = append(with.env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+up.addr+m.collector)
		}
		with.env = append(with.env, m.sampler...)
		if proxies[i], err = start(ctx, with, "proxy", append(m.more, "-upstream", "http://"+up.addr)...); err != nil {
			return err
		}
	}
	prompt := source(o.bytes)
	results := make([][]result, len(tracingModes))
	memory := make([]float64, len(tracingModes))
	for range o.repeats {
		for _, i := range rand.Perm(len(tracingModes)) { // what was before leaves traces of another kind
			m := tracingModes[i]
			r, err := once(ctx, proxies[i], kinds[0], o, prompt)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			rss, _, err := proxies[i].resident()
			if err != nil {
				return err
			}
			results[i], memory[i] = append(results[i], r), max(memory[i], mib(rss))
			fmt.Printf("BenchmarkPrefill/tracing=%s 1 %d cpu-ns/request %.0f requests/s\n", m.name, r.cpu.Nanoseconds(), r.rate)
		}
	}
	w := tabwriter.NewWriter(os.Stderr, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "tracing\tCPU a request / bare\trequests/s / bare\tmost MiB resident\n")
	for i, m := range tracingModes {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%.0f\n", m.name,
			ratios(results[i], results[0], func(r result) float64 { return float64(r.cpu) }),
			ratios(results[i], results[0], func(r result) float64 { return r.rate }), memory[i])
	}
	return w.Flush()
}
