package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"paceline/proxy/api"
)

// port is one bound address with its servers.
type port struct {
	name     string // name of its flag
	listener net.Listener
	serving  []func() error        // each returns after close
	leave    func()                // of HTTP: each request from now on is the last of its connection
	close    func(context.Context) // lets calls end until the context ends
}

// openPort binds addr. It serves nothing yet.
func (s *Server) openPort(name, addr string) (*port, error) {
	l, err := s.cfg.Bind(addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &port{name: name, listener: l}, nil
}

// secure puts TLS on the port for the given protocols, unless c is nil. Call it before the
// port serves.
func (p *port) secure(c *certificates, protocols ...string) {
	if c != nil {
		p.listener = tls.NewListener(p.listener, c.tls(protocols...))
	}
}

// serveGRPC makes the port serve gRPC.
func (p *port) serveGRPC(s *grpc.Server) {
	p.serving = []func() error{func() error { return s.Serve(p.listener) }}
	p.close = func(ctx context.Context) {
		// Stop makes GracefulStop return.
		defer context.AfterFunc(ctx, s.Stop)()
		s.GracefulStop()
	}
}

// serveHTTP makes the port serve HTTP, with a gateway to the gRPC server behind, which it
// does not stop.
func (p *port) serveHTTP(h http.Handler, g *api.Gateway, behind *grpc.Server) {
	var leaving atomic.Bool
	s := httpServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if leaving.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	}))
	p.serving = []func() error{
		func() error { return behind.Serve(g.Pipe) },
		func() error { return s.Serve(p.listener) },
	}
	p.leave = func() { leaving.Store(true) }
	p.close = func(ctx context.Context) {
		if err := s.Shutdown(ctx); err != nil {
			_ = s.Close() // cuts connections; its error says nothing new
		}
		_ = g.Close() // ends calls without a waiting client
	}
}

// servePage makes the port serve HTTP without a gateway.
func (p *port) servePage(h http.Handler) {
	s := httpServer(h)
	p.serving = []func() error{func() error { return s.Serve(p.listener) }}
	p.close = func(ctx context.Context) {
		if err := s.Shutdown(ctx); err != nil {
			_ = s.Close() // as above
		}
	}
}

// addr returns host:port as bound; "" if p is nil.
func (p *port) addr() string {
	if p == nil {
		return ""
	}
	return p.listener.Addr().String()
}

// serve starts serving on goroutines of running, which end after close. It sends the first
// failure to failed.
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
