package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"google.golang.org/grpc"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/server"
	"paceline/proxy/telemetry"
)

// upstream answers every list at once, like an SGLang that takes no time, with the KV pool
// of a model of 7 billion parameters on 80 GB. It shares its cores with the proxy, so it
// must cost little: it reads only the end of a list, for the ids of the requests.
func upstream(ctx context.Context, o options) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/server_info", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"version":"none","max_req_input_len":1000000,"max_total_num_tokens":1000000}`)
	})
	mux.HandleFunc("/generate", func(w http.ResponseWriter, r *http.Request) {
		kept := bodies.Get().(*[]byte)
		defer bodies.Put(kept)
		body := slices.Grow((*kept)[:0], int(r.ContentLength))[:r.ContentLength]
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return
		}
		*kept = body
		if bytes.HasSuffix(body, []byte(`"stream":true}`)) {
			stream(w)
			return
		}
		time.Sleep(o.delay)
		rids := body[bytes.LastIndex(body, []byte(`"rid":["`))+len(`"rid":["`):]
		rids, _, _ = bytes.Cut(rids, []byte(`"]`))
		out := []byte{'['}
		for i, rid := range bytes.Split(rids, []byte(`","`)) {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(append(append(out, `{"text":"","output_ids":[],"meta_info":{"id":"`...), rid...),
				`","finish_reason":{"type":"length","length":0},"prompt_tokens":2000,"completion_tokens":0,"cached_tokens":0}}`...)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(out, ']'))
	})
	collectors(mux)
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // until the process ends
	if err != nil {
		return err
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	fmt.Println(l.Addr())
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// bodies holds buffers (*[]byte) for requests.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// A stream of the upstream: events at an interval, each with the time of its sending.
const (
	events     = 200
	eventEvery = 5 * time.Millisecond
)

func stream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	for range events {
		_, _ = fmt.Fprintf(w, "data: %d\n\n", time.Now().UnixNano())
		_ = http.NewResponseController(w).Flush()
		time.Sleep(eventEvery)
	}
}

// echoService returns as many bytes as the proxy and does nothing else.
type echoService struct {
	pb.UnimplementedPrefillServiceServer
	delay time.Duration
}

func (e echoService) Prefill(ctx context.Context, r *pb.PrefillRequest) (*pb.PrefillResponse, error) {
	if e.delay > 0 {
		select {
		case <-time.After(e.delay):
		case <-ctx.Done():
		}
	}
	return &pb.PrefillResponse{
		RequestId: r.GetRequestId(), PromptTokens: 2000, FinishReason: pb.FinishReason_FINISH_REASON_LENGTH,
		Receipt: &pb.Receipt{
			BatchId: "0123abcd-1234", BatchSize: 16, Position: 3, ReleaseReason: pb.ReleaseReason_RELEASE_REASON_FULL,
			QueueWaitSeconds: 0.001, UpstreamSeconds: 0.001, Attempts: 1,
		},
	}, nil
}

func (e echoService) PrefillStream(s grpc.BidiStreamingServer[pb.PrefillStreamRequest, pb.PrefillStreamResponse]) error {
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r, _ := e.Prefill(s.Context(), m.GetRequest())
		answer := &pb.PrefillStreamResponse{RequestId: r.GetRequestId(), Result: &pb.PrefillStreamResponse_Response{Response: r}}
		if err := s.Send(answer); err != nil {
			return err
		}
	}
}

func echo(ctx context.Context, o options) error {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // as above
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	pb.RegisterPrefillServiceServer(s, echoService{delay: o.delay})
	context.AfterFunc(ctx, s.Stop)
	fmt.Println(l.Addr())
	return s.Serve(l)
}

func proxy(ctx context.Context, o options) error {
	cfg := server.DefaultConfig()
	cfg.Upstream.URL, cfg.Listen, cfg.HTTP, cfg.Admin, cfg.Metrics = o.upstream, "127.0.0.1:0", "127.0.0.1:0", "", "127.0.0.1:0"
	cfg.Settings.BatchSize, cfg.Settings.MaxInFlight, cfg.Settings.MaxWait = o.size, o.inFlight, o.maxWait
	if o.bare {
		cfg.Metrics = ""
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // as the command does
	}
	tracing, err := telemetry.Start(ctx, telemetry.Defaults{Service: "paceline"})
	if err != nil {
		return err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {})) // as many as the collectors make
	cfg.TracerProvider, cfg.Propagator, cfg.TraceDetail = tracing.Provider, tracing.Propagator, o.traceDetail
	p, err := server.New(cfg)
	if err != nil {
		return err
	}
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Println(p.Addr(), p.HTTPAddr())
	return p.Run(ctx)
}
