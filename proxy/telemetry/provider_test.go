package telemetry

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func TestASpanIsWhatTheSDKWouldMake(t *testing.T) {
	sdk, own, spans := both(&sampler{below: always})
	at := time.Unix(5, 6)
	link := someFinished().Links[0]
	end := trace.WithTimestamp(at.Add(time.Hour))
	uses := map[string]func(context.Context, trace.Tracer){
		"all at its start": func(ctx context.Context, t trace.Tracer) {
			_, s := t.Start(ctx, "n", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(at), trace.WithLinks(link),
				trace.WithAttributes(attribute.Int("a", 1), attribute.String("b", "x")))
			s.End(end)
		},
		"all afterwards": func(ctx context.Context, t trace.Tracer) {
			_, s := t.Start(ctx, "n", trace.WithTimestamp(at))
			s.SetName("other")
			s.AddLink(link)
			s.SetAttributes(attribute.Int("a", 1), attribute.String("b", "x"))
			s.SetAttributes(attribute.Int("a", 2), attribute.Bool("c", true))
			s.SetStatus(codes.Error, "why")
			s.End(end)
			s.SetAttributes(attribute.Int("late", 1))
			s.SetStatus(codes.Ok, "")
			s.End()
		},
		"a status that is good stays": func(ctx context.Context, t trace.Tracer) {
			_, s := t.Start(ctx, "n", trace.WithTimestamp(at), trace.WithNewRoot())
			s.SetStatus(codes.Unset, "nothing")
			s.SetStatus(codes.Error, "why")
			s.SetStatus(codes.Ok, "no words")
			s.SetStatus(codes.Error, "why")
			s.End(end)
		},
	}
	ctx, parent := own.Tracer("scope").Start(context.Background(), "parent")
	state, _ := trace.ParseTraceState("a=b")
	remote := trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: newTraceID(), SpanID: newSpanID(), TraceFlags: 0x3, TraceState: state,
	}))
	pairs := 0
	for name, use := range uses {
		for _, ctx := range []context.Context{context.Background(), ctx, remote} {
			t.Log(name)
			use(ctx, sdk.Tracer("scope"))
			use(ctx, own.Tracer("scope"))
			pairs++
		}
	}
	comparePairs(t, spans, pairs)
	parent.End()
	if parent.IsRecording() || parent.TracerProvider() != own {
		t.Errorf("recording %v after its end, of %v", parent.IsRecording(), parent.TracerProvider())
	}
}

func TestASpanIsSampledAsTheSDKWould(t *testing.T) {
	ratio := sdktrace.TraceIDRatioBased(.3)
	for name, sdks := range map[string]sdktrace.Sampler{
		"always_on": sdktrace.AlwaysSample(), "always_off": sdktrace.NeverSample(), "traceidratio": ratio,
		"parentbased_always_on": sdktrace.ParentBased(sdktrace.AlwaysSample()), "parentbased_always_off": sdktrace.ParentBased(sdktrace.NeverSample()),
		"parentbased_traceidratio": sdktrace.ParentBased(ratio),
	} {
		t.Run(name, func(t *testing.T) {
			ours, err := newSampler(Defaults{Sampler: name, Ratio: "0.3"})
			if err != nil {
				t.Fatal(err)
			}
			sdk := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdks)).Tracer("scope")
			limited, own, _ := both(ours)
			state, _ := trace.ParseTraceState("a=b")
			for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled} {
				for range 100 {
					parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: newTraceID(), SpanID: newSpanID(), TraceFlags: flags, TraceState: state, Remote: true})
					ctx := trace.ContextWithSpanContext(context.Background(), parent)
					_, want := sdk.Start(ctx, "n")
					for _, p := range []trace.TracerProvider{limited, own} {
						under, got := p.Tracer("scope").Start(ctx, "n")
						if same := got.SpanContext().WithSpanID(want.SpanContext().SpanID()); !same.Equal(want.SpanContext()) {
							t.Fatalf("%+v, the SDK: %+v", same, want.SpanContext())
						}
						if got.IsRecording() != want.IsRecording() || !trace.SpanContextFromContext(under).Equal(got.SpanContext()) {
							t.Fatalf("parent %v: recording %v, the SDK: %v", parent, got.IsRecording(), want.IsRecording())
						}
						under, got = StartLocal(ctx, p.Tracer("scope"), "n", trace.SpanKindServer)
						if got.IsRecording() != want.IsRecording() || trace.SpanContextFromContext(under).IsSampled() != want.SpanContext().IsSampled() ||
							trace.SpanContextFromContext(under).TraceID() != parent.TraceID() {
							t.Fatalf("local under %v: recording %v, the SDK: %v", parent, got.IsRecording(), want.IsRecording())
						}
						if s, ok := got.(*span); ok && s.finished.parent.SpanID() != parent.SpanID() {
							t.Fatal("not under its parent")
						}
					}
				}
			}
		})
	}
}

func TestRootsAreSampledAtTheRatio(t *testing.T) {
	_, own, spans := both(&sampler{byParent: true, below: always / 4})
	const n = 4000
	for range n {
		_, s := own.Tracer("scope").Start(context.Background(), "n")
		if !s.SpanContext().IsValid() {
			t.Fatal("a span without an identity")
		}
		s.End()
		ctx, s := StartLocal(context.Background(), own.Tracer("scope"), "local", trace.SpanKindServer)
		if s.IsRecording() != trace.SpanContextFromContext(ctx).IsSampled() {
			t.Fatal("its context has another")
		}
		s.End()
	}
	count := map[string]int{}
	for _, s := range spans.Ended() {
		count[s.Name()]++
	}
	for _, name := range []string{"n", "local"} {
		if got := count[name]; got < n/4-200 || got > n/4+200 { // 7 standard deviations
			t.Errorf("%s: %d of %d sampled, want a quarter", name, got, n)
		}
	}
}

// BenchmarkSpan compares how a span is started, told of and ended, before a processor
// that takes none.
func BenchmarkSpan(b *testing.B) {
	attributes := someFinished().Attributes
	for _, c := range []struct {
		name  string
		below uint64
	}{{"sampled", always}, {"not sampled", 0}} {
		sampler := &sampler{below: c.below}
		sdk := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(nowhere{}), sdktrace.WithSampler(sampler))
		for name, p := range map[string]trace.TracerProvider{"SDK": sdk, "own": &provider{sdk, sampler, nowhere{}, resource.Empty()}} {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				t := p.Tracer("x")
				b.ReportAllocs()
				for b.Loop() {
					_, s := StartLocal(context.Background(), t, "n", trace.SpanKindServer)
					if s.IsRecording() {
						s.SetAttributes(attributes...)
					}
					s.End()
				}
			})
		}
	}
}
