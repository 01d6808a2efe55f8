package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/server"
	"paceline/proxy/server/servertest"
	"paceline/proxy/telemetry"
)

// realJaeger starts the Jaeger that PACELINE_TEST_JAEGER names.
func realJaeger(t *testing.T) *jaeger {
	binary := os.Getenv("PACELINE_TEST_JAEGER")
	if binary == "" {
		t.Skip("PACELINE_TEST_JAEGER names no Jaeger binary: skipped")
	}
	j, err := startJaeger(t.Context(), binary, addresses{free(t), free(t), free(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.stop)
	return j
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// tracedBatch has n prompts answered in one batch of a proxy that exports to j, and
// returns the batch's id.
func tracedBatch(t *testing.T, j *jaeger, n int) string {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+j.http)
	tracing, err := telemetry.Start(t.Context(), telemetry.Defaults{Service: "paceline"})
	if err != nil {
		t.Fatal(err)
	}
	proxy := servertest.Start(t, 10, func(cfg *server.Config) {
		cfg.Settings.BatchSize, cfg.Settings.MaxWait = n, time.Minute
		cfg.TracerProvider, cfg.Propagator = tracing.Provider, tracing.Propagator
	})
	var wg sync.WaitGroup
	ids := make([]string, n)
	for i := range n {
		wg.Go(func() {
			reply, err := proxy.Client.Prefill(t.Context(), &pb.PrefillRequest{Text: fmt.Sprintf("def function_%d(): pass", i)})
			if err != nil {
				t.Error(err)
			}
			ids[i] = reply.GetReceipt().GetBatchId()
		})
	}
	wg.Wait()
	if err := proxy.Stop(); err != nil {
		t.Error(err)
	}
	if err := tracing.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	return ids[0]
}

func TestRealJaegerHoldsABatchAndItsRequestsLinkedBothWays(t *testing.T) {
	const n = 16
	j := realJaeger(t)
	began := time.Now()
	id := tracedBatch(t, j, n)
	batches, err := j.settled(t.Context(), query{service: "paceline", operation: "batch.dispatch", since: began})
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	root, members := rootOf(batches[0]), 0
	if told, _ := root.attribute("batch.id"); told != id || len(root.Links) != n {
		t.Errorf("batch %s, not %s, with %d links", told, id, len(root.Links))
	}
	for _, s := range batches[0] {
		if s.Name != "batch.member" {
			continue
		}
		members++
		position, _ := s.attribute("batch.position")
		tokens, _ := s.attribute("gen_ai.usage.input_tokens")
		if len(s.Links) != 1 || position == "" || tokens == "" || s.ParentID != root.SpanID {
			t.Errorf("%+v", s)
		}
	}
	if members != n {
		t.Errorf("%d members", members)
	}
	back := 0
	for _, l := range root.Links {
		request, err := j.trace(t.Context(), l.TraceID)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range request {
			if s.Name != "batch.execute" {
				continue
			}
			told, _ := s.attribute("batch.id")
			size, _ := s.attribute("batch.size")
			if told == id && size == fmt.Sprint(n) && len(s.Links) == 1 && s.Links[0].TraceID == root.TraceID && s.Links[0].SpanID == root.SpanID {
				back++
			}
		}
	}
	if back != n {
		t.Errorf("%d requests lead back to the batch", back)
	}
	t.Logf("the batch %s has %d links, %d members, and %d requests that lead back:\n%s", id, len(root.Links), members, back, tree(batches[0]))
}

func TestTheDemoShowsABatchAndARequest(t *testing.T) {
	j := realJaeger(t)
	began := time.Now()
	tracedBatch(t, j, 4)
	var out strings.Builder
	if err := show(t.Context(), j, began, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"batch.dispatch  [paceline]", "\n    batch.member", "\n    POST /generate", "batch.wait",
		"batch.execute", "tag batch.id="} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
}

func TestWithoutJaegerTheDemoSaysWhatIsMissing(t *testing.T) {
	_, err := jaegerBinary(t.Context(), "/nowhere/jaeger", io.Discard)
	if err == nil {
		t.Error("no error")
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Chdir(t.TempDir())
	if _, err := jaegerBinary(t.Context(), "", io.Discard); err == nil || !strings.Contains(err.Error(), "root of the repository") {
		t.Errorf("%v", err)
	}
}

func TestATreeHasEachSpanBelowItsParent(t *testing.T) {
	got := tree([]span{
		{SpanID: "c", ParentID: "b", Name: "third", Start: 30, End: 40},
		{SpanID: "a", Name: "first", Start: 10, End: 50},
		{SpanID: "b", ParentID: "a", Name: "second", Start: 20, End: 50},
		{SpanID: "d", ParentID: "elsewhere", Name: "stray", Start: 60, End: 70},
	})
	var names []string
	for line := range strings.Lines(got) {
		names = append(names, strings.TrimRight(line[:len(line)-len(strings.TrimLeft(line, " "))]+strings.Fields(line)[0], "\n"))
	}
	if want := []string{"  first", "    second", "      third", "  stray"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}

func TestTheDemoTakesAJaegerThatRuns(t *testing.T) {
	if j := (&jaeger{addresses: addresses{page: free(t)}}); j.answers(t.Context()) {
		t.Error("nobody listens there, and something answers")
	}
	running := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/services" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"data":["paceline"]}`)
	}))
	defer running.Close()
	if j := (&jaeger{addresses: addresses{page: strings.TrimPrefix(running.URL, "http://")}}); !j.answers(t.Context()) {
		t.Error("a running Jaeger is not taken")
	}
}
