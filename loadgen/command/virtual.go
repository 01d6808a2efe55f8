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

// inVirtualTime runs f with a virtual clock, which begins now.
func inVirtualTime(ctx context.Context, f func(context.Context)) {
	now := time.Now()
	synctest.Test(new(testing.T), func(*testing.T) {
		time.Sleep(time.Until(now))
		inside, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		all.Go(func() {
			defer cancel()
			f(inside)
		})
		all.Go(func() {
			for inside.Err() == nil {
				if ctx.Err() != nil {
					cancel()
				}
				select {
				case <-inside.Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
		all.Wait()
	})
}

// network is a network in memory. A nil network is TCP.
type network struct {
	mu    sync.Mutex
	ports map[string]*bufconn.Listener // by address
}

func newNetwork(o options) *network {
	if !o.simulated() {
		return nil
	}
	return &network{ports: map[string]*bufconn.Listener{}}
}

type port struct {
	*bufconn.Listener
	addr *net.TCPAddr
}

func (p port) Addr() net.Addr { return p.addr }

func (n *network) listen(string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := port{bufconn.Listen(256 << 10), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: len(n.ports) + 1}}
	n.ports[p.addr.String()] = p.Listener
	return p, nil
}

func (n *network) dialer() sglang.Dial {
	if n == nil {
		return nil
	}
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		n.mu.Lock()
		p := n.ports[addr]
		n.mu.Unlock()
		if p == nil {
			return nil, fmt.Errorf("nobody listens at %s", addr)
		}
		return p.DialContext(ctx)
	}
}
