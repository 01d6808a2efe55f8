package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "paceline/proto/paceline/v1"
)

// measureLatency sends at a fixed rate, whatever comes back, and compares the time
// from when a request should have been sent to its answer.
func measureLatency(parent context.Context, o options) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	o.maxWait = 0
	up, err := start(ctx, o, "upstream")
	if err != nil {
		return err
	}
	bare, err := start(ctx, o, "echo")
	if err != nil {
		return err
	}
	through, err := start(ctx, o, "proxy", "-upstream", "http://"+up.addr, "-cpuprofile", o.profile)
	if err != nil {
		return err
	}
	prompt := source(o.bytes)
	shares := []float64{0.5, 0.9, 0.99}
	ratio := make([][]float64, len(shares))
	for range o.repeats {
		var at [2][]time.Duration
		for i, c := range []*child{bare, through} {
			all, err := openLoop(ctx, c.addr, o, prompt)
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
	return w.Flush()
}

// openLoop sends for o.seconds and returns each request's time.
func openLoop(ctx context.Context, addr string, o options, prompt string) ([]time.Duration, error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is left on it
	client := pb.NewPrefillServiceClient(conn)
	if err := ready(ctx, client); err != nil {
		return nil, err
	}
	n := int(o.seconds.Seconds() * o.rate)
	took, errs := make([]time.Duration, n), make([]error, n)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range n {
		due := began.Add(time.Duration(float64(i) / o.rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		text := another(prompt)
		wg.Go(func() {
			_, errs[i] = client.Prefill(ctx, &pb.PrefillRequest{Text: text})
			took[i] = time.Since(due)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}
