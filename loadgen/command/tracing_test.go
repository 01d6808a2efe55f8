package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paceline/proxy/telemetry/otlptest"
)

func TestSampledRequestsAreTracedFromTheLoadGeneratorThroughTheProxy(t *testing.T) {
	c := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	out := t.TempDir()
	e := loadgen(t, "-n", "12", "-sizes", "4", "-defaults=false", "-unbatched=false", "-repeats", "1",
		"-out", out, "-jaeger", "http://jaeger.test/")
	if e.status != 0 {
		t.Fatalf("status %d: %s", e.status, e.stderr)
	}
	r := readReport(t, out)
	if r.Tracing == nil || r.Tracing.URL != "http://jaeger.test/trace/" || r.Tracing.Sampler != "always_on" || len(r.Runs) != 2 ||
		len(r.Runs[0].Traces) != 5 {
		t.Fatalf("%+v", r.Tracing)
	}
	clients, servers := map[string]otlptest.Span{}, map[string]otlptest.Span{}
	for _, s := range c.Named("paceline.v1.PrefillService/Prefill") {
		switch s.Service {
		case "paceline-loadgen":
			clients[s.TraceID] = s
		case "paceline":
			servers[s.TraceID] = s
		}
	}
	of := r.Runs[0]
	if warm := r.Runs[1]; len(warm.Traces) > 0 && warm.Traces[0].Seconds > of.Traces[0].Seconds {
		of = warm // on a busy machine the cold run need not be the slower one
	}
	slowest := of.Traces[0]
	client := clients[slowest.ID]
	if client.SpanID == "" || servers[slowest.ID].ParentID != client.SpanID {
		t.Errorf("the slowest request %+v has the spans %+v and %+v", slowest, client, servers[slowest.ID])
	}
	if client.Attributes["paceline.setting"] != "4" || client.Attributes["paceline.trajectory.id"] != slowest.Trajectory ||
		client.Attributes["paceline.phase"] != of.Phase {
		t.Errorf("%+v", client.Attributes)
	}
	if link := "http://jaeger.test/trace/" + slowest.ID; !strings.Contains(e.stdout, link) {
		t.Errorf("%s lacks %s", e.stdout, link)
	}
	data, err := os.ReadFile(filepath.Join(out, "report.md"))
	if err != nil || !strings.Contains(string(data), slowest.ID) {
		t.Errorf("report.md names no trace: %v", err)
	}
}

func TestAWrongVariableOfTracingIsBadInput(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "sometimes")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	e := loadgen(t, "-n", "1", "-out", t.TempDir())
	if e.status != exitBadInput || !strings.Contains(e.stderr, "OTEL_TRACES_SAMPLER: must be") {
		t.Errorf("status %d: %s", e.status, e.stderr)
	}
}
