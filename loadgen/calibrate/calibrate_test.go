package calibrate

import (
	"fmt"
	"math"
	"testing"

	"go.uber.org/goleak"

	"paceline/sglang"
	"paceline/sglang/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A simulator whose costs are known is found to have them, as far as the few
// milliseconds that this machine adds to each call let it.
func TestKnownCostsAreFound(t *testing.T) {
	want := sim.Profile{
		Name: "known", Device: "none", Model: "none", Origin: "made up",
		CallSeconds: 0.004, RequestSeconds: 0.002, TokenizeSecondsPerByte: 1e-6,
		ForwardSeconds: 0.006, ScheduleSeconds: 0.003, TokenSeconds: 10e-6, AttentionSeconds: 5e-9, Contention: 0.8,
		ChunkedPrefillSize: 4096, MaxRunningRequests: 64, KVCacheTokens: 200_000, ContextLength: 4096, VocabSize: 30_000,
	}
	s, err := sim.New(sim.Options{Profile: want})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	url, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := sglang.NewClient(url, sglang.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	// Whatever else the machine does is measured with it, so one quiet moment of three is
	// enough, and none is if what is looked for is not there.
	var misses []string
	for range 3 {
		r, err := Run(t.Context(), c, Options{Name: "found", Repeats: 1, Tokens: 1024})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v\nbusy %+v rest %+v whole %+v contended %+v", r.Profile, r.Busy, r.Rest, r.Whole, r.Contended)
		if err := r.Profile.Validate(); err != nil {
			t.Error(err)
		}
		if p := r.Profile; p.KVCacheTokens != want.KVCacheTokens || p.ContextLength != want.ContextLength || p.VocabSize != want.VocabSize {
			t.Errorf("%+v", p)
		}
		if misses = missed(r, want); len(misses) == 0 {
			return
		}
	}
	t.Error(misses)
}

// missed names the costs that were not found.
func missed(r Result, want sim.Profile) (misses []string) {
	for _, f := range []struct {
		name      string
		got, want float64
	}{
		{"forward_seconds", r.Profile.ForwardSeconds, want.ForwardSeconds},
		{"schedule_seconds", r.Profile.ScheduleSeconds, want.ScheduleSeconds},
		{"attention_seconds", r.Profile.AttentionSeconds, want.AttentionSeconds},
		{"token_seconds", r.Profile.TokenSeconds, want.TokenSeconds},
		{"call_seconds", r.Profile.CallSeconds, want.CallSeconds},
		{"request_seconds", r.Profile.RequestSeconds, want.RequestSeconds},
		{"tokenize_seconds_per_byte", r.Profile.TokenizeSecondsPerByte, want.TokenizeSecondsPerByte},
	} {
		if math.Abs(f.got/f.want-1) > 0.5 {
			misses = append(misses, fmt.Sprintf("%s: %v, want %v", f.name, f.got, f.want))
		}
	}
	if c := r.Profile.Contention; c < 0.3 || c > 2 {
		misses = append(misses, fmt.Sprintf("contention: %v, want about %v", c, want.Contention))
	}
	if r.Whole.Mean > 0.3 || r.Calls < 30 {
		misses = append(misses, fmt.Sprintf("%d calls, whole calls are off by %+v", r.Calls, r.Whole))
	}
	return misses
}
