package telemetry

import (
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protowire"
)

// The wire form of opentelemetry/proto/trace/v1/trace.proto. The numbers are those of
// its fields; what is zero is left out, as protobuf does. A test holds it to the
// SDK's own exporter.

// appendResourceSpans writes the fields of a ResourceSpans: spans of one resource.
func appendResourceSpans(b []byte, spans []sdktrace.ReadOnlySpan) []byte {
	if r := spans[0].Resource(); r != nil {
		b = nested(b, 1, func(b []byte) []byte { return attributes(b, 1, r.Attributes()) })
		b = text(b, 3, r.SchemaURL())
	}
	for len(spans) > 0 {
		n, scope := 1, spans[0].InstrumentationScope()
		for n < len(spans) && spans[n].InstrumentationScope() == scope {
			n++
		}
		b = nested(b, 2, func(b []byte) []byte {
			b = appendScope(b, scope)
			for _, s := range spans[:n] {
				b = nested(b, 2, func(b []byte) []byte { return appendSpan(b, s) })
			}
			return text(b, 3, scope.SchemaURL)
		})
		spans = spans[n:]
	}
	return b
}

func appendScope(b []byte, s instrumentation.Scope) []byte {
	if s == (instrumentation.Scope{}) {
		return b
	}
	return nested(b, 1, func(b []byte) []byte {
		return attributes(text(text(b, 1, s.Name), 2, s.Version), 3, s.Attributes.ToSlice())
	})
}

func appendSpan(b []byte, s sdktrace.ReadOnlySpan) []byte {
	sc, parent := s.SpanContext(), s.Parent()
	b = ids(b, sc)
	b = text(b, 3, sc.TraceState().String())
	if id := parent.SpanID(); id.IsValid() {
		b = protowire.AppendBytes(protowire.AppendTag(b, 4, protowire.BytesType), id[:])
	}
	b = text(b, 5, s.Name())
	b = number(b, 6, uint64(s.SpanKind())) //nolint:gosec // protobuf's numbers of the kinds are the same
	b = moment(b, 7, s.StartTime())
	b = moment(b, 8, s.EndTime())
	b = attributes(b, 9, s.Attributes())
	b = count(b, 10, s.DroppedAttributes())
	for _, e := range s.Events() {
		b = nested(b, 11, func(b []byte) []byte {
			return count(attributes(text(moment(b, 1, e.Time), 2, e.Name), 3, e.Attributes), 4, e.DroppedAttributeCount)
		})
	}
	b = count(b, 12, s.DroppedEvents())
	for _, l := range s.Links() {
		b = nested(b, 13, func(b []byte) []byte {
			b = count(attributes(ids(b, l.SpanContext), 4, l.Attributes), 5, l.DroppedAttributeCount)
			return flags(b, 6, l.SpanContext, l.SpanContext)
		})
	}
	b = count(b, 14, s.DroppedLinks())
	b = nested(b, 15, func(b []byte) []byte {
		status := s.Status()
		return number(text(b, 2, status.Description), 3, statusCode(status.Code))
	})
	return flags(b, 16, sc, parent)
}

func ids(b []byte, sc trace.SpanContext) []byte {
	traceID, spanID := sc.TraceID(), sc.SpanID()
	b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), traceID[:])
	return protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), spanID[:])
}

// statusCode is protobuf's number: it counts in another order.
func statusCode(c codes.Code) uint64 {
	switch c {
	case codes.Ok:
		return 1
	case codes.Error:
		return 2
	}
	return 0
}

// flags are those of W3C, and whether the parent, or what is linked, is of another
// process.
func flags(b []byte, field protowire.Number, sc, other trace.SpanContext) []byte {
	const known, remote = 0x100, 0x200
	f := uint32(sc.TraceFlags()) | known
	if other.IsRemote() {
		f |= remote
	}
	return protowire.AppendFixed32(protowire.AppendTag(b, field, protowire.Fixed32Type), f)
}

// attributes writes a KeyValue for each.
func attributes(b []byte, field protowire.Number, all []attribute.KeyValue) []byte {
	for _, a := range all {
		b = nested(b, field, func(b []byte) []byte {
			b = text(b, 1, string(a.Key))
			return nested(b, 2, func(b []byte) []byte { return anyValue(b, a.Value) })
		})
	}
	return b
}

// anyValue writes the fields of an AnyValue, which are written even where they are
// zero: they say which type it is.
func anyValue(b []byte, v attribute.Value) []byte {
	switch v.Type() {
	case attribute.STRING:
		return protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), v.AsString())
	case attribute.BOOL:
		return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), protowire.EncodeBool(v.AsBool()))
	case attribute.INT64:
		return protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(v.AsInt64()))
	case attribute.FLOAT64:
		return protowire.AppendFixed64(protowire.AppendTag(b, 4, protowire.Fixed64Type), math.Float64bits(v.AsFloat64()))
	case attribute.BOOLSLICE:
		return list(b, v.AsBoolSlice(), attribute.BoolValue)
	case attribute.INT64SLICE:
		return list(b, v.AsInt64Slice(), attribute.Int64Value)
	case attribute.FLOAT64SLICE:
		return list(b, v.AsFloat64Slice(), attribute.Float64Value)
	case attribute.STRINGSLICE:
		return list(b, v.AsStringSlice(), attribute.StringValue)
	case attribute.SLICE:
		return list(b, v.AsSlice(), func(v attribute.Value) attribute.Value { return v })
	case attribute.MAP:
		return nested(b, 6, func(b []byte) []byte { return attributes(b, 1, v.AsMap()) })
	case attribute.BYTESLICE:
		return protowire.AppendBytes(protowire.AppendTag(b, 7, protowire.BytesType), v.AsByteSlice())
	}
	return b
}

func list[T any](b []byte, all []T, value func(T) attribute.Value) []byte {
	return nested(b, 5, func(b []byte) []byte {
		for _, one := range all {
			b = nested(b, 1, func(b []byte) []byte { return anyValue(b, value(one)) })
		}
		return b
	})
}

// nested writes a message as a field. Its length is known only afterwards; most have
// less than 128 bytes, and then it has one.
func nested(b []byte, field protowire.Number, message func([]byte) []byte) []byte {
	b = append(protowire.AppendTag(b, field, protowire.BytesType), 0)
	from := len(b)
	b = message(b)
	n := uint64(len(b) - from) //nolint:gosec // never negative
	if more := protowire.SizeVarint(n) - 1; more > 0 {
		b = slices.Insert(b, from, make([]byte, more)...)
	}
	protowire.AppendVarint(b[:from-1], n)
	return b
}

func text(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func number(b []byte, field protowire.Number, n uint64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

func count(b []byte, field protowire.Number, n int) []byte {
	return number(b, field, uint64(min(max(0, n), math.MaxUint32)))
}

func moment(b []byte, field protowire.Number, t time.Time) []byte {
	n := max(0, t.UnixNano())
	if n == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), uint64(n))
}
