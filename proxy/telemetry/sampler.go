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

// sampler decides as those of the SDK that OTEL_TRACES_SAMPLER names, and samples a
// batch if one of its requests is sampled.
type sampler struct {
	name     string // as the variables say
	byParent bool   // what has a parent is sampled as that is
	below    uint64 // else a trace is sampled whose id has less than that in its last 63 bits
}

// always is below for every trace.
const always = 1 << 63

// newSampler reads the environment.
func newSampler(d Defaults) (*sampler, error) {
	s := &sampler{name: cmp.Or(os.Getenv("OTEL_TRACES_SAMPLER"), d.Sampler, "parentbased_always_on")}
	var rule string
	switch rule, s.byParent = strings.CutPrefix(s.name, "parentbased_"); rule {
	case "always_on":
		s.below = always
	case "always_off":
	case "traceidratio":
		ratio := 1.0
		if text := cmp.Or(os.Getenv("OTEL_TRACES_SAMPLER_ARG"), d.Ratio); text != "" {
			var err error
			if ratio, err = strconv.ParseFloat(text, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
				return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: must be from 0 to 1, got %q", text)
			}
			s.name += " " + text
		}
		s.below = uint64(ratio * always)
	default:
		return nil, fmt.Errorf("OTEL_TRACES_SAMPLER: must be always_on, always_off, traceidratio or one of these after parentbased_, got %q", s.name)
	}
	return s, nil
}

// samples decides about a span of a trace.
func (s *sampler) samples(parent trace.SpanContext, id trace.TraceID, name string, links []trace.Link) bool {
	switch {
	case name == SpanDispatch:
		return slices.ContainsFunc(links, func(l trace.Link) bool { return l.SpanContext.IsSampled() })
	case s.byParent && parent.IsValid():
		return parent.IsSampled()
	}
	return binary.BigEndian.Uint64(id[8:])>>1 < s.below
}

// ShouldSample implements sdktrace.Sampler.
func (s *sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	r := sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: parent.TraceState()}
	if s.samples(parent, p.TraceID, p.Name, p.Links) {
		r.Decision = sdktrace.RecordAndSample
	}
	return r
}

// Description implements sdktrace.Sampler.
func (s *sampler) Description() string { return "batches by their links, else " + s.name }
