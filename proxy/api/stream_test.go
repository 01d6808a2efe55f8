package api

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
)

// unreadStream is a stream of requests that fail at once. Its client reads no reply until
// reading is closed.
type unreadStream struct {
	grpc.ServerStream
	ctx             context.Context //nolint:containedctx // of the stream
	requests        int64
	taken, answered atomic.Int64
	reading         chan struct{}
}

func (s *unreadStream) Context() context.Context     { return s.ctx }
func (s *unreadStream) SendHeader(metadata.MD) error { return nil }

func (s *unreadStream) Recv() (*pb.PrefillStreamRequest, error) {
	n := s.taken.Add(1)
	if n > s.requests {
		return nil, io.EOF
	}
	return &pb.PrefillStreamRequest{Request: &pb.PrefillRequest{RequestId: strconv.FormatInt(n, 10)}}, nil
}

func (s *unreadStream) Send(*pb.PrefillStreamResponse) error {
	select {
	case <-s.reading:
		s.answered.Add(1)
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func TestAStreamIsNotReadWhileItsRepliesAreNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, err := upstream.New(upstream.DefaultConfig(), batcher.DefaultSettings(), nil, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer up.Close()
		s := &unreadStream{ctx: t.Context(), requests: 3000, reading: make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- NewService(t.Context(), up, nil).PrefillStream(s) }()
		synctest.Wait()
		if n := s.taken.Load(); n != maxUnsent {
			t.Errorf("%d requests were taken with no reply read, want %d", n, maxUnsent)
		}
		close(s.reading)
		if err := <-ended; err != nil || s.answered.Load() != s.requests {
			t.Errorf("%d of %d replies, %v", s.answered.Load(), s.requests, err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		s = &unreadStream{ctx: ctx, requests: 3000, reading: make(chan struct{})}
		go func() { ended <- NewService(t.Context(), up, nil).PrefillStream(s) }()
		synctest.Wait()
		cancel()
		if err := <-ended; err == nil {
			t.Error("no error when the client has gone")
		}
	})
}
