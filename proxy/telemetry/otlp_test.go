package telemetry

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"
)

// wire is a client that keeps what it would send.
type wire struct{ sent []byte }

func (w *wire) Start(context.Context) error { return nil }
func (w *wire) Stop(context.Context) error  { return nil }
func (w *wire) UploadTraces(_ context.Context, spans []*tracepb.ResourceSpans) (err error) {
	w.sent, err = proto.Marshal(&collector.ExportTraceServiceRequest{ResourceSpans: spans})
	return err
}

// received is what a collector reads of what an exporter sends.
func received(t rapid.TB, exporter func(otlptrace.Client) sdktrace.SpanExporter, spans []sdktrace.ReadOnlySpan) *collector.ExportTraceServiceRequest {
	t.Helper()
	w := &wire{}
	if err := exporter(w).ExportSpans(context.Background(), spans); err != nil {
		t.Fatal(err)
	}
	got := new(collector.ExportTraceServiceRequest)
	if err := proto.Unmarshal(w.sent, got); err != nil {
		t.Fatal(err)
	}
	return got
}

func ours(c otlptrace.Client) sdktrace.SpanExporter { return otlp{c} }
func sdks(c otlptrace.Client) sdktrace.SpanExporter { return otlptrace.NewUnstarted(c) }

var (
	anyText = rapid.Map(rapid.SampledFrom([]int{0, 1, 10, 127, 128, 300}), // lengths of one byte and of two
		func(n int) string { return strings.Repeat("x", n-n%2) + strings.Repeat("é", n%2) })
	anyInt = rapid.Int64()
)

// drawValue is any kind of value there is.
func drawValue(t *rapid.T, depth int) attribute.Value {
	kinds := 9
	if depth > 0 {
		kinds = 11
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 0:
		return attribute.BoolValue(rapid.Bool().Draw(t, "bool"))
	case 1:
		return attribute.Int64Value(anyInt.Draw(t, "int"))
	case 2:
		return attribute.Float64Value(rapid.Float64().Draw(t, "float"))
	case 3:
		return attribute.BoolSliceValue(rapid.SliceOfN(rapid.Bool(), 0, 3).Draw(t, "bools"))
	case 4:
		return attribute.Int64SliceValue(rapid.SliceOfN(anyInt, 0, 3).Draw(t, "ints"))
	case 5:
		return attribute.Float64SliceValue(rapid.SliceOfN(rapid.Float64(), 0, 3).Draw(t, "floats"))
	case 6:
		return attribute.StringSliceValue(rapid.SliceOfN(anyText, 0, 3).Draw(t, "texts"))
	case 7:
		return attribute.ByteSliceValue(rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "bytes"))
	case 8:
		return attribute.Value{}
	case 10:
		return attribute.SliceValue(drawValue(t, depth-1), drawValue(t, depth-1))
	case 11:
		return attribute.MapValue(drawAttributes(t, depth-1)...)
	}
	return attribute.StringValue(anyText.Draw(t, "text"))
}

func drawAttributes(t *rapid.T, depth int) []attribute.KeyValue {
	all := make([]attribute.KeyValue, rapid.IntRange(0, 4).Draw(t, "attributes"))
	for i := range all {
		all[i] = attribute.KeyValue{Key: attribute.Key(anyText.Draw(t, "key")), Value: drawValue(t, depth)}
	}
	return all
}

func drawContext(t *rapid.T) trace.SpanContext {
	c := trace.SpanContextConfig{
		TraceFlags: trace.TraceFlags(rapid.Byte().Draw(t, "flags")), Remote: rapid.Bool().Draw(t, "remote"),
	}
	copy(c.TraceID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "trace"))
	copy(c.SpanID[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "span"))
	if rapid.Bool().Draw(t, "state") {
		c.TraceState, _ = trace.ParseTraceState("a=b,c=d")
	}
	return trace.NewSpanContext(c)
}

func drawSpan(t *rapid.T, r *resource.Resource, scope instrumentation.Scope) sdktrace.ReadOnlySpan {
	moment := func(name string) time.Time { return time.Unix(0, rapid.Int64Range(-5, 1<<62).Draw(t, name)) }
	dropped := func(name string) int { return rapid.IntRange(-1, 300).Draw(t, name) }
	s := tracetest.SpanStub{
		Name: anyText.Draw(t, "name"), SpanContext: drawContext(t), Parent: drawContext(t),
		SpanKind:  trace.SpanKind(rapid.IntRange(0, 5).Draw(t, "kind")),
		StartTime: moment("start"), EndTime: moment("end"), Attributes: drawAttributes(t, 2),
		Status:            sdktrace.Status{Code: codes.Code(rapid.IntRange(0, 2).Draw(t, "code")), Description: anyText.Draw(t, "description")},
		DroppedAttributes: dropped("attributes"), DroppedEvents: dropped("events"), DroppedLinks: dropped("links"),
		Resource: r, InstrumentationScope: scope,
	}
	for range rapid.IntRange(0, 2).Draw(t, "events") {
		s.Events = append(s.Events, sdktrace.Event{
			Name: anyText.Draw(t, "event"), Time: moment("time"), Attributes: drawAttributes(t, 0), DroppedAttributeCount: dropped("of event"),
		})
	}
	for range rapid.IntRange(0, 2).Draw(t, "links") {
		s.Links = append(s.Links, sdktrace.Link{SpanContext: drawContext(t), Attributes: drawAttributes(t, 0), DroppedAttributeCount: dropped("of link")})
	}
	return s.Snapshot()
}

func TestACollectorReadsWhatTheSDKsExporterWouldSend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := resource.NewWithAttributes(anyText.Draw(t, "resource's schema"), drawAttributes(t, 1)...)
		scope := instrumentation.Scope{
			Name: anyText.Draw(t, "scope"), Version: anyText.Draw(t, "version"), SchemaURL: anyText.Draw(t, "schema"),
			Attributes: attribute.NewSet(drawAttributes(t, 0)...),
		}
		spans := make([]sdktrace.ReadOnlySpan, rapid.IntRange(0, 3).Draw(t, "spans"))
		for i := range spans {
			spans[i] = drawSpan(t, r, scope)
		}
		want, got := received(t, sdks, spans), received(t, ours, spans)
		if !proto.Equal(want, got) {
			t.Fatalf("(-the SDK's +ours)\n%s", cmp.Diff(want, got, protocmp.Transform()))
		}
	})
}

func TestSpansOfSeveralScopesAndResourcesKeepTheirOwn(t *testing.T) {
	var spans []sdktrace.ReadOnlySpan
	for _, r := range []string{"r1", "r2"} {
		res := resource.NewSchemaless(attribute.String("service.name", r))
		for _, scope := range []string{"s1", "s2", ""} {
			spans = append(spans, tracetest.SpanStub{Name: r + scope, Resource: res, InstrumentationScope: instrumentation.Scope{Name: scope}}.Snapshot())
		}
	}
	for _, rs := range received(t, ours, spans).GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				if want := rs.GetResource().GetAttributes()[0].GetValue().GetStringValue() + ss.GetScope().GetName(); s.GetName() != want {
					t.Errorf("span %s stands under %s", s.GetName(), want)
				}
			}
		}
	}
}

func TestALongSpanIsWhole(t *testing.T) {
	name := strings.Repeat("x", 100_000)
	got := received(t, ours, []sdktrace.ReadOnlySpan{tracetest.SpanStub{Name: name, Attributes: []attribute.KeyValue{attribute.String(name, name)}}.Snapshot()})
	s := got.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()[0]
	if a := s.GetAttributes()[0]; s.GetName() != name || a.GetKey() != name || a.GetValue().GetStringValue() != name {
		t.Error("it is not what was sent")
	}
}

func TestAnExportThatFailsSaysSo(t *testing.T) {
	refused := errors.New("refused")
	if err := (otlp{refusing{&wire{}, refused}}).ExportSpans(t.Context(), []sdktrace.ReadOnlySpan{tracetest.SpanStub{}.Snapshot()}); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
}

type refusing struct {
	*wire
	err error
}

func (r refusing) UploadTraces(context.Context, []*tracepb.ResourceSpans) error { return r.err }

func BenchmarkExport(b *testing.B) {
	stub := tracetest.SpanStub{
		Name: SpanExecute, StartTime: time.Now(), EndTime: time.Now(), Resource: resource.Default(),
		InstrumentationScope: instrumentation.Scope{Name: "paceline/proxy"},
		SpanContext:          trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: 1}),
		Links:                []sdktrace.Link{{Attributes: []attribute.KeyValue{attribute.String(BatchID, "0123abcd-12")}}},
		Attributes: []attribute.KeyValue{
			attribute.String(BatchID, "0123abcd-12"), attribute.Int(BatchSize, 16), attribute.Int(BatchPosition, 3), attribute.String(BatchReason, "full"),
			attribute.Float64(BatchWait, 0.001), attribute.Int(BatchMerged, 0), attribute.Int(GenAIInputTokens, 2000), attribute.Int(GenAICachedTokens, 0),
		},
	}
	spans := make([]sdktrace.ReadOnlySpan, exportSize)
	for i := range spans {
		spans[i] = stub.Snapshot()
	}
	for name, exporter := range map[string]func(otlptrace.Client) sdktrace.SpanExporter{"sdk": sdks, "ours": ours} {
		b.Run(name, func(b *testing.B) {
			e := exporter(&wire{})
			b.ReportAllocs()
			for b.Loop() {
				if err := e.ExportSpans(context.Background(), spans); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(spans)), "ns/span")
		})
	}
}
