package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	channelz "google.golang.org/grpc/channelz/service"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/orca"
	"google.golang.org/grpc/reflection"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/api"
	"paceline/proxy/compat"
	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
)

// Server is one proxy. Make it with New and call Run once.
type Server struct {
	cfg       Config
	log       *slog.Logger
	readiness *readiness
	up        *upstream.Upstream
	settings  *liveSettings
	tracer    *telemetry.Tracer  // nil: no spans
	metrics   *telemetry.Metrics // nil: none
	history   *history           // for the admin page

	stopping context.Context // ends when every accepted request has ended; idle streams end with it
	stop     context.CancelFunc

	service *api.Service

	keys         *keyring      // nil asks for none
	certificates *certificates // nil: no TLS

	grpc  *grpc.Server // PrefillService and ScoreService
	data  *port        // gRPC
	rest  *port        // nil without Config.HTTP
	admin *port        // nil without Config.Admin
	page  *port        // of metrics; nil without Config.Metrics
}

// New binds the listeners. It serves nothing yet, and SGLang may be away. An error is a
// *ConfigError, or names the address that can't be bound.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.logger()}
	s.stopping, s.stop = context.WithCancel(context.Background())
	var err error
	if s.keys, err = openKeys(cfg.KeysFile, s.log); err != nil {
		return nil, &ConfigError{"keys", err.Error()}
	}
	if s.certificates, err = openCertificates(cfg.TLSCert, cfg.TLSKey, cfg.TLSClientCA, s.log); err != nil {
		return nil, &ConfigError{"tls-cert", err.Error()}
	}
	s.tracer = telemetry.NewTracer(cfg.TracerProvider, cfg.Propagator, cfg.Version, cfg.TraceDetail != TraceDetailLinks)
	if cfg.Metrics != "" || cfg.Admin != "" {
		s.metrics = telemetry.NewMetrics(cfg.Version)
	}
	if s.up, err = upstream.New(cfg.Upstream, cfg.Settings, s.tracer, s.metrics, s.log); err != nil {
		return nil, settingFlag(err)
	}
	s.history = &history{read: func() (telemetry.Totals, int) { return s.metrics.Totals(), s.up.Queue.Stats().Queued }}
	s.settings = &liveSettings{up: s.up, sources: cfg.Sources}
	s.readiness = newReadiness(s.up.Queue, s.up.Snapshot().Reason)
	s.service = api.NewService(s.stopping, s.up, s.tracer)
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.closePorts())
	}
	return s, nil
}

// open makes the ports.
func (s *Server) open() (err error) {
	if s.data, err = s.openData(); err != nil {
		return err
	}
	if s.cfg.HTTP != "" {
		if s.rest, err = s.openREST(); err != nil {
			return err
		}
	}
	if s.cfg.Admin != "" {
		if s.admin, err = s.openAdmin(); err != nil {
			return err
		}
	}
	if s.cfg.Metrics != "" {
		s.page, err = s.openMetrics()
	}
	return err
}

func (s *Server) openData() (*port, error) {
	p, err := s.openPort("listen", s.cfg.Listen)
	if err != nil {
		return nil, err
	}
	p.secure(s.certificates, "h2")
	p.listener = messageListener{p.listener, s.up.Arrivals}
	loads := &loadReports{up: s.up}
	var options []grpc.ServerOption
	if s.cfg.CallLoadReports {
		options = append(options, orca.CallMetricsServerOption(loads))
	}
	s.grpc = s.grpcServer(gate{keys: s.keys, metrics: s.metrics}, options...)
	if err := orca.Register(s.grpc, orca.ServiceOptions{ServerMetricsProvider: loads}); err != nil {
		return nil, errors.Join(err, p.listener.Close())
	}
	pb.RegisterPrefillServiceServer(s.grpc, s.service)
	pb.RegisterScoreServiceServer(s.grpc, s.service)
	p.serveGRPC(s.grpc)
	return p, nil
}

func (s *Server) openREST() (*port, error) {
	p, err := s.openPort("http", s.cfg.HTTP)
	if err != nil {
		return nil, err
	}
	p.secure(s.certificates, "h2", "http/1.1")
	g, err := api.NewGateway(pb.RegisterPrefillServiceHandler, pb.RegisterScoreServiceHandler)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("http: %w", err), p.listener.Close())
	}
	// The gateway has its own server, because a GOAWAY to clients must not end its
	// connection.
	behind := s.grpcServer(gate{keys: s.keys, metrics: s.metrics})
	pb.RegisterPrefillServiceServer(behind, s.service)
	pb.RegisterScoreServiceServer(behind, s.service)
	sglang := s.front(gate{keys: s.keys, metrics: s.metrics}).handler(compat.New(s.up, s.metrics, compat.Options{
		MaxBytes: int64(s.cfg.MaxMessageBytes), PassAdmin: s.cfg.PassAdmin, Allow: s.cfg.AllowFields, Log: s.log, Acts: s.cfg.acts(),
	}))
	rest := restHandler(g.Handler(s.cfg.MaxMessageBytes, s.up.Arrivals), sglang, s.readiness)
	p.serveHTTP(notFromPages(rest, isLocal(s.cfg.HTTP)), g, behind)
	closeHTTP := p.close
	p.close = func(ctx context.Context) {
		closeHTTP(ctx)
		defer context.AfterFunc(ctx, behind.Stop)()
		behind.GracefulStop()
	}
	return p, nil
}

func (s *Server) openAdmin() (*port, error) {
	p, err := s.openPort("admin", s.cfg.Admin)
	if err != nil {
		return nil, err
	}
	g, err := api.NewGateway(pb.RegisterAdminServiceHandler)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("admin: %w", err), p.listener.Close())
	}
	open := gate{} // on loopback
	local := isLocal(s.cfg.Admin)
	if !local {
		p.secure(s.certificates, "h2", "http/1.1")
		if s.cfg.TLSClientCA == "" {
			open = gate{keys: s.keys, admin: true}
		}
	}
	server := s.grpcServer(open)
	channelz.RegisterChannelzServiceToServer(server)
	pb.RegisterAdminServiceServer(server, &adminService{
		version: s.cfg.Version, started: time.Now(), up: s.up, settings: s.settings, readiness: s.readiness, delay: s.cfg.DrainDelay,
		acts: s.cfg.acts(),
	})
	p.serveHTTP(adminHandler(server, notFromPages(s.withStatusPage(open, g.Handler(s.cfg.MaxMessageBytes, s.up.Arrivals)), local)), g, server)
	closeHTTP := p.close
	p.close = func(ctx context.Context) {
		closeHTTP(ctx)
		server.Stop() // GracefulStop does not support ServeHTTP (grpc-go 1.85)
	}
	return p, nil
}

func (s *Server) openMetrics() (*port, error) {
	p, err := s.openPort("metrics", s.cfg.Metrics)
	if err != nil {
		return nil, err
	}
	s.metrics.ShowState(s.state)
	p.servePage(notFromPages(s.metricsHandler(), isLocal(s.cfg.Metrics)))
	return p, nil
}

// Limits of gRPC connections.
const (
	maxStreams      = 1024             // of one connection; a load generator has a few hundred
	pingEvery       = time.Minute      // finds vanished callers, whose requests then leave the queue
	pingTimeout     = 20 * time.Second // grpc's own default
	maxHeaderBytes  = 64 << 10         // of one request; grpc's own default is 16 MiB
	clientPingEvery = 10 * time.Second // min interval of client pings; grpc's default of 5 min refuses common settings

	// Windows of flow control, which grpc would raise to 16 MiB each, for messages that
	// nobody has asked for yet. A message that is being read may be larger.
	streamWindow = 64 << 10
	connWindow   = 1 << 20

	// streamWorkers is the number of goroutines that serve calls one after the other.
	// Their stacks have grown already: growing one for each call was 5 % of the CPU time
	// (bench/overhead). A call for which none is free gets its own goroutine.
	streamWorkers = 128
)

func (s *Server) front(g gate) front { return front{g, s.tracer, s.metrics} }

// grpcServer returns a gRPC server with health and reflection, behind a gate.
func (s *Server) grpcServer(g gate, options ...grpc.ServerOption) *grpc.Server {
	options = append(options,
		grpc.MaxRecvMsgSize(s.cfg.MaxMessageBytes),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: pingEvery, Timeout: pingTimeout, MaxConnectionAge: s.cfg.MaxConnectionAge, // 0: none
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: clientPingEvery, PermitWithoutStream: true}),
		grpc.ChainStreamInterceptor(endStreams(s.stopping)),
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(streamWorkers),
	)
	f := s.front(g)
	options = append(options, grpc.UnaryInterceptor(f.unary), grpc.StreamInterceptor(f.stream))
	if f.tracer != nil {
		options = append(options, grpc.InTapHandle(f.tracer.Arrive))
	}
	server := grpc.NewServer(options...)
	healthpb.RegisterHealthServer(server, s.readiness.health)
	reflection.Register(server)
	return server
}

// Addr returns the address of gRPC, with the bound port.
func (s *Server) Addr() string { return s.data.addr() }

// HTTPAddr returns the address of REST, or "".
func (s *Server) HTTPAddr() string { return s.rest.addr() }

// AdminAddr returns the address of AdminService, or "".
func (s *Server) AdminAddr() string { return s.admin.addr() }

// MetricsAddr returns the address of the metrics page, or "".
func (s *Server) MetricsAddr() string { return s.page.addr() }

// Pending returns the number of accepted requests that are not answered. It may be called
// at any time.
func (s *Server) Pending() int { return s.up.Queue.Pending() }

// Run serves until ctx ends, then drains: health says NOT_SERVING, new requests are
// refused, and every accepted request is answered. It returns within Config.DrainTimeout
// after ctx ends, with an error if requests were cut or a listener failed. It closes
// everything that New opened. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	s.log.Info("listening", "grpc", s.Addr(), "http", s.HTTPAddr(), "admin", s.AdminAddr(), "metrics", s.MetricsAddr(),
		"upstream", s.up.URL(), "version", s.cfg.Version) // before the watch reports
	s.warnIfOpen()
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() {
		for now := range s.up.Watch(watching) {
			s.readiness.setUpstream(now.Ready, now.Reason)
		}
	})
	if s.admin != nil {
		running.Go(func() { s.history.run(watching) })
	}
	failed := make(chan error, 1)
	for _, p := range s.ports() {
		p.serve(&running, failed)
	}

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	err = errors.Join(err, s.shutDown())
	stopWatching()
	running.Wait()
	return err
}

// warnIfOpen warns of listeners that anybody on the network can use or eavesdrop on.
func (s *Server) warnIfOpen() {
	for _, l := range []struct{ flag, addr string }{{"listen", s.cfg.Listen}, {"http", s.cfg.HTTP}} {
		if l.addr == "" || isLocal(l.addr) {
			continue
		}
		if s.certificates == nil {
			s.log.Warn("prompts cross the network unencrypted: -tls-cert and -tls-key change that", "listener", l.flag, "address", l.addr)
		}
		if s.keys == nil && s.cfg.TLSClientCA == "" {
			s.log.Warn("anybody who reaches this listener can use SGLang: -keys or -tls-client-ca change that",
				"listener", l.flag, "address", l.addr)
		}
	}
}

// leavePatience is the max wait for gRPC clients to leave after a GOAWAY. Requests that they
// sent before they received it arrive within a round trip.
const leavePatience = time.Second

// sending returns the part of DrainTimeout for sending the last answers and errors: a tenth,
// but a second if half of DrainTimeout is that long.
func sending(drainTimeout time.Duration) time.Duration {
	return max(drainTimeout/10, min(time.Second, drainTimeout/2))
}

func (s *Server) shutDown() error {
	total, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	answering, cancel := context.WithTimeout(total, s.cfg.DrainTimeout-sending(s.cfg.DrainTimeout))
	defer cancel()
	left := s.sendAway(answering, total)
	err := s.drain(answering)
	s.stop()
	if s.rest != nil {
		s.rest.close(total)
	}
	<-left
	if s.admin != nil {
		s.admin.close(total)
	}
	s.up.Close()
	if s.page != nil {
		s.page.close(total) // last, so that the drain can be observed
	}
	return err
}

// sendAway tells clients to leave, and accepts what they send until they know: a
// refusal would reach callers that did nothing wrong. It returns when they have gone, after
// leavePatience, or when ctx ends. left is closed when the gRPC port is closed.
func (s *Server) sendAway(ctx, total context.Context) (left <-chan struct{}) {
	if s.rest != nil {
		s.rest.leave() // else the end would close connections that clients are about to use again
	}
	if draining := s.readiness.stop(); !draining {
		pause(ctx, s.cfg.DrainDelay, s.stopping.Done())
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.data.close(total)
	}()
	pause(ctx, leavePatience, closed)
	return closed
}

// drain waits for the answers to all accepted requests. When ctx ends it cuts the rest.
func (s *Server) drain(ctx context.Context) error {
	if pending := s.Pending(); pending > 0 {
		s.log.Info("draining", "pending", pending, "timeout", s.cfg.DrainTimeout)
	}
	err := s.up.Queue.Drain(ctx)
	pending := s.Pending()
	s.up.Queue.Close()
	n := s.up.Queue.Stats()
	s.log.Info("drained", "accepted", n.Accepted, "answered", n.Answered, "failed", n.Failed, "cancelled", n.Cancelled)
	if err != nil && pending > 0 {
		return fmt.Errorf("drain: %d requests were cut, not answered within %v", pending, s.cfg.DrainTimeout)
	}
	return nil
}

func (s *Server) ports() []*port {
	var all []*port
	for _, p := range []*port{s.data, s.rest, s.admin, s.page} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// closePorts undoes open, before anything is served.
func (s *Server) closePorts() error {
	ended, end := context.WithCancel(context.Background())
	end()
	var errs []error
	for _, p := range s.ports() {
		errs = append(errs, p.listener.Close())
		p.close(ended)
	}
	s.stop()
	return errors.Join(errs...)
}

// endingStream is a server stream with another context.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // it replaces the stream's own
}

func (s endingStream) Context() context.Context { return s.ctx }

// endStreams ends streams that only watch (health) when stopping ends, so that a watcher
// does not delay the end of the process. PrefillStream ends by itself, after its replies.
func endStreams(stopping context.Context) grpc.StreamServerInterceptor {
	return func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		if info.FullMethod == pb.PrefillService_PrefillStream_FullMethodName {
			return handle(srv, s)
		}
		ctx, cancel := context.WithCancel(s.Context())
		defer cancel()
		defer context.AfterFunc(stopping, cancel)()
		return handle(srv, endingStream{s, ctx})
	}
}
