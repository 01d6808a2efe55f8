package telemetry

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// sampler samples a batch if any request that it links to is sampled. It samples other spans
// like the SDK's sampler that OTEL_TRACES_SAMPLER names. It is one function because it is
// the main cost of tracing for most requests; the SDK's samplers call one another.
type sampler struct {
	name        string // for humans
	parentBased bool   // a span is sampled as its parent is, if it has one
	bound       uint64 // otherwise a trace is sampled if the last 63 bits of its id are below
}

// always is the bound that samples every trace.
const always = 1 << 63

// ShouldSample implements sdktrace.Sampler.
func (s *sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	var sampled bool
	switch {
	case p.Name == SpanDispatch:
		sampled = slices.ContainsFunc(p.Links, func(l trace.Link) bool { return l.SpanContext.IsSampled() })
	case s.parentBased && parent.IsValid():
		sampled = parent.IsSampled()
	default:
		sampled = binary.BigEndian.Uint64(p.TraceID[8:])>>1 < s.bound
	}
	r := sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: parent.TraceState()}
	if sampled {
		r.Decision = sdktrace.RecordAndSample
	}
	return r
}

// Description implements sdktrace.Sampler.
func (s *sampler) Description() string { return s.name }

// newSampler returns the sampler that OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG name.
func newSampler(d Defaults) (*sampler, error) {
	s := &sampler{name: cmp.Or(os.Getenv("OTEL_TRACES_SAMPLER"), d.Sampler, "parentbased_always_on")}
	var rule string
	switch rule, s.parentBased = strings.CutPrefix(s.name, "parentbased_"); rule {
	case "always_on":
		s.bound = always
	case "always_off":
	case "traceidratio":
		text := cmp.Or(os.Getenv("OTEL_TRACES_SAMPLER_ARG"), d.Ratio, "1")
		ratio, err := strconv.ParseFloat(text, 64)
		if err != nil || !(ratio >= 0 && ratio <= 1) {
			return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: must be from 0 to 1, got %q", text)
		}
		s.name += " " + text
		s.bound = uint64(ratio * always)
	default:
		return nil, fmt.Errorf(
			"OTEL_TRACES_SAMPLER: must be always_on, always_off or traceidratio, alone or after parentbased_, got %q", s.name)
	}
	return s, nil
}
