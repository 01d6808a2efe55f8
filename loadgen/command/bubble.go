package command

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paceline/sglang"
)

// bubble is where the simulator and the proxy in this process run, in virtual time: the clock stands
// still while anything computes, and jumps to the next timer once everything waits. So a busy machine
// changes no figure, and a sweep takes as long as its computing.
//
// Go's only virtual clock is that of testing/synctest, which works outside tests too. Whatever runs
// in a bubble must wait for nothing outside of it. Connections are in memory, and the context that a
// signal ends is polled. Files are fine, and so are spans: their exporter outside takes them at once.
//
// A nil bubble is the real clock and TCP.
type bubble struct {
	mu    sync.Mutex
	ports map[string]listener // by address
}

// inBubble returns what f returns in a bubble, whose clock begins at the real time, once all
// goroutines that f started have ended. The context of f ends when ctx does. A goroutine
// that f leaves blocked ends the process.
func inBubble(ctx context.Context, f func(context.Context, *bubble) error) (err error) {
	b, begun := &bubble{ports: map[string]listener{}}, time.Now()
	synctest.Test(new(testing.T), func(*testing.T) { // Test needs its T to report failures only, and none is reported
		time.Sleep(time.Until(begun)) // a bubble begins in the year 2000
		inside, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { // here a panic is not the business of the T
			defer cancel()
			err = f(inside, b)
		})
		for inside.Err() == nil {
			if ctx.Err() != nil {
				cancel()
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-inside.Done():
			}
		}
		running.Wait()
	})
	return err
}

// listen returns a listener that the bubble's dialer reaches. It chooses the address.
func (b *bubble) listen(string) (net.Listener, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	l := listener{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1 + len(b.ports)}, make(chan net.Conn), ctx, cancel}
	b.ports[l.addr.String()] = l
	return l, nil
}

// listener is a listener in memory. bufconn has connections with a buffer, but a read deadline that was
// taken back may still strike there, and net/http takes back one with each request.
type listener struct {
	addr   net.Addr
	dialed chan net.Conn
	open   context.Context //nolint:containedctx // ends with Close
	close  func()
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.dialed:
		return c, nil
	case <-l.open.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l listener) Close() error {
	l.close()
	return nil
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
		client, server := net.Pipe()
		select {
		case l.dialed <- server:
			return client, nil
		case <-l.open.Done():
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
