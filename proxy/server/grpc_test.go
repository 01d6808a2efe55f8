package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
)

func TestAnAnswerComesWithItsReceiptInReplyAndTrailer(t *testing.T) {
	r := start(t, newFake(t), nil)
	var trailer metadata.MD
	reply, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{TokenIds: []int32{1, 2, 3}, MaxNewTokens: 1}, grpc.Trailer(&trailer))
	if err != nil {
		t.Fatal(err)
	}
	if reply.GetPromptTokens() != 3 || reply.GetCachedTokens() != 2 || reply.GetFirstToken().GetId() != 7 ||
		reply.GetFinishReason() != pb.FinishReason_FINISH_REASON_LENGTH || len(reply.GetRequestId()) != 32 {
		t.Errorf("got %v", reply)
	}
	got := reply.GetReceipt()
	if got.GetBatchSize() != 1 || got.GetReleaseReason() != pb.ReleaseReason_RELEASE_REASON_WAIT ||
		got.GetAttempts() != 1 || got.GetUpstreamSeconds() <= 0 || got.GetQueueWaitSeconds() <= 0 || got.GetBatchId() == "" {
		t.Errorf("receipt %v", got)
	}
	var sent pb.Receipt
	if v := trailer.Get("paceline-receipt-bin"); len(v) != 1 || proto.Unmarshal([]byte(v[0]), &sent) != nil || !proto.Equal(&sent, got) {
		t.Errorf("trailer %v, want %v", v, got)
	}
}

func TestRequestsThatCanNotShareACallDoNot(t *testing.T) {
	f := newFake(t)
	r := start(t, f, func(c *Config) {
		c.Settings.BatchSize, c.Settings.MaxWait, c.Settings.MergeIdentical = 2, time.Minute, false
	})
	kinds := []*pb.PrefillRequest{
		{Text: "plain"}, {TokenIds: []int32{1}}, {Text: "one", MaxNewTokens: 1},
		{Text: "zero", Priority: proto.Int32(0)}, {Text: "low", Priority: proto.Int32(-5)}, {Text: "adapted", Lora: "x"},
	}
	var ends []<-chan outcome
	for range 2 { // two of each kind make a batch of each
		for _, k := range kinds {
			ends = append(ends, r.send(r.context(), k))
		}
	}
	for _, end := range ends {
		if o := <-end; o.err != nil {
			t.Error(o.err)
		}
	}
	got := map[string]string{}
	for _, c := range f.seen() {
		priority := "none"
		if c.Priority != nil {
			priority = fmt.Sprint(*c.Priority)
		}
		got[fmt.Sprint(c.Text, c.InputIDs)] = fmt.Sprintf("%s %q", priority, c.LoRA)
	}
	want := map[string]string{
		"[plain plain] []": `none ""`, "[] [[1] [1]]": `none ""`, "[one one] []": `none ""`,
		"[zero zero] []": `0 ""`, "[low low] []": `-5 ""`, "[adapted adapted] []": `none "x"`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAFieldThatIsWrongIsNamedInTheDetails(t *testing.T) {
	f := newFake(t)
	r := start(t, f, nil)
	_, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{TokenIds: []int32{1, 2, 3, -1}})
	s := status.Convert(err)
	if s.Code() != codes.InvalidArgument || s.Message() != "token_ids[3]: -1 is outside the vocabulary [0, 1000)" {
		t.Fatalf("got %v", err)
	}
	if f := s.Details()[0].(*errdetails.BadRequest).GetFieldViolations()[0].GetField(); f != "token_ids[3]" {
		t.Errorf("field %q", f)
	}
	if len(f.seen()) != 0 {
		t.Error("it reached SGLang")
	}
}

func TestRequestsThatAskForTheSameTravelAsOnePrompt(t *testing.T) {
	f := newFake(t)
	r := start(t, f, func(c *Config) { c.Settings.BatchSize, c.Settings.MaxWait = 2, time.Minute })
	var ends []<-chan outcome
	for range 3 {
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: "same"}))
	}
	await(t, "all are accepted", func() bool { return r.Pending() == 3 })
	ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: "other"}))
	for i, end := range ends {
		o := <-end
		if o.err != nil {
			t.Fatal(o.err)
		}
		if merged := o.reply.GetReceipt().GetMergedRequests(); merged != []uint32{2, 2, 2, 0}[i] {
			t.Errorf("request %d: merged with %d others", i, merged)
		}
	}
	if calls := f.seen(); len(calls) != 1 || len(calls[0].Text) != 2 {
		t.Errorf("SGLang saw %v", calls)
	}
	status, err := r.admin.GetStatus(r.context(), &pb.GetStatusRequest{})
	if err != nil || status.GetBatcher().GetMerged() != 2 {
		t.Errorf("status %v, %v", status.GetBatcher(), err)
	}
}

// SGLang fails a list for one element without naming it.
func TestAPromptThatSGLangRejectsFailsAlone(t *testing.T) {
	f := newFake(t)
	f.refusing("poison")
	r := start(t, f, func(c *Config) { c.Settings.BatchSize, c.Settings.MaxWait = 8, time.Minute })
	var ends []<-chan outcome
	for i := range 8 {
		text := fmt.Sprintf("prompt %d", i)
		if i == 5 {
			text = "poison prompt"
		}
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: text}))
	}
	for i, end := range ends {
		o := <-end
		if i != 5 {
			if o.err != nil || o.reply.GetReceipt().GetBatchSize() != 8 || o.reply.GetReceipt().GetAttempts() < 2 {
				t.Errorf("neighbour %d: %v, %v", i, o.reply.GetReceipt(), o.err)
			}
			continue
		}
		s := status.Convert(o.err)
		if s.Code() != codes.InvalidArgument || !strings.HasPrefix(s.Message(), "text: SGLang refused it: The input (3001 tokens)") {
			t.Errorf("culprit: %v", o.err)
		}
	}
	if n := len(f.seen()); n > 6 {
		t.Errorf("%d calls; to find one culprit of 8 takes at most 1 + 5", n)
	}
}

// SGLang may hold the ids of a failed list a little longer, and refuses a
// request whose id it holds.
func TestASecondAttemptHasAnIDOfItsOwn(t *testing.T) {
	f := newFake(t)
	f.refusing("poison")
	r := start(t, f, func(c *Config) { c.Settings.BatchSize, c.Settings.MaxWait = 2, time.Minute })
	good := r.send(r.context(), &pb.PrefillRequest{Text: "prompt"})
	bad := r.send(r.context(), &pb.PrefillRequest{Text: "poison"})
	o := <-good
	<-bad
	seen := map[string]bool{}
	var last string
	for _, call := range f.seen() {
		for i, rid := range call.RID {
			if seen[rid] {
				t.Errorf("%s was sent twice", rid)
			}
			seen[rid] = true
			if call.Text[i] == "prompt" {
				last = rid
			}
		}
	}
	if o.err != nil || o.reply.GetRequestId() != last {
		t.Errorf("the reply names %q, SGLang knows %q: %v", o.reply.GetRequestId(), last, o.err)
	}
}

func TestACallerThatHasGoneIsNotSentAgain(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	f.refusing("poison")
	r := start(t, f, func(c *Config) { c.Settings.BatchSize, c.Settings.MaxWait = 2, time.Minute })
	ctx, goAway := context.WithCancel(r.context())
	gone := r.send(ctx, &pb.PrefillRequest{Text: "goes away"})
	await(t, "the first request waits", func() bool { return r.Pending() == 1 })
	culprit := r.send(r.context(), &pb.PrefillRequest{Text: "poison"})
	<-f.entered
	goAway()
	<-gone
	<-f.aborted
	close(f.hold)
	<-culprit
	if calls := f.seen(); len(calls) != 2 || len(calls[1].Text) != 1 || calls[1].Text[0] != "poison" {
		t.Errorf("calls %+v", calls)
	}
}

func TestTroubleAtSGLangIsTriedAgainWhereThatMayHelp(t *testing.T) {
	for _, c := range []struct {
		http  int
		body  string
		code  codes.Code
		retry bool
		calls int
	}{
		{503, `{"object":"error","message":"The request queue is full.","code":503}`, codes.Unavailable, true, 3},
		{500, `Internal Server Error`, codes.Internal, false, 3},
		{401, `{"error":"Unauthorized"}`, codes.Internal, false, 1},
		{200, `what`, codes.Internal, false, 1},
		{404, `{"detail":"Not Found"}`, codes.Internal, false, 1},
	} {
		f := newFake(t)
		f.failing(c.http, c.body)
		r := start(t, f, nil)
		_, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"})
		s := status.Convert(err)
		if s.Code() != c.code || (upstream.RetryAfter(s) > 0) != c.retry {
			t.Errorf("%d: got %v", c.http, err)
		}
		if n := len(f.seen()); n != c.calls {
			t.Errorf("%d: %d calls, want %d", c.http, n, c.calls)
		}
	}
}

func TestACallerThatGoesIsAbortedByRidAndItsNeighbourAnswered(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, func(c *Config) { c.Settings.BatchSize, c.Settings.MaxWait = 2, time.Minute })
	ctx, goAway := context.WithCancel(r.context())
	gone := r.send(ctx, &pb.PrefillRequest{Text: "goes away"})
	await(t, "the first request waits", func() bool { return r.Pending() == 1 })
	stays := r.send(r.context(), &pb.PrefillRequest{Text: "stays"})
	rids := <-f.entered
	goAway()
	if o := <-gone; status.Code(o.err) != codes.Canceled {
		t.Errorf("gone: %v", o.err)
	}
	if rid := <-f.aborted; rid != rids[0] {
		t.Errorf("aborted %s of %v", rid, rids)
	}
	close(f.hold)
	if o := <-stays; o.err != nil {
		t.Errorf("neighbour: %v", o.err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut != 0 || len(f.aborted) != 0 {
		t.Errorf("%d calls cut, %d more aborted", f.cut, len(f.aborted))
	}
}

func TestACallThatNobodyWaitsForIsCut(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, nil)
	ctx, goAway := context.WithCancel(r.context())
	end := r.send(ctx, &pb.PrefillRequest{Text: "a"})
	rids := <-f.entered
	goAway()
	<-end
	if rid := <-f.aborted; rid != rids[0] {
		t.Errorf("aborted %s, want %s", rid, rids[0])
	}
	await(t, "the slot is free", func() bool { return r.up.Queue.Stats().InFlight == 0 })
}

func TestADeadlineInTheQueueCostsSGLangNothing(t *testing.T) {
	f := newFake(t)
	r := start(t, f, func(c *Config) { c.Settings.MaxWait = time.Minute })
	ctx, cancel := context.WithTimeout(r.context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.prefill.Prefill(ctx, &pb.PrefillRequest{Text: "a"}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
	await(t, "the queue is empty", func() bool { return r.Pending() == 0 })
	if len(f.seen()) != 0 || len(f.aborted) != 0 {
		t.Error("SGLang was asked")
	}
}

// occupy holds the only slot and the only place of the queue.
func occupy(r *running, f *fakeSGLang) (ends []<-chan outcome) {
	ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: "in flight"}))
	<-f.entered
	ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: "queued"}))
	await(r.t, "one is queued", func() bool { return r.Pending() == 2 })
	return ends
}

func tight(c *Config) {
	c.Settings.BatchSize, c.Settings.MaxInFlight, c.Settings.QueueRequests = 1, 1, 1
}

func TestAFullQueueRefusesAtOnceAndNamesTheBound(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, tight)
	ends := occupy(r, f)
	_, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "too many"})
	s := status.Convert(err)
	if s.Code() != codes.ResourceExhausted || upstream.RetryAfter(s) == 0 || !strings.Contains(s.Message(), "queue_requests is 1") {
		t.Errorf("got %v", err)
	}
	close(f.hold)
	for _, end := range ends {
		if o := <-end; o.err != nil {
			t.Error(o.err)
		}
	}
}

func TestHealthTellsReadinessAndLivenessApart(t *testing.T) {
	f := newFake(t)
	f.stop()
	r := startUnready(t, f, nil)
	for service, want := range map[string]healthpb.HealthCheckResponse_ServingStatus{
		"":                           healthpb.HealthCheckResponse_NOT_SERVING,
		"paceline.v1.PrefillService": healthpb.HealthCheckResponse_NOT_SERVING,
		"liveness":                   healthpb.HealthCheckResponse_SERVING,
	} {
		got, err := r.health.Check(r.context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != want {
			t.Errorf("%q: %v, %v", service, got, err)
		}
	}
}

func TestTheServicesCanBeListed(t *testing.T) {
	r := start(t, newFake(t), nil)
	for addr, want := range map[string]string{r.Addr(): "paceline.v1.PrefillService", r.AdminAddr(): "paceline.v1.AdminService"} {
		stream, err := reflectionpb.NewServerReflectionClient(r.dial(addr)).ServerReflectionInfo(r.context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
		}); err != nil {
			t.Fatal(err)
		}
		m, err := stream.Recv()
		if err != nil || !strings.Contains(m.String(), want) {
			t.Errorf("%s is missing: %v, %v", want, m, err)
		}
		if err := stream.CloseSend(); err != nil {
			t.Error(err)
		}
	}
}

func TestPromptsStayOutOfErrorsAndTheLog(t *testing.T) {
	f := newFake(t)
	r := start(t, f, nil)
	const secret = "quite secret words"
	for _, code := range []int{http.StatusBadRequest, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		f.failing(code,
			fmt.Sprintf(`{"object":"error","message":"1 validation error:\n {'loc': ('body', 'text'), 'input': '%s'}","code":400}`, secret))
		if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: secret}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%d: %v", code, err)
		}
	}
	if strings.Contains(r.log.String(), secret) {
		t.Error(r.log.String())
	}
}
