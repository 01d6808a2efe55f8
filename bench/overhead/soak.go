package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// soakShare is the rate of the soak, as a share of the max rate.
const soakShare = 0.7

// measureSoak finds the max rate and then sends at a part of it for a long time. It prints
// memory, goroutines and descriptors ten times meanwhile.
func measureSoak(ctx context.Context, o options) error {
	_, p, err := startProxy(ctx, o)
	if err != nil {
		return err
	}
	prompt := source(o.bytes)
	peak, err := once(ctx, p, kinds[0], o, prompt)
	if err != nil {
		return err
	}
	client, hangUp, err := dialReady(ctx, p.addr)
	if err != nil {
		return err
	}
	defer hangUp()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(w, "minute\trequests\tfailed\tMiB resident\tgoroutines\tdescriptors\t\n")
	began := time.Now()
	var sent, failed atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		openLoop(ctx, client, prompt, soakShare*peak.rate, o.soak, func(_ time.Duration, err error) {
			sent.Add(1)
			if err != nil {
				failed.Add(1)
			}
		})
	}()
	for range 10 {
		select {
		case <-time.After(o.soak / 10):
		case <-ctx.Done():
			return ctx.Err()
		}
		goroutines, err := p.goroutines()
		if err != nil {
			return err
		}
		rss, descriptors, err := p.resident()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(w, "%.1f\t%d\t%d\t%.1f\t%d\t%d\t\n",
			time.Since(began).Minutes(), sent.Load(), failed.Load(), mib(rss), goroutines, descriptors)
	}
	<-ended
	return w.Flush()
}
