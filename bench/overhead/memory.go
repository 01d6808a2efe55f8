package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "paceline/proto/paceline/v1"
)

// How much waits in measureMemory, and over how many connections it comes.
const (
	waiting     = 10_000
	connections = 8
	window      = 1000 // of one stream; the proxy reads no further than 1,024
)

// measureMemory looks at an idle proxy, and at one before an upstream that is so
// slow that everything waits.
func measureMemory(parent context.Context, o options) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	o.delay = time.Hour
	up, err := start(ctx, o, "upstream")
	if err != nil {
		return err
	}
	p, err := start(ctx, o, "proxy", "-upstream", "http://"+up.addr)
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	before, err := p.cpu()
	if err != nil {
		return err
	}
	const idle = 30 * time.Second
	time.Sleep(idle)
	after, err := p.cpu()
	if err != nil {
		return err
	}
	rss, _, err := p.resident()
	if err != nil {
		return err
	}
	fmt.Printf("idle: %.1f MiB resident, %.3f %% CPU\n", mib(rss), 100*(after-before).Seconds()/idle.Seconds())

	bare, err := start(ctx, o, "echo")
	if err != nil {
		return err
	}
	again, err := start(ctx, o, "proxy", "-upstream", "http://"+up.addr)
	if err != nil {
		return err
	}
	for _, m := range []struct {
		what string
		*child
		send func(context.Context, pb.PrefillServiceClient, options, int)
	}{
		{"proxy, unary calls", p, waitUnary},
		{"proxy, streams", again, waitStream},
		{"bare gRPC server, unary calls", bare, waitUnary},
	} {
		rss, err := m.filled(ctx, o, m.send)
		if err != nil {
			return err
		}
		queued := int64(waiting * o.bytes)
		fmt.Printf("%s: %d prompts of %d bytes waiting (%.1f MiB): %.1f MiB resident, %.1f MiB more than the prompts\n",
			m.what, waiting, o.bytes, mib(queued), mib(rss), mib(rss-queued))
	}
	return nil
}

// filled has prompts wait at a server, and returns its highest resident memory.
func (c *child) filled(ctx context.Context, o options, send func(context.Context, pb.PrefillServiceClient, options, int)) (highest int64, err error) {
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	for range connections {
		conn, err := grpc.NewClient(c.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return 0, err
		}
		defer conn.Close() //nolint:errcheck // nothing is left on it
		wg.Go(func() { send(sending, pb.NewPrefillServiceClient(conn), o, waiting/connections) })
	}
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		now, _, err := c.resident()
		if err != nil {
			return 0, err
		}
		highest = max(highest, now)
	}
	stop()
	wg.Wait()
	return highest, nil
}

// waitUnary and waitStream have n prompts wait until ctx ends; nothing is ever
// answered.
func waitUnary(ctx context.Context, client pb.PrefillServiceClient, o options, n int) {
	prompt := source(o.bytes)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { _, _ = client.Prefill(ctx, &pb.PrefillRequest{Text: another(prompt)}) })
	}
	wg.Wait()
}

func waitStream(ctx context.Context, client pb.PrefillServiceClient, o options, n int) {
	prompt := source(o.bytes)
	for left := n; left > 0; left -= window {
		s, err := client.PrefillStream(ctx)
		if err != nil {
			return
		}
		for i := range min(left, window) {
			if s.Send(&pb.PrefillStreamRequest{Request: &pb.PrefillRequest{RequestId: strconv.Itoa(i), Text: another(prompt)}}) != nil {
				return
			}
		}
	}
	<-ctx.Done()
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
