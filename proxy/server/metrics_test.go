package server

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	pb "paceline/proto/paceline/v1"
)

// metricsPage is the page's lines by series.
type metricsPage map[string]float64

const openMetrics = "application/openmetrics-text; version=1.0.0"

func (r *running) metricsText(accept string) string {
	r.t.Helper()
	reply := r.http(http.MethodGet, r.MetricsAddr()+"/metrics", "", "Accept", accept)
	if reply.code != http.StatusOK {
		r.t.Fatalf("%d %s", reply.code, reply.body)
	}
	return reply.body
}

func (r *running) metrics() metricsPage {
	r.t.Helper()
	page := metricsPage{}
	for line := range strings.Lines(r.metricsText("text/plain")) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			r.t.Fatalf("%q: %v", line, err)
		}
		page[line[:i]] = v
	}
	return page
}

func (p metricsPage) want(t *testing.T, series string, v float64) {
	t.Helper()
	if got, there := p[series]; !there || got != v {
		t.Errorf("%s: %v (there: %v), want %v", series, got, there, v)
	}
}

func TestTheMetricsPageTellsOfBatchesAndTheirRequests(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Settings.BatchSize, c.Settings.MaxWait = 4, time.Minute })
	var ends []<-chan outcome
	for range 2 {
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: "the same"}))
	}
	await(t, "the two wait", func() bool { return r.Pending() == 2 })
	page := r.metrics()
	page.want(t, "paceline_queue_requests", 2)
	page.want(t, "paceline_queue_bytes", 16)
	page.want(t, "paceline_ready", 1)
	page.want(t, "paceline_batch_size_limit", 4)
	page.want(t, `paceline_upstream_ready{upstream="`+r.up.URL()+`"}`, 1)
	page.want(t, `paceline_batches_total{reason="deadline"}`, 0)
	for _, text := range []string{"one", "two words", "and three words"} {
		ends = append(ends, r.send(r.context(), &pb.PrefillRequest{Text: text}))
	}
	for _, end := range ends {
		if o := <-end; o.err != nil {
			t.Fatal(o.err)
		}
	}
	await(t, "the batch has ended", func() bool { return r.metrics()["paceline_batch_duration_seconds_count"] == 1 })
	page = r.metrics()
	page.want(t, `paceline_requests_total{outcome="answered"}`, 5)
	page.want(t, `paceline_merged_requests_total`, 1)
	page.want(t, `paceline_batches_total{reason="full"}`, 1)
	page.want(t, `paceline_batch_size_sum`, 4)
	page.want(t, `paceline_batch_fill_ratio_sum`, 1)
	page.want(t, `paceline_queue_wait_seconds_count`, 5)
	page.want(t, `paceline_prompt_tokens_total`, 8)
	page.want(t, `paceline_cached_tokens_total`, 4)
	page.want(t, `rpc_server_call_duration_seconds_count{rpc_method="paceline.v1.PrefillService/Prefill",`+
		`rpc_response_status_code="OK",rpc_system_name="grpc"}`, 5)
	const prefill = `{error_type="",gen_ai_operation_name="text_completion",gen_ai_provider_name="sglang",gen_ai_request_model="tiny"}`
	page.want(t, `gen_ai_server_request_duration_seconds_count`+prefill, 5)
	page.want(t, `gen_ai_client_operation_duration_seconds_count`+prefill, 1)
	page.want(t, `gen_ai_client_token_usage_sum{gen_ai_operation_name="text_completion",gen_ai_provider_name="sglang",`+
		`gen_ai_request_model="tiny",gen_ai_token_type="input"}`, 8)
}

func TestEachRefusalIsCountedUnderItsReason(t *testing.T) {
	f := newFake(t)
	f.hold = make(chan struct{})
	r := start(t, f, tight)
	ends := occupy(r, f)
	_, _ = r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "too many"})
	_, _ = r.prefill.Prefill(r.context(), &pb.PrefillRequest{})
	r.http(http.MethodPost, r.HTTPAddr()+"/generate", `{"text":`)
	r.http(http.MethodPost, r.HTTPAddr()+"/v1/completions", `{"prompt":["a",""]}`)
	close(f.hold)
	for _, end := range ends {
		<-end
	}
	if _, err := r.admin.Drain(r.context(), &pb.DrainRequest{}); err != nil {
		t.Fatal(err)
	}
	_, _ = r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "too late"})
	page := r.metrics()
	page.want(t, `paceline_refusals_total{reason="queue_full"}`, 1)
	page.want(t, `paceline_refusals_total{reason="invalid"}`, 3)
	page.want(t, `paceline_refusals_total{reason="draining"}`, 1)
	page.want(t, `paceline_requests_total{outcome="refused"}`, 3)
	page.want(t, `paceline_requests_total{outcome="answered"}`, float64(len(ends)))
	page.want(t, `paceline_ready`, 0)
}

func TestIsolationAndRetriesAreCounted(t *testing.T) {
	f := newFake(t)
	f.refusing("poison")
	r := start(t, f, func(c *Config) { c.Settings.BatchSize, c.Settings.MaxWait = 2, time.Minute })
	for _, end := range sendEach(t, r, "poison", "fine") {
		<-end
	}
	await(t, "the batch has ended", func() bool { return r.metrics()["paceline_batch_duration_seconds_count"] == 1 })
	page := r.metrics()
	page.want(t, `paceline_isolation_splits_total`, 1)
	page.want(t, `paceline_requests_total{outcome="refused"}`, 1) // SGLang would not take it
	page.want(t, `paceline_refusals_total{reason="invalid"}`, 1)

	f.failing(http.StatusInternalServerError, "broken")
	r2 := start(t, f, func(c *Config) { c.Settings.Retries = 1 })
	_, _ = r2.prefill.Prefill(r2.context(), &pb.PrefillRequest{Text: "fine"})
	await(t, "the call was repeated", func() bool { return r2.metrics()["paceline_retries_total"] == 1 })
}

func TestExemplarsLeadToTraces(t *testing.T) {
	_, with := tracedTo(t)
	r := start(t, newFake(t), with)
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "one"}); err != nil {
		t.Fatal(err)
	}
	await(t, "call and batch were measured", func() bool {
		text := r.metricsText(openMetrics)
		return strings.Contains(text, "rpc_server_call_duration_seconds_bucket") &&
			strings.Contains(text, "paceline_batch_duration_seconds_count 1")
	})
	text := r.metricsText(openMetrics)
	if !strings.HasSuffix(text, "# EOF\n") {
		t.Error("not OpenMetrics")
	}
	for _, name := range []string{
		"rpc_server_call_duration_seconds", "gen_ai_server_request_duration_seconds", "paceline_queue_wait_seconds",
		"gen_ai_client_operation_duration_seconds", "paceline_batch_duration_seconds",
	} {
		found := false
		for line := range strings.Lines(text) {
			found = found || strings.HasPrefix(line, name+"_bucket") && strings.Contains(line, "# {") &&
				strings.Contains(line, `span_id="`) && strings.Contains(line, `trace_id="`)
		}
		if !found {
			t.Errorf("%s leads to no trace", name)
		}
	}
}

func TestWhatCallersSendMakesNoNewSeries(t *testing.T) {
	f := newFake(t)
	r := start(t, f, nil)
	strange := func(i int) {
		word := fmt.Sprintf("word%d", i)
		ctx := metadata.AppendToOutgoingContext(r.context(), "traceparent", word, "x-"+word, word, "authorization", word)
		_, _ = r.prefill.Prefill(ctx, &pb.PrefillRequest{Text: word, RequestId: word, Lora: word, CacheSalt: word, Priority: new(int32(i))})
		_, _ = r.prefill.Prefill(ctx, &pb.PrefillRequest{TokenIds: []int32{int32(-i)}})
		gone, cancel := context.WithCancel(r.context())
		cancel()
		_, _ = r.prefill.Prefill(gone, &pb.PrefillRequest{Text: word})
		_ = r.dial(r.Addr()).Invoke(r.context(), "/"+word+"/"+word, &pb.PrefillRequest{}, &pb.PrefillResponse{})
		_ = r.dial(r.Addr()).Invoke(r.context(), "/paceline.v1.PrefillService/"+word, &pb.PrefillRequest{}, &pb.PrefillResponse{})
		for _, method := range []string{http.MethodGet, http.MethodPost, "WORD" + strconv.Itoa(i)} {
			for _, path := range []string{
				"/" + word, "/v1/" + word, "/generate", "/generate/" + word, "/v1/completions?" + word, "/health?" + word,
			} {
				r.http(method, r.HTTPAddr()+path, `{"text":"`+word+`","model":"`+word+`","sampling_params":{"max_new_tokens":1}}`,
					"User-Agent", word)
			}
		}
		f.setInfo("version", word)
	}
	strange(0)
	f.failing(http.StatusInternalServerError, "broken")
	strange(1)
	f.failing(http.StatusBadRequest, "refused")
	strange(2)
	before := len(r.metrics())
	for i := range 20 {
		strange(3 + i)
	}
	page := r.metrics()
	if after := len(page); after > before {
		t.Errorf("%d series became %d", before, after)
	}
	for series := range page {
		if strings.Contains(series, "word") || strings.Contains(series, "WORD") {
			t.Error(series)
		}
	}
	if before > 1500 {
		t.Errorf("%d series", before)
	}
}

func TestTheMetricsPageAndHealthAreAllThatTheirListenerServes(t *testing.T) {
	r := start(t, newFake(t), nil)
	for _, path := range []string{"/", "/v1/prefill", "/generate", "/debug/pprof/", "/v1/status"} {
		if reply := r.http(http.MethodGet, r.MetricsAddr()+path, ""); reply.code != http.StatusNotFound {
			t.Errorf("%s: %d", path, reply.code)
		}
	}
	if r.http(http.MethodGet, r.HTTPAddr()+"/metrics", "").body == r.metricsText("text/plain") {
		t.Error("the data port serves our metrics")
	}
}
