package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// measureThroughput compares requests/s and CPU time per request of the proxy and of a bare
// gRPC server.
func measureThroughput(ctx context.Context, o options) error {
	echo, proxy, err := startBoth(ctx, o)
	if err != nil {
		return err
	}
	prompt := source(o.bytes)
	results := map[string][]result{}
	for range o.repeats {
		for _, k := range kinds {
			for i, name := range []string{"echo", "proxy"} {
				r, err := once(ctx, []*child{echo, proxy}[i], k, o, prompt)
				if err != nil {
					return fmt.Errorf("%s %s: %w", name, k.name, err)
				}
				results[name+" "+k.name] = append(results[name+" "+k.name], r)
				fmt.Fprintf(os.Stderr, "%-6s %-6s %7.0f requests/s  %5.1f us CPU each\n", name, k.name, r.rate, 1e6*r.cpu.Seconds())
			}
		}
	}
	rate, cpu := func(r result) float64 { return r.rate }, func(r result) float64 { return float64(r.cpu) }
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, line := range []struct {
		name, a, b string
		of         func(result) float64
	}{
		{"proxy / echo, unary, requests/s", "proxy unary", "echo unary", rate},
		{"proxy / echo, unary, CPU a request", "proxy unary", "echo unary", cpu},
		{"proxy / echo, stream, requests/s", "proxy stream", "echo stream", rate},
		{"proxy, stream / unary, requests/s", "proxy stream", "proxy unary", rate},
	} {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", line.name, ratios(results[line.a], results[line.b], line.of))
	}
	return errors.Join(w.Flush(), proxy.stop()) // which writes its profile
}

// measureLatency sends at a fixed rate, independent of the answers, and compares the times
// from the planned sending of a request to its answer.
func measureLatency(ctx context.Context, o options) error {
	o.maxWait = 0
	echo, proxy, err := startBoth(ctx, o)
	if err != nil {
		return err
	}
	shares := []float64{0.5, 0.9, 0.99}
	ratio := make([][]float64, len(shares))
	for range o.repeats {
		var at [2][]time.Duration
		for i, c := range []*child{echo, proxy} {
			client, hangUp, err := dialReady(ctx, c.addr)
			if err != nil {
				return err
			}
			var mu sync.Mutex
			var all []time.Duration
			openLoop(ctx, client, source(o.bytes), o.rate, o.seconds, func(took time.Duration, failed error) {
				mu.Lock()
				defer mu.Unlock()
				all, err = append(all, took), cmp.Or(err, failed)
			})
			hangUp()
			if err != nil {
				return err
			}
			slices.Sort(all)
			for _, share := range shares {
				at[i] = append(at[i], all[int(share*float64(len(all)-1))])
			}
		}
		fmt.Fprintf(os.Stderr, "p50, p90, p99: echo %v, proxy %v\n", at[0], at[1])
		for i := range shares {
			ratio[i] = append(ratio[i], float64(at[1][i])/float64(at[0][i]))
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for i, share := range shares {
		_, _ = fmt.Fprintf(w, "proxy / echo at %.0f requests/s, p%.0f\t%s\n", o.rate, 100*share, spread(ratio[i], "%.2f"))
	}
	return errors.Join(w.Flush(), proxy.stop()) // which writes its profile
}
