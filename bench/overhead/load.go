package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "paceline/proto/paceline/v1"
)

// source returns n bytes of text that resembles source code.
func source(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "def method_%d(self, value, *, limit=%d):\n    \"\"\"Return the value, at most the limit.\"\"\"\n"+
			"    return min(value, limit) if value > 0 else None\n\n", i, i*7)
	}
	return b.String()[:n]
}

var prompts atomic.Int64

// another returns a new prompt of the same length.
func another(prompt string) string {
	n := strconv.FormatInt(prompts.Add(1), 36) + "\n"
	return n + prompt[min(len(n), len(prompt)):]
}

// result is one measurement.
type result struct {
	rate float64       // requests/s
	cpu  time.Duration // of the server, per request
	all  int64         // requests, also before and after the measured time
}

// quotients returns the quotients of measurements made one after the other.
func quotients(a, b []result, of func(result) float64) (all []float64) {
	for i := range a {
		all = append(all, of(a[i])/of(b[i]))
	}
	return all
}

func ratios(a, b []result, of func(result) float64) string {
	return spread(quotients(a, b, of), "%.2f")
}

// kind is a way to send requests.
type kind struct {
	name string
	run  func(ctx context.Context, c pb.PrefillServiceClient, o options, prompt string, done *atomic.Int64) error
}

var kinds = []kind{{"unary", unary}, {"stream", streams}}

// dial connects to a server without waiting for it.
func dial(addr string) (pb.PrefillServiceClient, func(), error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return pb.NewPrefillServiceClient(conn), func() { _ = conn.Close() }, nil
}

// dialReady connects to a server and waits until it answers, because the proxy must find its
// upstream first.
func dialReady(ctx context.Context, addr string) (pb.PrefillServiceClient, func(), error) {
	client, hangUp, err := dial(addr)
	if err != nil {
		return nil, nil, err
	}
	for {
		_, err := client.Prefill(ctx, &pb.PrefillRequest{Text: "a"})
		if err == nil {
			return client, hangUp, nil
		}
		if ctx.Err() != nil {
			hangUp()
			return nil, nil, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// once measures a server with one kind of load.
func once(ctx context.Context, c *child, k kind, o options, prompt string) (result, error) {
	client, hangUp, err := dialReady(ctx, c.addr)
	if err != nil {
		return result{}, err
	}
	defer hangUp()
	running, stop := context.WithCancel(ctx)
	defer stop()
	var done atomic.Int64
	ended := make(chan error, 1)
	go func() { ended <- k.run(running, client, o, prompt, &done) }()
	time.Sleep(o.seconds / 4) // warm-up
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

// unary runs callers that each send one request after the other.
func unary(ctx context.Context, c pb.PrefillServiceClient, o options, prompt string, done *atomic.Int64) error {
	var callers sync.WaitGroup
	failed := make(chan error, o.callers)
	for range o.callers {
		callers.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.Prefill(ctx, &pb.PrefillRequest{Text: another(prompt)}); err == nil {
					done.Add(1)
				} else if ctx.Err() == nil {
					failed <- err
					return
				}
			}
		})
	}
	callers.Wait()
	close(failed)
	return <-failed // nil if none failed
}

// streams keeps the same number of requests open on one stream.
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

// openLoop sends at a fixed rate for a time, independent of the answers. It calls answered
// from many goroutines, with the time from a request's planned sending to its answer.
func openLoop(ctx context.Context, c pb.PrefillServiceClient, prompt string, rate float64, d time.Duration,
	answered func(time.Duration, error)) {
	var sending sync.WaitGroup
	defer sending.Wait()
	began := time.Now()
	for i := range int(d.Seconds() * rate) {
		due := began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		if ctx.Err() != nil {
			return
		}
		text := another(prompt)
		sending.Go(func() {
			_, err := c.Prefill(ctx, &pb.PrefillRequest{Text: text})
			answered(time.Since(due), err)
		})
	}
}
