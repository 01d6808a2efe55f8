package calibrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"paceline/sglang"
	"paceline/sglang/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// direct is a simulator without a network, so that its time can be virtual.
type direct struct{ *sim.Server }

func (d direct) do(ctx context.Context, method, path, body string, v any) error {
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body)))
	if w.Code != 200 {
		return fmt.Errorf("%s: %d: %.200s", path, w.Code, w.Body)
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(w.Body.Bytes(), v)
}

func (d direct) ServerInfo(ctx context.Context) (info sglang.ServerInfo, err error) {
	return info, d.do(ctx, "GET", "/server_info", "", &info)
}

func (d direct) FlushCache(ctx context.Context, _ time.Duration) error {
	return d.do(ctx, "POST", "/flush_cache", "", nil)
}

func (d direct) Generate(ctx context.Context, c sglang.Call) ([]sglang.Result, error) {
	var ids [][]int32
	var texts []string
	for _, q := range c.Requests {
		if q.Text != "" {
			texts = append(texts, q.Text)
		} else {
			ids = append(ids, q.InputIDs)
		}
	}
	prompts := map[string]any{"input_ids": ids}
	if texts != nil {
		prompts = map[string]any{"text": texts}
	}
	prompts["sampling_params"] = map[string]int{"max_new_tokens": 0}
	body, err := json.Marshal(prompts)
	var answers []sglang.Answer
	err = errors.Join(err, d.do(ctx, "POST", "/generate", string(body), &answers))
	var results []sglang.Result
	for _, a := range answers {
		results = append(results, sglang.Result{Answer: a})
	}
	return results, err
}

// run calibrates a simulator in virtual time.
func run(t *testing.T, p sim.Profile, o Options) (r Result, took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		s, err := sim.New(sim.Options{Profile: p})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		start := time.Now()
		if r, err = Run(t.Context(), direct{s}, o); err != nil {
			t.Fatal(err)
		}
		took = time.Since(start)
	})
	t.Logf("%v\n%v", took, r)
	if err := r.Profile.Validate(); err != nil {
		t.Error(err)
	}
	if p, got := p, r.Profile; got.KVCacheTokens != p.KVCacheTokens || got.ContextLength != p.ContextLength || got.VocabSize != p.VocabSize {
		t.Errorf("%+v", got)
	}
	return r, took
}

// found fails where a cost is not as it was simulated, within a share.
func found(t *testing.T, got, want sim.Profile, within float64) {
	t.Helper()
	for _, f := range []struct {
		name      string
		got, want float64
	}{
		{"call_seconds", got.CallSeconds, want.CallSeconds},
		{"list_seconds", got.ListSeconds, want.ListSeconds},
		{"request_seconds", got.RequestSeconds, want.RequestSeconds},
		{"tokenize_seconds_per_byte", got.TokenizeSecondsPerByte, want.TokenizeSecondsPerByte},
		{"schedule_seconds", got.ScheduleSeconds, want.ScheduleSeconds},
		{"launch_seconds", got.LaunchSeconds, want.LaunchSeconds},
		{"alone_seconds", got.AloneSeconds, want.AloneSeconds},
		{"forward_seconds", got.ForwardSeconds, want.ForwardSeconds},
		{"token_seconds", got.TokenSeconds, want.TokenSeconds},
		{"attention_seconds", got.AttentionSeconds, want.AttentionSeconds},
	} {
		if math.Abs(f.got-f.want) > within*f.want {
			t.Errorf("%s: %v, want %v", f.name, f.got, f.want)
		}
	}
}

// A CPU computes while its front end works for other calls, which the clock can't tell apart. The costs
// are mixed up, and yet predict calls.
func TestCallsOfACPUArePredicted(t *testing.T) {
	want := sim.Profile{
		Name: "known", Device: "cpu", Model: "none", Origin: "made up",
		CallSeconds: 0.004, RequestSeconds: 0.002, TokenizeSecondsPerByte: 1e-6,
		ForwardSeconds: 0.006, ScheduleSeconds: 0.003, TokenSeconds: 10e-6, AttentionSeconds: 5e-9, Contention: 0.8,
		ChunkedPrefillSize: 4096, MaxRunningRequests: 64, KVCacheTokens: 200_000, ContextLength: 4096, VocabSize: 30_000,
	}
	r, _ := run(t, want, Options{Name: "found", Repeats: 1, Tokens: 1024})
	if r.Whole.Mean > 0.1 || r.Whole.Max > 0.2 {
		t.Errorf("off by %+v", r.Whole)
	}
}

// The default profile is found from a simulator that has it, within the three minutes that
// a real calibration may take.
func TestCostsOfAGPUAreFoundInThreeMinutes(t *testing.T) {
	want := sim.Profiles()[0]
	r, took := run(t, want, Options{Name: "found", Repeats: 3, Tokens: 2048})
	found(t, r.Profile, want, 0.1)
	if took > 3*time.Minute || !r.Profile.PrefillGraphs || r.Whole.Max > 0.05 {
		t.Errorf("took %v; graphs: %t; off by %+v", took, r.Profile.PrefillGraphs, r.Whole)
	}
}

func TestSeveralTokenizersAreNotCalibrated(t *testing.T) {
	p := sim.Profiles()[0]
	p.Tokenizers = 8
	s, err := sim.New(sim.Options{Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = Run(t.Context(), direct{s}, Options{Repeats: 1, Tokens: 1024})
	if err == nil || !strings.Contains(err.Error(), "--tokenizer-worker-num 1") {
		t.Errorf("%v", err)
	}
}

// older is an SGLang that does not tell how many requests it runs at once.
type older struct{ direct }

func (o older) ServerInfo(ctx context.Context) (sglang.ServerInfo, error) {
	info, err := o.direct.ServerInfo(ctx)
	info.MaxRunningRequests = 0
	return info, err
}

func TestProfileOfAServerThatDoesNotTellHowManyItRunsAtOnceRunsMany(t *testing.T) {
	s, err := sim.New(sim.Options{Profile: sim.Profiles()[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info, err := older{direct{s}}.ServerInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p := (&runner{info: info}).profile(Options{}); p.MaxRunningRequests < 1000 {
		t.Errorf("%d at once", p.MaxRunningRequests)
	}
}
