package sim

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"paceline/sglang"
)

func TestAbortEndsWhatWaitsAndAnswersIt(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		var first, second *httptest.ResponseRecorder
		var wg sync.WaitGroup
		wg.Go(func() {
			first = do(t.Context(), s, "POST", "/generate", `{"rid":"zz","input_ids":[1,2,3],"sampling_params":{"max_new_tokens":0}}`)
		})
		time.Sleep(20 * time.Millisecond) // it is in its forward
		wg.Go(func() {
			second = do(t.Context(), s, "POST", "/generate", `{"rid":["ab10","cd"],"input_ids":[[4,5],[6,7]],`+
				`"sampling_params":{"max_new_tokens":0}}`)
		})
		time.Sleep(20 * time.Millisecond) // it waits for the next
		if w := do(t.Context(), s, "POST", "/abort_request", `{"rid":"ab1"}`); w.Code != 200 {
			t.Errorf("abort: %d", w.Code)
		}
		if w := do(t.Context(), s, "POST", "/generate", `{"rid":"zz","text":"again"}`); w.Code != 400 || !strings.Contains(w.Body.String(),
			"Duplicate request ID detected: zz") {
			t.Errorf("a rid in use: %d %s", w.Code, w.Body)
		}
		wg.Wait()
		if !strings.Contains(first.Body.String(), `"type":"length"`) {
			t.Errorf("a running forward was cut: %s", first.Body)
		}
		var a []sglang.Answer
		_ = json.Unmarshal(second.Body.Bytes(), &a)
		if a[0].Meta.FinishReason.Type != "abort" || a[1].Meta.FinishReason.Type != "length" {
			t.Errorf("got %s", second.Body)
		}
		if st := s.Stats(); st.Aborted != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestAbortWhileGeneratingAnswersWithWhatThereIs(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		var w *httptest.ResponseRecorder
		var wg sync.WaitGroup
		wg.Go(func() {
			w = do(t.Context(), s, "POST", "/generate", `{"rid":"long","input_ids":[1],"sampling_params":{"max_new_tokens":1000}}`)
		})
		time.Sleep(111100*time.Microsecond + 950*time.Millisecond) // its prompt is read after 111.1 ms, and each further token takes 100 ms
		do(t.Context(), s, "POST", "/abort_request", `{"abort_all":true}`)
		wg.Wait()
		var a sglang.Answer
		_ = json.Unmarshal(w.Body.Bytes(), &a)
		if len(a.OutputIDs) != 10 || a.Meta.CompletionTokens != 10 || a.Meta.PromptTokens != 1 {
			t.Errorf("got %s", w.Body)
		}
		if a.Meta.E2ELatency < 1.061 || a.Meta.E2ELatency > 1.0612 {
			t.Errorf("took %v s", a.Meta.E2ELatency)
		}
		if !strings.Contains(w.Body.String(), `"finish_reason":{"type":"abort","message":"Aborted","status_code":null}`) {
			t.Errorf("got %s", w.Body)
		}
	})
}

func TestAbortDuringAForwardHoldsForWhatWouldGenerateAfterIt(t *testing.T) {
	bubble(t, small(), func(t *testing.T, s *Server) {
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			do(t.Context(), s, "POST", "/generate", `{"input_ids":[1],"sampling_params":{"max_new_tokens":1000}}`)
		})
		time.Sleep(50 * time.Millisecond)
		do(t.Context(), s, "POST", "/abort_request", `{"abort_all":true}`)
		wg.Wait()
		if took := time.Since(start); took != 111100*time.Microsecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestAbortStopsACutPromptBetweenItsChunks(t *testing.T) {
	p := small()
	p.ChunkedPrefillSize = 100
	bubble(t, p, func(t *testing.T, s *Server) {
		var w *httptest.ResponseRecorder
		var wg sync.WaitGroup
		wg.Go(func() {
			body, _ := json.Marshal(map[string]any{"input_ids": ids(1000, 0, 1), "sampling_params": map[string]any{"max_new_tokens": 0}})
			w = do(t.Context(), s, "POST", "/generate", string(body))
		})
		time.Sleep(250 * time.Millisecond) // in its third chunk
		do(t.Context(), s, "POST", "/abort_request", `{"abort_all":true}`)
		wg.Wait()
		if st := s.Stats(); st.UncachedTokens != 300 || !strings.Contains(w.Body.String(), `"abort"`) {
			t.Errorf("%d tokens were computed: %s", st.UncachedTokens, w.Body)
		}
		if got := read(t, s, [][]int32{ids(1000, 0, 1)}); got[0].Meta.CachedTokens != 300 {
			t.Errorf("%d tokens are cached", got[0].Meta.CachedTokens)
		}
	})
}

// Measured: a list is given up all at once, after 2.5 s, a stream after 0.25 s.
func TestDisconnectIsNoticedLateAndForTheWholeCall(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		notice time.Duration
	}{"list": {"false", 2500 * time.Millisecond}, "stream": {"true", 250 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			p := small()
			p.ForwardSeconds = 10
			bubble(t, p, func(t *testing.T, s *Server) {
				var wg sync.WaitGroup
				wg.Go(func() { read(t, s, [][]int32{ids(10, 0, 1)}) })
				time.Sleep(100 * time.Millisecond) // it is in its forward
				ctx, cancel := context.WithCancel(t.Context())
				wg.Go(func() {
					do(ctx, s, "POST", "/generate", `{"input_ids":[[1],[2],[3]],"stream":`+c.stream+`,"sampling_params":{"max_new_tokens":0}}`)
				})
				time.Sleep(100 * time.Millisecond)
				cancel()
				time.Sleep(c.notice - time.Millisecond)
				if st := s.Stats(); st.Aborted != 0 {
					t.Errorf("%d were noticed early", st.Aborted)
				}
				time.Sleep(2 * time.Millisecond)
				if st := s.Stats(); st.Aborted != 3 {
					t.Errorf("%d of 3 were noticed", st.Aborted)
				}
				wg.Wait()
			})
		})
	}
}
