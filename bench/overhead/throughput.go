package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "paceline/proto/paceline/v1"
)

// result is one measurement.
type result struct {
	rate float64       // requests/s
	cpu  time.Duration // of the server, a request
	all  int64         // requests, with those before and after the time that counts
}

// kind is how requests are sent.
type kind struct {
	name string
	run  func(ctx context.Context, c pb.PrefillServiceClient, o options, prompt string, done *atomic.Int64) error
}

var kinds = []kind{{"unary", unary}, {"stream", streams}}

func measureThroughput(parent context.Context, o options) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	up, err := start(ctx, o, "upstream")
	if err != nil {
		return err
	}
	servers := map[string]*child{}
	if servers["echo"], err = start(ctx, o, "echo"); err != nil {
		return err
	}
	if servers["proxy"], err = start(ctx, o, "proxy", "-upstream", "http://"+up.addr, "-cpuprofile", o.profile); err != nil {
		return err
	}
	prompt := source(o.bytes)
	results := map[string][]result{}
	for range o.repeats {
		for _, k := range kinds {
			for _, name := range []string{"echo", "proxy"} {
				r, err := once(ctx, servers[name], k, o, prompt)
				if err != nil {
					return fmt.Errorf("%s %s: %w", name, k.name, err)
				}
				results[name+" "+k.name] = append(results[name+" "+k.name], r)
				fmt.Fprintf(os.Stderr, "%-6s %-6s %7.0f requests/s  %5.1f us CPU each\n", name, k.name, r.rate, float64(r.cpu)/float64(time.Microsecond))
			}
		}
	}
	rate := func(r result) float64 { return r.rate }
	cpu := func(r result) float64 { return float64(r.cpu) }
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, line := range []struct {
		name string
		a, b string
		of   func(result) float64
	}{
		{"proxy / echo, unary, requests/s", "proxy unary", "echo unary", rate},
		{"proxy / echo, unary, CPU a request", "proxy unary", "echo unary", cpu},
		{"proxy / echo, stream, requests/s", "proxy stream", "echo stream", rate},
		{"proxy, stream / unary, requests/s", "proxy stream", "proxy unary", rate},
	} {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", line.name, ratios(results[line.a], results[line.b], line.of))
	}
	cancel()
	_ = servers["proxy"].cmd.Wait() // it was told to end, and writes its profile
	return w.Flush()
}

// ratios are the quotients of measurements made one after the other.
func ratios(a, b []result, of func(result) float64) string {
	return spread(quotients(a, b, of), "%.2f")
}

func quotients(a, b []result, of func(result) float64) (all []float64) {
	for i := range a {
		all = append(all, of(a[i])/of(b[i]))
	}
	return all
}

func once(ctx context.Context, c *child, k kind, o options, prompt string) (result, error) {
	conn, err := grpc.NewClient(c.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return result{}, err
	}
	defer conn.Close() //nolint:errcheck // nothing is left on it
	client := pb.NewPrefillServiceClient(conn)
	if err := ready(ctx, client); err != nil {
		return result{}, err
	}
	return watch(ctx, c, o, func(ctx context.Context, done *atomic.Int64) error { return k.run(ctx, client, o, prompt, done) })
}

// ready waits until the proxy has found its upstream.
func ready(ctx context.Context, client pb.PrefillServiceClient) error {
	for {
		_, err := client.Prefill(ctx, &pb.PrefillRequest{Text: "a"})
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// watch measures a server while load runs.
func watch(ctx context.Context, c *child, o options, load func(context.Context, *atomic.Int64) error) (result, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	var done atomic.Int64
	ended := make(chan error, 1)
	go func() { ended <- load(running, &done) }()
	time.Sleep(o.seconds / 4) // warm
	before, began := done.Load(), time.Now()
	cpu, err := c.cpu()
	if err != nil {
		return result{}, err
	}
	time.Sleep(o.seconds)
	n, took := done.Load()-before, time.Since(began)
	after, err := c.cpu()
	stop()
	err = errors.Join(err, <-ended)
	if n == 0 {
		return result{}, errors.Join(err, errors.New("nothing was answered"))
	}
	return result{float64(n) / took.Seconds(), (after - cpu) / time.Duration(n), done.Load()}, err
}

// unary lets callers send one request after the other.
func unary(ctx context.Context, c pb.PrefillServiceClient, o options, prompt string, done *atomic.Int64) error {
	var wg sync.WaitGroup
	var failed atomic.Value
	for range o.callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.Prefill(ctx, &pb.PrefillRequest{Text: another(prompt)}); err == nil {
					done.Add(1)
				} else if ctx.Err() == nil {
					failed.Store(err)
					return
				}
			}
		})
	}
	wg.Wait()
	err, _ := failed.Load().(error)
	return err
}

// streams lets one stream have as many requests open.
func streams(ctx context.Context, c pb.PrefillServiceClient, o options, prompt string, done *atomic.Int64) error {
	s, err := c.PrefillStream(ctx)
	if err != nil {
		return err
	}
	send := func(id string) error {
		return s.Send(&pb.PrefillStreamRequest{Request: &pb.PrefillRequest{RequestId: id, Text: another(prompt)}})
	}
	for i := range o.callers {
		if err := send(strconv.Itoa(i)); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		m, err := s.Recv()
		if err == nil {
			if e := m.GetError(); e != nil {
				return fmt.Errorf("%v", e)
			}
			done.Add(1)
			err = send(m.GetRequestId())
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}
