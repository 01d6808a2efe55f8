package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
)

func (r *running) stream(ctx context.Context) pb.PrefillService_PrefillStreamClient {
	s, err := r.prefill.PrefillStream(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func send(t *testing.T, s pb.PrefillService_PrefillStreamClient, req *pb.PrefillRequest) {
	t.Helper()
	if err := s.Send(&pb.PrefillStreamRequest{Request: req}); err != nil {
		t.Fatal(err)
	}
}

// hear reads every reply until the stream ends well.
func hear(t *testing.T, s pb.PrefillService_PrefillStreamClient) map[string]*pb.PrefillStreamResponse {
	t.Helper()
	all := map[string]*pb.PrefillStreamResponse{}
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[m.GetRequestId()] = m
	}
}

func TestAStreamAnswersEachRequestUnderItsIDAndFailsBadOnesAlone(t *testing.T) {
	r := start(t, newFake(t), nil)
	s := r.stream(r.context())
	for i := range 40 {
		send(t, s, &pb.PrefillRequest{RequestId: strconv.Itoa(i), TokenIds: make([]int32, i+1)})
	}
	send(t, s, &pb.PrefillRequest{RequestId: "bad", TokenIds: []int32{-1}})
	send(t, s, &pb.PrefillRequest{Text: "without an id"})
	send(t, s, nil)
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	replies := hear(t, s)
	for i := range 40 {
		if got := replies[strconv.Itoa(i)].GetResponse(); got.GetPromptTokens() != uint32(i+1) || got.GetRequestId() != strconv.Itoa(i) {
			t.Errorf("%d: got %v", i, got)
		}
	}
	for _, id := range []string{"bad", ""} {
		if e := replies[id].GetError(); codes.Code(e.GetCode()) != codes.InvalidArgument || len(e.GetDetails()) != 1 {
			t.Errorf("%q: %v", id, replies[id])
		}
	}
	if len(replies) != 42 {
		t.Errorf("%d ids", len(replies))
	}
}

func TestAnIDIsFreeAgainOnceItIsAnswered(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, nil)
	s := r.stream(r.context())
	send(t, s, &pb.PrefillRequest{RequestId: "x", Text: "a"})
	<-f.entered
	send(t, s, &pb.PrefillRequest{RequestId: "x", Text: "a"})
	m, err := s.Recv()
	if err != nil || m.GetRequestId() != "x" || codes.Code(m.GetError().GetCode()) != codes.InvalidArgument {
		t.Fatalf("duplicate: %v, %v", m, err)
	}
	close(f.hold)
	for range 3 {
		m, err := s.Recv()
		if err != nil || m.GetResponse() == nil {
			t.Fatalf("got %v, %v", m, err)
		}
		send(t, s, &pb.PrefillRequest{RequestId: "x", Text: "a"})
	}
}

func TestAStreamIsNotReadFromBeyondItsWindow(t *testing.T) {
	const requests = 3 * 1024
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, func(c *Config) { c.Settings.BatchSize = 64 })
	var maxPending atomic.Int64
	f.look = func() { maxPending.Store(max(maxPending.Load(), int64(r.Pending()))) }
	s := r.stream(r.context())
	sent := make(chan error, 1)
	go func() {
		for i := range requests {
			if err := s.Send(&pb.PrefillStreamRequest{Request: &pb.PrefillRequest{RequestId: strconv.Itoa(i), Text: strconv.Itoa(i)}}); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.CloseSend()
	}()
	await(t, "the window is full", func() bool { return r.Pending() == 1024 })
	close(f.hold)
	if n := len(hear(t, s)); n != requests {
		t.Errorf("%d replies", n)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if n := maxPending.Load(); n > 1024 {
		t.Errorf("%d requests of one stream at once", n)
	}
}

func TestACancelledStreamCancelsItsRequests(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, func(c *Config) { c.Settings.BatchSize, c.Settings.MaxInFlight, c.Settings.MaxWait = 2, 1, time.Minute })
	ctx, cancel := context.WithCancel(r.context())
	s := r.stream(ctx)
	for i := range 3 {
		send(t, s, &pb.PrefillRequest{RequestId: fmt.Sprint(i), Text: fmt.Sprint(i)})
	}
	await(t, "all are accepted", func() bool { return r.Pending() == 3 })
	rids := <-f.entered
	cancel()
	for range rids {
		<-f.aborted
	}
	await(t, "nothing is pending", func() bool { return r.Pending() == 0 })
	if _, err := s.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	if stats := r.up.Queue.Stats(); stats.Cancelled != 3 || len(f.seen()) != 1 {
		t.Errorf("%+v, %d calls", stats, len(f.seen()))
	}
}

func TestTheEndOfTheProcessAnswersAStreamFirst(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, nil)
	s := r.stream(r.context())
	send(t, s, &pb.PrefillRequest{RequestId: "x", Text: "a"})
	<-f.entered
	r.stop()
	close(f.hold)
	if m, err := s.Recv(); err != nil || m.GetResponse() == nil {
		t.Errorf("got %v, %v", m, err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("then %v", err)
	}
	if <-r.ended; r.err != nil {
		t.Error(r.err)
	}
}

func TestAReplyThatTheClientCanNotReceiveEndsItsRequestAlone(t *testing.T) {
	f := newFake(t)
	large := strings.Repeat("x", 5<<20)
	f.fault = func(w http.ResponseWriter, _ *http.Request, c fakeCall) bool {
		all := c.results()
		for i := range all {
			if c.Text[i] == "large" {
				all[i]["text"] = large
			}
		}
		f.answer(w, all)
		return true
	}
	r := start(t, f, func(c *Config) { c.Settings.MaxWait = 0 })
	ask := func(ctx context.Context, options ...grpc.CallOption) map[string]*pb.PrefillStreamResponse {
		s, err := r.prefill.PrefillStream(ctx, options...)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"large", "small"} {
			send(t, s, &pb.PrefillRequest{RequestId: text, Text: text, MaxNewTokens: 1})
		}
		if err := s.CloseSend(); err != nil {
			t.Fatal(err)
		}
		return hear(t, s)
	}
	replies := ask(r.context())
	if e := replies["large"].GetError(); codes.Code(e.GetCode()) != codes.ResourceExhausted ||
		!strings.Contains(e.GetMessage(), "grpc.MaxCallRecvMsgSize") || replies["small"].GetResponse() == nil {
		t.Errorf("%v, %v", e, replies["small"])
	}
	ctx := metadata.AppendToOutgoingContext(r.context(), "paceline-max-receive-bytes", "8000000")
	if replies := ask(ctx, grpc.MaxCallRecvMsgSize(8_000_000)); len(replies["large"].GetResponse().GetFirstToken().GetText()) != len(large) {
		t.Error("a raised limit is not used")
	}
	reply := r.http(http.MethodPost, r.HTTPAddr()+"/v1/prefill:stream", `{"request":{"request_id":"large","text":"large","max_new_tokens":1}}`)
	if !strings.Contains(reply.body, large) {
		t.Errorf("over REST: %.300s", reply.body)
	}
}
