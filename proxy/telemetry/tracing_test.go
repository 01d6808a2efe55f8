package telemetry

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"paceline/proxy/telemetry/otlptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started is Start with this environment and nothing else of OpenTelemetry's.
func started(t *testing.T, env ...string) (*Tracing, error) {
	t.Helper()
	for i := 0; i+1 < len(env); i += 2 {
		t.Setenv(env[i], env[i+1])
	}
	tr, err := Start(context.Background(), Defaults{Service: "paceline", Version: "v1"})
	if err == nil {
		t.Cleanup(func() { _ = tr.Shutdown(context.Background()) })
	}
	return tr, err
}

func mustStart(t *testing.T, env ...string) *Tracing {
	t.Helper()
	tr, err := started(t, env...)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// span makes and ends one, in the trace of ctx.
func (t *Tracing) span(ctx context.Context, name string, options ...trace.SpanStartOption) trace.Span {
	_, s := t.Provider.Tracer("test").Start(ctx, name, options...)
	s.End()
	return s
}

func shut(t *testing.T, tr *Tracing) {
	t.Helper()
	if err := tr.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutAnEndpointNothingIsTraced(t *testing.T) {
	for _, env := range [][]string{
		{},
		{"OTEL_TRACES_EXPORTER", "none", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"},
		{"OTEL_SDK_DISABLED", "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"},
	} {
		t.Run(strings.Join(env, " "), func(t *testing.T) {
			tr := mustStart(t, env...)
			if tr.Provider != nil || tr.Exporter != "" {
				t.Errorf("%+v", tr)
			}
			shut(t, tr)
		})
	}
}

func TestAWrongVariableIsNamed(t *testing.T) {
	const endpoint = "http://127.0.0.1:1"
	for _, env := range [][]string{
		{"OTEL_TRACES_EXPORTER", "zipkin"},
		{"OTEL_SDK_DISABLED", "perhaps"},
		{"OTEL_PROPAGATORS", "pigeon"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "OTEL_EXPORTER_OTLP_ENDPOINT", endpoint},
		{"OTEL_TRACES_SAMPLER", "sometimes", "OTEL_EXPORTER_OTLP_ENDPOINT", endpoint},
		{"OTEL_TRACES_SAMPLER_ARG", "2", "OTEL_TRACES_SAMPLER", "traceidratio", "OTEL_EXPORTER_OTLP_ENDPOINT", endpoint},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "none", "OTEL_EXPORTER_OTLP_ENDPOINT", endpoint},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"},
		{"OTEL_RESOURCE_ATTRIBUTES", "novalue", "OTEL_EXPORTER_OTLP_ENDPOINT", endpoint},
	} {
		t.Run(env[0], func(t *testing.T) {
			if _, err := started(t, env...); err == nil || !strings.HasPrefix(err.Error(), env[0]+": ") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestSpansArriveByEitherProtocolWithHeadersAndResource(t *testing.T) {
	for protocol, endpoint := range map[string]func(*otlptest.Collector) string{
		"grpc":          func(c *otlptest.Collector) string { return c.GRPC },
		"http/protobuf": func(c *otlptest.Collector) string { return c.URL },
		"":              func(c *otlptest.Collector) string { return c.URL },
	} {
		t.Run(protocol, func(t *testing.T) {
			c := otlptest.New(t)
			tr := mustStart(t, "OTEL_EXPORTER_OTLP_ENDPOINT", endpoint(c), "OTEL_EXPORTER_OTLP_PROTOCOL", protocol,
				"OTEL_EXPORTER_OTLP_HEADERS", "authorization=token", "OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
			tr.span(context.Background(), "one")
			shut(t, tr)
			spans := c.Spans()
			if len(spans) != 1 || spans[0].Service != "paceline" || spans[0].Resource["deployment.environment.name"] != "test" ||
				spans[0].Resource["service.version"] != "v1" || c.Header("Authorization") != "token" {
				t.Errorf("%+v, header %q", spans, c.Header("Authorization"))
			}
			if s := tr.Spans(); s != (Spans{Exported: 1}) {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestTheServiceIsNamedByTheEnvironment(t *testing.T) {
	for _, env := range [][]string{{"OTEL_SERVICE_NAME", "mine"}, {"OTEL_RESOURCE_ATTRIBUTES", "service.name=mine"}} {
		t.Run(env[0], func(t *testing.T) {
			c := otlptest.New(t)
			tr := mustStart(t, append(env, "OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)...)
			tr.span(context.Background(), "one")
			shut(t, tr)
			if spans := c.Spans(); len(spans) != 1 || spans[0].Service != "mine" {
				t.Errorf("%+v", spans)
			}
		})
	}
}

func TestPropagatorsAreThoseOfTheEnvironment(t *testing.T) {
	c := otlptest.New(t)
	tr := mustStart(t, "OTEL_EXPORTER_OTLP_ENDPOINT", c.URL, "OTEL_PROPAGATORS", "b3")
	ctx, s := tr.Provider.Tracer("test").Start(context.Background(), "one")
	defer s.End()
	h := http.Header{}
	tr.Propagator.Inject(ctx, propagation.HeaderCarrier(h))
	if h.Get("B3") == "" || h.Get("Traceparent") != "" {
		t.Errorf("%v", h)
	}
}

// remote is the context of a caller of another process.
func remote(sampled bool) context.Context {
	sc := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.TraceFlags(0).WithSampled(sampled), Remote: true,
	})
	return trace.ContextWithRemoteSpanContext(context.Background(), sc)
}

func TestSamplersAreThoseOfTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		name, arg                       string
		alone, withSampled, withDropped bool
	}{
		{"", "", true, true, false},
		{"always_on", "", true, true, true},
		{"always_off", "", false, false, false},
		{"traceidratio", "0", false, false, false},
		{"traceidratio", "1", true, true, true},
		{"parentbased_always_off", "", false, true, false},
		{"parentbased_traceidratio", "0", false, true, false},
		{"parentbased_traceidratio", "", true, true, false},
	} {
		t.Run(c.name+c.arg, func(t *testing.T) {
			tr := mustStart(t, "OTEL_TRACES_EXPORTER", "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT", otlptest.New(t).URL,
				"OTEL_TRACES_SAMPLER", c.name, "OTEL_TRACES_SAMPLER_ARG", c.arg)
			for i, ctx := range []context.Context{context.Background(), remote(true), remote(false)} {
				want := []bool{c.alone, c.withSampled, c.withDropped}[i]
				if got := tr.span(ctx, "one").SpanContext().IsSampled(); got != want {
					t.Errorf("context %d: sampled %v, want %v", i, got, want)
				}
			}
		})
	}
}

func TestTheSamplerDecidesAsTheSDKsDo(t *testing.T) {
	ratio := sdktrace.TraceIDRatioBased(.3)
	for name, sdks := range map[string]sdktrace.Sampler{
		"always_on": sdktrace.AlwaysSample(), "always_off": sdktrace.NeverSample(), "traceidratio": ratio,
		"parentbased_always_on": sdktrace.ParentBased(sdktrace.AlwaysSample()), "parentbased_traceidratio": sdktrace.ParentBased(ratio),
		"parentbased_always_off": sdktrace.ParentBased(sdktrace.NeverSample()),
	} {
		ours, err := newSampler(Defaults{Sampler: name, Ratio: "0.3"})
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			p := sdktrace.SamplingParameters{Name: "one"}
			binary.BigEndian.PutUint64(p.TraceID[8:], rand.Uint64())
			for _, ctx := range []context.Context{context.Background(), remote(true), remote(false)} {
				p.ParentContext = ctx
				if got, want := ours.ShouldSample(p).Decision, sdks.ShouldSample(p).Decision; got != want {
					t.Fatalf("%s, trace %v: %v, the SDK's: %v", name, p.TraceID, got, want)
				}
			}
		}
	}
}

func TestABatchIsSampledWithAnyOfItsRequestsAndKeepsAllLinks(t *testing.T) {
	c := otlptest.New(t)
	tr := mustStart(t, "OTEL_EXPORTER_OTLP_ENDPOINT", c.URL, "OTEL_TRACES_SAMPLER", "parentbased_always_off",
		"OTEL_SPAN_LINK_COUNT_LIMIT", "10")
	links := make([]trace.Link, 1000)
	for i := range links {
		links[i] = trace.LinkFromContext(remote(false))
	}
	none := tr.span(context.Background(), SpanDispatch, trace.WithLinks(links...))
	links[999] = trace.LinkFromContext(remote(true))
	one := tr.span(context.Background(), SpanDispatch, trace.WithLinks(links...))
	if none.SpanContext().IsSampled() || !one.SpanContext().IsSampled() {
		t.Error("sampled without need, or not where one was")
	}
	shut(t, tr)
	if spans := c.Spans(); len(spans) != 1 || len(spans[0].Links) != 1000 {
		t.Errorf("%d spans", len(spans))
	}
}

func TestLimitsOfTheEnvironmentHold(t *testing.T) {
	c := otlptest.New(t)
	tr := mustStart(t, "OTEL_EXPORTER_OTLP_ENDPOINT", c.URL, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1",
		"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")
	tr.span(context.Background(), "one", trace.WithAttributes(attribute.String("a", "abcdef"), attribute.String("b", "x")))
	shut(t, tr)
	if spans := c.Spans(); len(spans) != 1 || len(spans[0].Attributes) != 1 || spans[0].Attributes["a"] != "abc" {
		t.Errorf("%+v", spans)
	}
}

func TestALostCollectorHoldsNobodyUpAndItsSpansAreCounted(t *testing.T) {
	release := make(chan struct{})
	slow := otlptest.New(t)
	slow.Answer = func() int { <-release; return http.StatusOK }
	refusing := otlptest.New(t)
	refusing.Answer = func() int { return http.StatusForbidden }
	for name, url := range map[string]string{"dead": "http://127.0.0.1:1", "slow": slow.URL, "refusing": refusing.URL} {
		t.Run(name, func(t *testing.T) {
			tr := mustStart(t, "OTEL_EXPORTER_OTLP_ENDPOINT", url, "OTEL_BSP_MAX_QUEUE_SIZE", "100", "OTEL_EXPORTER_OTLP_TIMEOUT", "500")
			const n = 20_000
			for range n {
				tr.span(context.Background(), "one")
			}
			s := tr.Spans()
			if s.Waiting > 100 || s.Exported != 0 || s.Failed+s.Dropped+s.Waiting != n || s.Dropped == 0 {
				t.Errorf("%+v", s)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			_ = tr.Shutdown(ctx) // what can't be sent is left
			if after := tr.Spans(); after.Failed+after.Dropped+after.Waiting != n {
				t.Errorf("%+v", after)
			}
		})
	}
	close(release)
}

func TestAnEndThatRunsOutOfTimeBreaksOffTheExportUnderWay(t *testing.T) {
	asked, gone := make(chan struct{}, 1), make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-r.Context().Done() // the exporter has hung up
		close(gone)
	}))
	defer hanging.Close()
	tr := mustStart(t, "OTEL_EXPORTER_OTLP_ENDPOINT", hanging.URL, "OTEL_EXPORTER_OTLP_TIMEOUT", "3600000", "OTEL_BSP_SCHEDULE_DELAY", "1")
	tr.span(context.Background(), "one")
	<-asked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tr.Shutdown(ctx); err == nil {
		t.Error("an export that hangs was said to have ended")
	}
	<-gone
}
