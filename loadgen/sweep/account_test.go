package sweep

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paceline/loadgen/report"
	"paceline/sglang"
)

const someLog = `[2026-11-23 13:33:18] INFO: Uvicorn running on http://127.0.0.1:30000
[2026-11-23 13:33:20] Prefill batch, #new-seq: 16, #new-token: 8192, #cached-token: 0, #running-req: 0, #queue-req: 3, ` +
	`input throughput (token/s): 1.00
[2026-11-23 13:33:21 TP0] Prefill batch. #new-seq: 3, #new-token: 96, #cached-token: 1500, token usage: 0.01
[2026-11-23 13:33:21] Decode batch, #running-req: 3, #token: 12
[2026-11-23 13:33:22] Prefill batch, #new-seq: x, #new-token: 96
[2026-11-23 13:33:23] Prefill batch, #new-seq: 7, #new-tok`

func TestPrefillBatchesOfSGLangsLogAreCounted(t *testing.T) {
	batches, sequences, err := countPrefills(t.Context(), strings.NewReader(someLog))
	if err != nil || batches != 2 || sequences != 19 {
		t.Errorf("%d batches of %d sequences, want 2 of 19: the last line is being written. %v", batches, sequences, err)
	}
	long := strings.Repeat("x", 200_000) + "\n"
	if batches, _, err = countPrefills(t.Context(), strings.NewReader(long+someLog+"\n"+long)); err != nil || batches != 3 {
		t.Errorf("%d batches, %v", batches, err)
	}
}

// serveLoads returns a client of a server with one answer, to /v1/loads.
func serveLoads(t *testing.T, answer string) *sglang.Client {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	c, err := sglang.NewClient(server.URL, sglang.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

func TestAnAccountIsWhatWasDoneInBetween(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sglang.log")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	away, err := sglang.NewClient("http://127.0.0.1:1", sglang.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer away.CloseIdle()
	write(someLog + "\n")
	var run report.Run
	told := Plan{}.account(t.Context(), Counters{Client: away, Log: path})
	write(someLog + "\n" + someLog + "\n")
	told(t.Context(), &run)
	if run.ServerForwards == nil || *run.ServerForwards != 3 || run.ServerSequences == nil || *run.ServerSequences != 26 ||
		run.ServerUncachedTokens != nil {
		t.Errorf("%+v", run)
	}
	uncounted := serveLoads(t, `{"loads":[{"num_running_reqs":1}]}`) // SGLang before 0.5.17
	Plan{}.account(t.Context(), Counters{Client: uncounted})(t.Context(), &run)
	if want := "SGLang ran 1 and queued 0 requests of others when it began"; !slices.Equal(run.Notes, []string{want}) {
		t.Errorf("a server that was busy before: %q", run.Notes)
	}
	if run.ServerUncachedTokens != nil || run.ServerBusySeconds != nil {
		t.Errorf("what SGLang does not count is known: %+v", run)
	}
	counted := serveLoads(t, `{"loads":[{"total_prefill_uncached_tokens":5}]}`)
	Plan{}.account(t.Context(), Counters{Client: counted})(t.Context(), &run)
	if run.ServerUncachedTokens == nil || *run.ServerUncachedTokens != 0 {
		t.Errorf("%+v", run)
	}
	run = report.Run{}
	Plan{}.account(t.Context(), Counters{Client: away, Log: path + "x"})(t.Context(), &run)
	Plan{}.account(t.Context(), Counters{})(t.Context(), &run)
	if run.ServerForwards != nil {
		t.Errorf("an account that can't be read tells %+v", run)
	}
}

func FuzzCountPrefills(f *testing.F) {
	f.Add(someLog)
	f.Add("Prefill batch, #new-seq: 99999999999999999999\n")
	f.Fuzz(func(t *testing.T, text string) {
		batches, sequences, err := countPrefills(t.Context(), strings.NewReader(text))
		if err != nil || batches < 0 || sequences < 0 || batches > int64(strings.Count(text, "\n")) {
			t.Fatalf("%d batches of %d sequences in %d lines: %v", batches, sequences, strings.Count(text, "\n"), err)
		}
	})
}
