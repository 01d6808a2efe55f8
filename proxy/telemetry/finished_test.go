package telemetry

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// both are a provider of the SDK and one of ours around it, with what they make.
func both(sampler *sampler) (sdk, own trace.TracerProvider, spans *tracetest.SpanRecorder) {
	spans = tracetest.NewSpanRecorder()
	r := resource.NewSchemaless(attribute.String("service.name", "x"))
	p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithResource(r), sdktrace.WithSampler(sampler))
	return p, &provider{p, sampler, spans, r}, spans
}

func someFinished() Finished {
	at := time.Date(2026, 11, 25, 0, 0, 0, 7, time.UTC)
	state, _ := trace.ParseTraceState("a=b")
	other := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{9}, SpanID: trace.SpanID{8}, TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true})
	return Finished{
		Name: "n", Start: at, End: at.Add(time.Second),
		Attributes: []attribute.KeyValue{attribute.String("k", "v"), attribute.Int("i", 3)},
		Links:      []trace.Link{{SpanContext: other, Attributes: []attribute.KeyValue{attribute.Bool("b", true)}}},
		Status:     sdktrace.Status{Code: codes.Error, Description: "why"},
	}
}

func TestARecordedSpanIsWhatTheSDKWouldMake(t *testing.T) {
	sdk, own, spans := both(&sampler{below: always})
	options := []trace.TracerOption{trace.WithInstrumentationVersion("1"), trace.WithSchemaURL("u"), trace.WithInstrumentationAttributes(attribute.String("s", "t"))}
	ctx, parent := own.Tracer("scope", options...).Start(context.Background(), "parent")
	defer parent.End()
	for _, f := range []Finished{someFinished(), {Name: "bare", Start: time.Unix(1, 0), End: time.Unix(2, 0)}} {
		Record(ctx, sdk.Tracer("scope", options...), f)
		Record(ctx, own.Tracer("scope", options...), f)
	}
	comparePairs(t, spans, 2)
}

// comparePairs holds spans of the SDK against those of ours that follow them.
func comparePairs(t *testing.T, spans *tracetest.SpanRecorder, pairs int) {
	t.Helper()
	ended := tracetest.SpanStubsFromReadOnlySpans(spans.Ended())
	if len(ended) != 2*pairs {
		t.Fatalf("%d spans, want %d", len(ended), 2*pairs)
	}
	for i := 0; i < len(ended); i += 2 {
		want, got := ended[i], ended[i+1]
		if got.SpanContext.SpanID() == want.SpanContext.SpanID() || !got.SpanContext.IsValid() {
			t.Errorf("span ids %v and %v", got.SpanContext, want.SpanContext)
		}
		want.SpanContext = want.SpanContext.WithSpanID(got.SpanContext.SpanID())
		if !want.Parent.IsValid() { // a trace of its own
			want.SpanContext = want.SpanContext.WithTraceID(got.SpanContext.TraceID())
		}
		same := cmp.Options{
			cmp.Comparer(func(a, b trace.SpanContext) bool { return a.Equal(b) }),
			cmp.Comparer(func(a, b attribute.Value) bool { return a.String() == b.String() && a.Type() == b.Type() }),
			cmp.Comparer(func(a, b attribute.Set) bool { return a.Equals(&b) }),
			cmp.Comparer(func(a, b *resource.Resource) bool { return a.Equal(b) }),
			cmpopts.EquateEmpty(),
		}
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Error(diff)
		}
	}
}

func TestNothingIsRecordedUnderASpanThatIsNotSampled(t *testing.T) {
	sdk, own, spans := both(&sampler{})
	ctx, parent := own.Tracer("scope").Start(context.Background(), "parent")
	defer parent.End()
	for _, ctx := range []context.Context{ctx, context.Background()} {
		Record(ctx, own.Tracer("scope"), someFinished())
		Record(ctx, sdk.Tracer("scope"), someFinished())
	}
	if n := len(spans.Ended()); n != 0 {
		t.Errorf("%d spans", n)
	}
}

func TestLimitsOfTheEnvironmentAreLeftToTheSDK(t *testing.T) {
	for name, limited := range map[string]bool{"": false, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": true, "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": true, "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": true} {
		t.Run(name, func(t *testing.T) {
			if name != "" {
				t.Setenv(name, "3")
			}
			t.Setenv("OTEL_TRACES_EXPORTER", "console")
			tr, err := Start(context.Background(), Defaults{Service: "x"})
			if err != nil {
				t.Fatal(err)
			}
			if _, own := tr.Provider.(*provider); own == limited {
				t.Errorf("spans pass the SDK by: %v", own)
			}
			if err := tr.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRecordedSpansAndThoseThatWereStartedAreOnePartOfAnExport(t *testing.T) {
	_, own, spans := both(&sampler{below: always})
	tracer := own.Tracer("scope", trace.WithInstrumentationVersion("1"))
	for range 3 {
		ctx, parent := tracer.Start(context.Background(), "parent")
		Record(ctx, tracer, someFinished())
		parent.End()
	}
	got := received(t, ours, spans.Ended())
	if parts := got.GetResourceSpans(); len(parts) != 1 || len(parts[0].GetScopeSpans()) != 1 || len(parts[0].GetScopeSpans()[0].GetSpans()) != 6 {
		t.Errorf("%v", got)
	}
}

// BenchmarkRecord compares a span that is recorded with one that is started and ended,
// both before a processor that takes none.
func BenchmarkRecord(b *testing.B) {
	sdk := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(nowhere{}))
	own := &provider{sdk, &sampler{below: always}, nowhere{}, resource.Empty()}
	ctx, parent := sdk.Tracer("x").Start(context.Background(), "parent")
	defer parent.End()
	for name, p := range map[string]trace.TracerProvider{"started": sdk, "recorded": own} {
		b.Run(name, func(b *testing.B) {
			t, f := p.Tracer("x"), someFinished()
			b.ReportAllocs()
			for b.Loop() {
				Record(ctx, t, f)
			}
		})
	}
}

type nowhere struct{}

func (nowhere) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (nowhere) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (nowhere) Shutdown(context.Context) error                  { return nil }
func (nowhere) ForceFlush(context.Context) error                { return nil }
