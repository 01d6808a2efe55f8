package telemetry

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// batchSampler samples a batch if any request that it links to is sampled. It samples
// everything else as the sampler of the environment does.
type batchSampler struct {
	sdktrace.Sampler
}

// ShouldSample implements sdktrace.Sampler.
func (s batchSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if p.Name != SpanDispatch {
		return s.Sampler.ShouldSample(p)
	}
	sampled := func(l trace.Link) bool { return l.SpanContext.IsSampled() }
	if slices.ContainsFunc(p.Links, sampled) {
		return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
	}
	return sdktrace.SamplingResult{Decision: sdktrace.Drop}
}

// newSampler returns the sampler that OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG
// name, and its name for people. The SDK reads them too, but falls back to its default
// where a value is wrong, and has no sampler for batches.
func newSampler(d Defaults) (s sdktrace.Sampler, name string, err error) {
	name = cmp.Or(os.Getenv("OTEL_TRACES_SAMPLER"), d.Sampler, "parentbased_always_on")
	rule, parentBased := strings.CutPrefix(name, "parentbased_")
	switch rule {
	case "always_on":
		s = sdktrace.AlwaysSample()
	case "always_off":
		s = sdktrace.NeverSample()
	case "traceidratio":
		text := cmp.Or(os.Getenv("OTEL_TRACES_SAMPLER_ARG"), d.Ratio, "1")
		ratio, err := strconv.ParseFloat(text, 64)
		if err != nil || !(ratio >= 0 && ratio <= 1) {
			return nil, "", fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: must be from 0 to 1, got %q", text)
		}
		s, name = sdktrace.TraceIDRatioBased(ratio), name+" "+text
	default:
		return nil, "", fmt.Errorf(
			"OTEL_TRACES_SAMPLER: must be always_on, always_off or traceidratio, alone or after parentbased_, got %q",
			name)
	}
	if parentBased {
		s = sdktrace.ParentBased(s)
	}
	return batchSampler{s}, name, nil
}
