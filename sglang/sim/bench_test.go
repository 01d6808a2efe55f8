package sim

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// BenchmarkTextCall measures the real cost of simulating a call of 16 prompts of 10 kB.
func BenchmarkTextCall(b *testing.B) {
	p := small()
	p.CallSeconds, p.RequestSeconds, p.TokenSeconds, p.ForwardSeconds, p.TokenizeSecondsPerByte = 0, 0, 0, 0, 0
	p.ContextLength, p.KVCacheTokens = 32768, 1_000_000
	s, err := New(Options{Profile: p})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	shared := strings.Repeat("def f(self, value):\n    return self._cache.get(value, None)  # looked up \"q\"\n", 60)
	texts := make([]string, 16)
	n := 0
	b.SetBytes(16 * 10_000)
	for b.Loop() {
		b.StopTimer()
		for i := range texts {
			n++
			texts[i] = shared + strings.Repeat(fmt.Sprintf("The %d-th issue: a call of `frobnicate` fails.\n", n), 110)
		}
		body, _ := json.Marshal(map[string]any{"text": texts, "sampling_params": map[string]any{"max_new_tokens": 0}})
		b.StartTimer()
		do(b.Context(), s, "POST", "/generate", string(body))
	}
}
