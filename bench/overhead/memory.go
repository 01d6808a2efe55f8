package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	pb "paceline/proto/paceline/v1"
)

// The load of measureMemory.
const (
	waiting     = 10_000
	connections = 8
	window      = 1000 // of one stream; the proxy reads no further than 1,024
)

// measureMemory measures an idle proxy, and a proxy in front of an upstream that is so slow
// that all prompts wait.
func measureMemory(ctx context.Context, o options) error {
	o.delay = time.Hour
	_, first, err := startProxy(ctx, o)
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	before, err := first.cpu()
	if err != nil {
		return err
	}
	const idle = 30 * time.Second
	time.Sleep(idle)
	after, err := first.cpu()
	if err != nil {
		return err
	}
	rss, err := first.resident()
	if err != nil {
		return err
	}
	fmt.Printf("idle: %.1f MiB resident, %.3f %% CPU\n", mib(rss), 100*(after-before).Seconds()/idle.Seconds())

	bare, second, err := startBoth(ctx, o)
	if err != nil {
		return err
	}
	for _, m := range []struct {
		what string
		*child
		send sender
	}{
		{"proxy, unary calls", first, waitUnary},
		{"proxy, streams", second, waitStream},
		{"bare gRPC server, unary calls", bare, waitUnary},
	} {
		rss, err := m.filled(ctx, source(o.bytes), m.send)
		if err != nil {
			return err
		}
		queued := int64(waiting * o.bytes)
		fmt.Printf("%s: %d prompts of %d bytes waiting (%.1f MiB): %.1f MiB resident, %.1f MiB more than the prompts\n",
			m.what, waiting, o.bytes, mib(queued), mib(rss), mib(rss-queued))
	}
	return nil
}

// sender keeps n prompts waiting at a server until ctx ends. None is answered.
type sender func(ctx context.Context, client pb.PrefillServiceClient, prompt string, n int)

// filled keeps prompts waiting at a server and returns its max resident memory.
func (c *child) filled(ctx context.Context, prompt string, send sender) (highest int64, err error) {
	var sending sync.WaitGroup
	defer sending.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for range connections {
		client, hangUp, err := dial(c.addr)
		if err != nil {
			return 0, err
		}
		defer hangUp()
		sending.Go(func() { send(ctx, client, prompt, waiting/connections) })
	}
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		now, err := c.resident()
		if err != nil {
			return 0, err
		}
		highest = max(highest, now)
	}
	return highest, nil
}

func waitUnary(ctx context.Context, client pb.PrefillServiceClient, prompt string, n int) {
	var calls sync.WaitGroup
	for range n {
		calls.Go(func() { _, _ = client.Prefill(ctx, &pb.PrefillRequest{Text: another(prompt)}) })
	}
	calls.Wait()
}

func waitStream(ctx context.Context, client pb.PrefillServiceClient, prompt string, n int) {
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
