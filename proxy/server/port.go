package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"google.golang.org/grpc"

	"paceline/proxy/api"
)

// port is one bound address with what serves it.
type port struct {
	name     string // as its flag is called
	listener net.Listener
	serving  []func() error        // each returns after close
	close    func(context.Context) // lets calls end by themselves until the context ends
}

// openPort binds addr and serves nothing yet.
func openPort(name, addr string) (*port, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &port{name: name, listener: l}, nil
}

// secure puts TLS on the port, if there is any, for these protocols. It comes
// before the port serves.
func (p *port) secure(c *certificates, protocols ...string) {
	if c != nil {
		p.listener = tls.NewListener(p.listener, c.tls(protocols...))
	}
}

// serveGRPC makes the port one of gRPC.
func (p *port) serveGRPC(s *grpc.Server) {
	p.serving = []func() error{func() error { return s.Serve(p.listener) }}
	p.close = func(ctx context.Context) {
		// Stop makes GracefulStop return.
		defer context.AfterFunc(ctx, s.Stop)()
		s.GracefulStop()
	}
}

// serveHTTP makes the port one of HTTP, with a gateway to a gRPC server that
// somebody else stops.
func (p *port) serveHTTP(h http.Handler, g *api.Gateway, behind *grpc.Server) {
	s := httpServer(h)
	p.serving = []func() error{
		func() error { return behind.Serve(g.Pipe) },
		func() error { return s.Serve(p.listener) },
	}
	p.close = func(ctx context.Context) {
		if err := s.Shutdown(ctx); err != nil {
			_ = s.Close() // cuts connections, which have no error to tell
		}
		_ = g.Close() // ends calls that nobody waits for
	}
}

// servePage makes the port one of HTTP with nothing behind it.
func (p *port) servePage(h http.Handler) {
	s := httpServer(h)
	p.serving = []func() error{func() error { return s.Serve(p.listener) }}
	p.close = func(ctx context.Context) {
		if err := s.Shutdown(ctx); err != nil {
			_ = s.Close() // as above
		}
	}
}

// addr is host:port as bound; empty for no port.
func (p *port) addr() string {
	if p == nil {
		return ""
	}
	return p.listener.Addr().String()
}

// serve starts serving on goroutines of running, which end after close. A
// failure goes to failed, unless one is there already.
func (p *port) serve(running *sync.WaitGroup, failed chan<- error) {
	for _, serve := range p.serving {
		running.Go(func() {
			err := serve()
			if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) {
				return
			}
			select {
			case failed <- fmt.Errorf("%s: %w", p.name, err):
			default:
			}
		})
	}
}
