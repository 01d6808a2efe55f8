package command

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"paceline/sglang"
)

// bubble is where a sweep of the simulator and the proxy in this process runs. Its clock is virtual:
// it stands still while anything computes, and jumps to the next timer once everything waits. So
// figures are the same on an idle and on a busy machine, and a pass takes as long as its computing.
//
// Go's only virtual clock is that of testing/synctest, which works outside tests too. What runs in it
// must wait for nothing outside: connections are in memory, and a signal's context is polled. Files
// are fine, and so are spans, which the exporter outside takes without waiting.
//
// A nil bubble is the real clock and TCP.
type bubble struct {
	ask  chan struct{} // made outside, as is told
	told chan time.Time

	mu    sync.Mutex
	ports map[string]*bufconn.Listener // by address
}

// inBubble calls f in a bubble, whose clock begins at the real time. It returns when all goroutines
// that f started have ended. The context of f ends when ctx does.
func inBubble(ctx context.Context, f func(context.Context, *bubble)) {
	b := &bubble{ask: make(chan struct{}), told: make(chan time.Time), ports: map[string]*bufconn.Listener{}}
	defer close(b.ask)
	go func() {
		for range b.ask {
			b.told <- time.Now()
		}
	}()
	begun := time.Now()
	// Test uses nothing of its T but to fail, which f never does. A deadlock or panic ends the process.
	synctest.Test(new(testing.T), func(*testing.T) {
		time.Sleep(time.Until(begun)) // a bubble begins in the year 2000
		inside, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { cancelAfter(ctx, inside, cancel) })
		running.Go(func() { defer cancel(); f(inside, b) })
		running.Wait()
	})
}

// cancelAfter cancels inside once outside has ended. A channel made outside must not be waited for.
func cancelAfter(outside, inside context.Context, cancel func()) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for outside.Err() == nil {
		select {
		case <-inside.Done():
			return
		case <-tick.C:
		}
	}
	cancel()
}

// now returns the real time.
func (b *bubble) now() time.Time {
	if b == nil {
		return time.Now()
	}
	b.ask <- struct{}{}
	return <-b.told
}

// connBytes is the buffer of a connection, for each direction.
const connBytes = 64 << 10

// listen returns a listener that only dial of the same bubble reaches. It chooses the address.
func (b *bubble) listen(string) (net.Listener, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := listener{bufconn.Listen(connBytes), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1 + len(b.ports)}}
	b.ports[l.addr.String()] = l.Listener
	return l, nil
}

// listener is a listener with an address of its own.
type listener struct {
	*bufconn.Listener
	addr net.Addr
}

// Addr implements net.Listener.
func (l listener) Addr() net.Addr { return l.addr }

// dialer returns what connects to the bubble's listeners; nil without a bubble.
func (b *bubble) dialer() sglang.Dial {
	if b == nil {
		return nil
	}
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		b.mu.Lock()
		l := b.ports[addr]
		b.mu.Unlock()
		if l == nil {
			return nil, fmt.Errorf("nothing listens at %s", addr)
		}
		return l.DialContext(ctx)
	}
}
