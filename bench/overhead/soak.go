package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "paceline/proto/paceline/v1"
)

// soakShare of the highest rate is what soak sends.
const soakShare = 0.7

// measureSoak finds the highest rate and then sends a part of it for long, and
// tells memory and descriptors ten times on the way.
func measureSoak(parent context.Context, o options) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	up, err := start(ctx, o, "upstream")
	if err != nil {
		return err
	}
	p, err := start(ctx, o, "proxy", "-upstream", "http://"+up.addr)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(p.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is left on it
	client := pb.NewPrefillServiceClient(conn)
	if err := ready(ctx, client); err != nil {
		return err
	}
	prompt := source(o.bytes)
	peak, err := watch(ctx, p, o, func(ctx context.Context, done *atomic.Int64) error { return unary(ctx, client, o, prompt, done) })
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(w, "minute\trequests\tfailed\tMiB resident\tdescriptors\t\n")
	began := time.Now()
	var sent, failed atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		every := time.Duration(float64(time.Second) / (soakShare * peak.rate))
		open := make(chan struct{}, 1024)
		for due := began; due.Before(began.Add(o.soak)) && ctx.Err() == nil; due = due.Add(every) {
			time.Sleep(time.Until(due))
			open <- struct{}{}
			go func() {
				defer func() { <-open }()
				if _, err := client.Prefill(ctx, &pb.PrefillRequest{Text: another(prompt)}); err != nil {
					failed.Add(1)
				}
				sent.Add(1)
			}()
		}
		for range cap(open) {
			open <- struct{}{}
		}
	}()
	for range 10 {
		select {
		case <-time.After(o.soak / 10):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := p.tell(); err != nil {
			return err
		}
		rss, descriptors, err := p.resident()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(w, "%.1f\t%d\t%d\t%.1f\t%d\t\n", time.Since(began).Minutes(), sent.Load(), failed.Load(), mib(rss), descriptors)
	}
	<-ended
	return w.Flush()
}
