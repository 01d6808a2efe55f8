package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Two good callers and one with a parameter that SGLang refuses ask for the same prompt. Each
// gets what a direct call gets, though nothing is sampled.
func TestABadSamplingParameterSharesNoPromptWithGoodOnes(t *testing.T) {
	f := newFake(t)
	f.fault = func(w http.ResponseWriter, _ *http.Request, c fakeCall) bool {
		bad := slices.ContainsFunc(c.Sampling, func(s map[string]any) bool { return s["top_p"] == 0.25 })
		if bad {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":{"message":"top_p must not be 0.25."}}`)
		}
		return bad
	}
	r := start(t, f, func(c *Config) {
		c.Settings.BatchSize, c.Settings.MaxWait = 2, time.Minute
	})
	var wg sync.WaitGroup
	for i, params := range []string{`"max_new_tokens":0`, `"max_new_tokens":0`, `"max_new_tokens":0,"top_p":0.25`} {
		wg.Go(func() {
			got := r.http(http.MethodPost, r.HTTPAddr()+"/generate", `{"text":"same prompt","sampling_params":{`+params+`}}`)
			switch {
			case i < 2 && (got.code != http.StatusOK || !strings.Contains(got.body, `"prompt_tokens":2`)):
				t.Errorf("a good caller: %d %s", got.code, got.body)
			case i == 2 && (got.code != http.StatusBadRequest || !strings.Contains(got.body, "top_p must not be")):
				t.Errorf("the bad caller: %d %s", got.code, got.body)
			}
		})
		if i < 2 {
			await(t, "it waits", func() bool { return r.up.Queue.Stats().Queued == i+1 })
		}
	}
	wg.Wait()
	if s := r.up.Queue.Stats(); s.Merged != 1 {
		t.Errorf("%d merged, want the second good caller with the first", s.Merged)
	}
}
