package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/telemetry"
	"paceline/proxy/telemetry/otlptest"
)

// traces is a collector and the tracing that exports to it.
type traces struct {
	t *testing.T
	*otlptest.Collector
	tracing *telemetry.Tracing
}

// traced is a configuration whose spans reach a collector.
func tracedTo(t *testing.T, env ...string) (*traces, func(*Config)) {
	c := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	for i := 0; i+1 < len(env); i += 2 {
		t.Setenv(env[i], env[i+1])
	}
	tracing, err := telemetry.Start(context.Background(), telemetry.Defaults{Service: "paceline", Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	tr := &traces{t, c, tracing}
	t.Cleanup(func() { _ = tracing.Shutdown(context.Background()) })
	return tr, func(cfg *Config) { cfg.TracerProvider, cfg.Propagator = tracing.Provider, tracing.Propagator }
}

// all ends the proxy and returns every span that it made.
func (tr *traces) all(r *running) []otlptest.Span {
	tr.t.Helper()
	r.stop()
	<-r.ended
	if err := tr.tracing.Shutdown(context.Background()); err != nil {
		tr.t.Fatal(err)
	}
	return tr.Spans()
}

func named(spans []otlptest.Span, name string) (out []otlptest.Span) {
	for _, s := range spans {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

func describe(spans []otlptest.Span) string {
	var b strings.Builder
	for _, s := range spans {
		fmt.Fprintf(&b, "\n%s %s/%s below %q error %v %q links %d %v", s.Name, s.TraceID[:4], s.SpanID[:4], s.ParentID, s.Error,
			s.Message, len(s.Links), s.Attributes)
	}
	return b.String()
}

const spanPrefill = "paceline.v1.PrefillService/Prefill"

func TestABatchAndItsRequestsAreLinkedBothWays(t *testing.T) {
	const n = 16
	tr, with := tracedTo(t)
	f := newFake(t)
	r := start(t, f, func(c *Config) {
		with(c)
		c.Settings.BatchSize, c.Settings.MaxWait = n, time.Minute
	})
	var ends []<-chan outcome
	for i := range n {
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: fmt.Sprintf("prompt %d", i)}))
	}
	var id string
	for _, end := range ends {
		o := <-end
		if o.err != nil {
			t.Fatal(o.err)
		}
		id = o.reply.GetReceipt().GetBatchId()
	}
	spans := tr.all(r)
	batches, members := named(spans, "batch.dispatch"), named(spans, "batch.member")
	waits, executes := named(spans, "batch.wait"), named(spans, "batch.execute")
	servers, calls := named(spans, spanPrefill), named(spans, "POST /generate")
	if len(batches) != 1 || len(members) != n || len(waits) != n || len(executes) != n || len(servers) != n || len(calls) != 1 {
		t.Fatal(describe(spans))
	}
	batch := batches[0]
	if batch.ParentID != "" || len(batch.Links) != n || batch.Attributes["batch.size"] != int64(n) || batch.Attributes["batch.id"] != id ||
		batch.Attributes["batch.release_reason"] != "full" || batch.Attributes["gen_ai.request.model"] != "tiny" {
		t.Error(describe(batches))
	}
	server := map[string]otlptest.Span{} // by trace
	for _, s := range servers {
		server[s.TraceID] = s
	}
	if len(server) != n || server[batch.TraceID].Name != "" {
		t.Fatalf("%d request traces, or the batch is in one", len(server))
	}
	positions := map[any]bool{}
	for i := range n {
		if s := server[batch.Links[i].TraceID]; s.SpanID != batch.Links[i].SpanID {
			t.Errorf("link %d of the batch leads to no request", i)
		}
		m := members[i]
		if len(m.Links) != 1 || server[m.Links[0].TraceID].SpanID != m.Links[0].SpanID || m.ParentID != batch.SpanID ||
			m.Attributes["batch.id"] != id {
			t.Error(describe(members[i : i+1]))
		}
		positions[m.Attributes["batch.position"]] = true
		for _, s := range []otlptest.Span{waits[i], executes[i]} {
			if s.ParentID != server[s.TraceID].SpanID || s.Attributes["batch.id"] != id {
				t.Error(describe([]otlptest.Span{s}))
			}
		}
		x := executes[i]
		if len(x.Links) != 1 || x.Links[0].SpanID != batch.SpanID || x.Attributes["batch.size"] != int64(n) ||
			x.Attributes["gen_ai.usage.input_tokens"] != int64(2) || x.Attributes["batch.attempts"] != int64(1) {
			t.Error(describe([]otlptest.Span{x}))
		}
	}
	if len(positions) != n {
		t.Errorf("positions %v", positions)
	}
	call := calls[0]
	if want := "00-" + call.TraceID + "-" + call.SpanID + "-01"; call.ParentID != batch.SpanID ||
		f.seen()[0].header.Get("Traceparent") != want {
		t.Errorf("%s; SGLang got %q", describe(calls), f.seen()[0].header.Get("Traceparent"))
	}
}

func TestRequestsThatTravelAsOnePromptAreAllLinked(t *testing.T) {
	tr, with := tracedTo(t)
	r := start(t, newFake(t), func(c *Config) {
		with(c)
		c.Settings.BatchSize, c.Settings.MaxWait = 2, time.Minute
	})
	var ends []<-chan outcome
	for range 3 {
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: "same"}))
	}
	await(t, "all are accepted", func() bool { return r.Pending() == 3 })
	for _, end := range append(ends, r.send(r.context(), &pb.PrefillRequest{Text: "other"})) {
		if o := <-end; o.err != nil {
			t.Fatal(o.err)
		}
	}
	spans := tr.all(r)
	batch, members := named(spans, "batch.dispatch")[0], named(spans, "batch.member")
	if len(batch.Links) != 4 || batch.Attributes["batch.requests"] != int64(4) || len(members) != 2 ||
		len(members[0].Links)+len(members[1].Links) != 4 {
		t.Error(describe(spans))
	}
}

func TestATraceOfTheCallersIsContinuedOnEveryWayIn(t *testing.T) {
	const traceID, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	const header = "00-" + traceID + "-" + parent + "-01"
	tr, with := tracedTo(t)
	_, url := simulated(t)
	r := start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, with)
	ctx := metadata.AppendToOutgoingContext(r.context(), "traceparent", header)
	if _, err := r.prefill.Prefill(ctx, &pb.PrefillRequest{Text: "grpc"}); err != nil {
		t.Fatal(err)
	}
	r.post(`{"text":"rest"}`, "traceparent", header)
	r.http(http.MethodPost, r.HTTPAddr()+"/generate", `{"text":"drop in","sampling_params":{"max_new_tokens":1}}`, "traceparent", header)
	r.http(http.MethodGet, r.HTTPAddr()+"/v1/models", "", "traceparent", header)
	spans := tr.all(r)
	var below []string
	for _, s := range spans {
		if s.ParentID == parent && s.TraceID == traceID {
			below = append(below, s.Name)
		}
	}
	slices.Sort(below)
	if want := []string{"GET /v1/models", "POST /generate", spanPrefill, spanPrefill}; !slices.Equal(below, want) {
		t.Errorf("%v%s", below, describe(spans))
	}
	if n := len(named(spans, "batch.execute")); n != 3 {
		t.Errorf("%d requests were executed", n)
	}
}

func TestFollowersLinkToTheirLeader(t *testing.T) {
	tr, with := tracedTo(t)
	_, url := simulated(t)
	r := start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, with)
	body := fmt.Sprintf(`{"model":"m","prompt":%q,"max_tokens":3,"stream":true}`, strings.Repeat("one shared beginning ", 300))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			r.http(http.MethodPost, r.HTTPAddr()+"/v1/completions", body, "Content-Type", "application/json")
		})
	}
	wg.Wait()
	spans := tr.all(r)
	roles := map[any]int{}
	var leader string
	all := named(spans, "POST /v1/completions")
	for _, s := range all {
		if roles[s.Attributes["paceline.role"]]++; s.Attributes["paceline.role"] == "leader" {
			leader = s.SpanID
		}
	}
	if roles["leader"] != 1 || roles["follower"] != 2 {
		t.Errorf("%v%s", roles, describe(spans))
	}
	for _, s := range all {
		if s.Attributes["paceline.role"] == "follower" && (len(s.Links) != 1 || s.Links[0].SpanID != leader) {
			t.Errorf("links %v, want one to %s", s.Links, leader)
		}
	}
}

func TestRefusalsAndCancellationsAreSeen(t *testing.T) {
	tr, with := tracedTo(t)
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, func(c *Config) { with(c); tight(c) })
	first := r.send(r.context(), &pb.PrefillRequest{Text: "first"})
	<-f.entered
	ctx, cancel := context.WithCancel(r.context())
	second := r.send(ctx, &pb.PrefillRequest{Text: "second"})
	await(t, "the second waits", func() bool { return r.Pending() == 2 })
	_, full := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "third"})
	_, empty := r.prefill.Prefill(r.context(), &pb.PrefillRequest{})
	if status.Code(full) != codes.ResourceExhausted || status.Code(empty) != codes.InvalidArgument {
		t.Fatal(full, empty)
	}
	cancel()
	<-second
	await(t, "the second has left", func() bool { return r.Pending() == 1 })
	close(f.hold)
	if o := <-first; o.err != nil {
		t.Fatal(o.err)
	}
	spans := tr.all(r)
	codesSeen := map[any]bool{}
	for _, s := range named(spans, spanPrefill) {
		code := s.Attributes["rpc.response.status_code"]
		codesSeen[code] = true
		if s.Error != (code == "RESOURCE_EXHAUSTED") {
			t.Error(describe([]otlptest.Span{s}))
		}
	}
	for _, want := range []string{"OK", "CANCELLED", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"} {
		if !codesSeen[want] {
			t.Errorf("no request ended with %s: %v", want, codesSeen)
		}
	}
	refused := 0
	for _, s := range named(spans, "batch.wait") {
		if kind := s.Attributes["error.type"]; kind == "CANCELLED" || kind == "RESOURCE_EXHAUSTED" {
			refused++
		}
	}
	if refused != 2 {
		t.Error(describe(named(spans, "batch.wait")))
	}
}

func TestIsolationIsSeenInTheTraceOfTheBatch(t *testing.T) {
	tr, with := tracedTo(t)
	f := newFake(t)
	f.refusing("poison")
	r := start(t, f, func(c *Config) { with(c); c.Settings.BatchSize, c.Settings.MaxWait = 4, time.Minute })
	for _, end := range sendEach(t, r, "one", "two", "a poison", "four") {
		<-end
	}
	spans := tr.all(r)
	batch, calls := named(spans, "batch.dispatch")[0], named(spans, "POST /generate")
	if batch.Attributes["batch.split"] != true || batch.Attributes["batch.calls"] != int64(len(calls)) || len(calls) < 3 {
		t.Error(describe(spans))
	}
	bad := 0
	for _, m := range named(spans, "batch.member") {
		if m.Error {
			bad++
		} else if m.Attributes["batch.attempts"].(int64) < 2 {
			t.Error(describe([]otlptest.Span{m}))
		}
	}
	if bad != 1 {
		t.Error(describe(spans))
	}
}

func TestABatchOfUnsampledRequestsHasNoTrace(t *testing.T) {
	tr, with := tracedTo(t, "OTEL_TRACES_SAMPLER", "parentbased_always_off")
	f := newFake(t)
	r := start(t, f, with)
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "unseen"}); err != nil {
		t.Fatal(err)
	}
	if spans := tr.all(r); len(spans) != 0 {
		t.Error(describe(spans))
	}
	if h := f.seen()[0].header.Get("Traceparent"); h != "" {
		t.Errorf("SGLang was told of a trace that nobody sees: %s", h)
	}
}

func TestABatchLinksToItsSampledRequestsOnly(t *testing.T) {
	const sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	tr, with := tracedTo(t, "OTEL_TRACES_SAMPLER", "parentbased_always_off")
	r := start(t, newFake(t), func(c *Config) { with(c); c.Settings.BatchSize, c.Settings.MaxWait = 3, time.Minute })
	var ends []<-chan outcome
	for i := range 3 {
		ctx := r.context()
		if i == 1 {
			ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", sampled)
		}
		ends = append(ends, r.send(ctx, &pb.PrefillRequest{Text: fmt.Sprint("prompt ", i)}))
	}
	for _, end := range ends {
		if o := <-end; o.err != nil {
			t.Fatal(o.err)
		}
	}
	spans := tr.all(r)
	batches, members := named(spans, "batch.dispatch"), named(spans, "batch.member")
	if len(batches) != 1 || len(batches[0].Links) != 1 || batches[0].Attributes["batch.size"] != int64(3) || len(members) != 1 ||
		len(members[0].Links) != 1 {
		t.Error(describe(spans))
	}
}

func TestWithoutMembersABatchHasLinksOnly(t *testing.T) {
	tr, with := tracedTo(t)
	r := start(t, newFake(t), func(c *Config) { with(c); c.TraceDetail = TraceDetailLinks })
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "one"}); err != nil {
		t.Fatal(err)
	}
	spans := tr.all(r)
	if batches := named(spans, "batch.dispatch"); len(batches) != 1 || len(batches[0].Links) != 1 ||
		len(named(spans, "batch.member")) != 0 {
		t.Error(describe(spans))
	}
}

func TestAStreamHasASpanForEachRequest(t *testing.T) {
	tr, with := tracedTo(t)
	r := start(t, newFake(t), with)
	stream := r.stream(r.context())
	for i := range 3 {
		send(t, stream, &pb.PrefillRequest{RequestId: fmt.Sprint(i), Text: fmt.Sprint("prompt ", i)})
	}
	_ = stream.CloseSend()
	hear(t, stream)
	spans := tr.all(r)
	streams := named(spans, "paceline.v1.PrefillService/PrefillStream")
	requests := named(spans, "paceline.v1.PrefillService/PrefillStream request")
	if len(streams) != 1 || len(requests) != 3 || requests[0].ParentID != streams[0].SpanID {
		t.Error(describe(spans))
	}
}

func TestNoSpanHoldsAPrompt(t *testing.T) {
	const secret = "quite-secret-words"
	tr, with := tracedTo(t)
	f := newFake(t)
	r := start(t, f, with)
	ask := func() {
		_, _ = r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: secret})
		r.post(`{"text":"` + secret + `"}`)
		r.post(`{"text":` + secret)
		r.http(http.MethodPost, r.HTTPAddr()+"/generate", `{"text":["`+secret+`"],"sampling_params":{"max_new_tokens":1}}`)
		r.http(http.MethodPost, r.HTTPAddr()+"/v1/completions?"+secret, `{"prompt":"`+secret+`"}`)
		r.http(http.MethodPost, r.HTTPAddr()+"/"+secret, "")
	}
	ask()
	for _, code := range []int{http.StatusBadRequest, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		f.failing(code, fmt.Sprintf(`{"object":"error","message":"1 validation error:\n {'input': '%s'}","code":400}`, secret))
		ask()
	}
	spans := tr.all(r)
	if len(spans) < 20 {
		t.Fatal(describe(spans))
	}
	for _, s := range spans {
		if strings.Contains(fmt.Sprintf("%+v", s), secret) {
			t.Error(describe([]otlptest.Span{s}))
		}
	}
}

func TestTheLogNamesTheTrace(t *testing.T) {
	tr, with := tracedTo(t)
	f := newFake(t)
	f.failing(http.StatusInternalServerError, "broken")
	r := start(t, f, with)
	_, _ = r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "one"})
	batches := named(tr.all(r), "batch.dispatch")
	if len(batches) != 1 || !strings.Contains(r.log.String(), "trace_id="+batches[0].TraceID) {
		t.Errorf("%s%s", r.log.String(), describe(batches))
	}
}

func TestAnAbortHasTheTraceOfItsRequest(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	defer close(f.hold)
	parents := make(chan string, 10)
	f.mu.Lock()
	h := f.server.Handler
	f.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/abort_request" {
			parents <- r.Header.Get("traceparent")
		}
		h.ServeHTTP(w, r)
	})
	f.mu.Unlock()
	r := start(t, f, func(c *Config) {
		c.TracerProvider = sdktrace.NewTracerProvider()
		c.Settings.MaxWait = 0
	})
	const id = "0af7651916cd43dd8448eb211c80319c"
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(r.context(), "traceparent", "00-"+id+"-b7ad6b7169203331-01"))
	end := r.send(ctx, &pb.PrefillRequest{Text: "go away"})
	<-f.entered
	cancel()
	<-end
	if p := <-parents; !strings.Contains(p, id) {
		t.Errorf("the abort has traceparent %q", p)
	}
}
