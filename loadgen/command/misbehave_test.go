package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"paceline/proxy/server/servertest"
)

// misbehaving is a simulated SGLang whose answers were changed: spoil changes the meta_info of each prompt, and
// refuse says which texts get a 400.
type misbehaving struct {
	sim    http.Handler
	spoil  func(meta map[string]any)
	refuse func(text string) bool
	delay  time.Duration
}

func (m misbehaving) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/generate" {
		m.sim.ServeHTTP(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	time.Sleep(m.delay)
	if m.refuse != nil && m.refuses(body) {
		http.Error(w, `{"error":{"message":"no"}}`, http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	recorded := httptest.NewRecorder()
	m.sim.ServeHTTP(recorded, r)
	var answer any
	if err := json.Unmarshal(recorded.Body.Bytes(), &answer); err == nil && m.spoil != nil && recorded.Code == http.StatusOK {
		list, isList := answer.([]any)
		if !isList {
			list = []any{answer}
		}
		for _, one := range list {
			m.spoil(one.(map[string]any)["meta_info"].(map[string]any))
		}
		changed, _ := json.Marshal(answer)
		recorded.Body = bytes.NewBuffer(changed)
		recorded.Header().Del("Content-Length")
	}
	maps.Copy(w.Header(), recorded.Header())
	w.WriteHeader(recorded.Code)
	_, _ = w.Write(recorded.Body.Bytes())
}

// refuses reports whether a call holds a text that is refused.
func (m misbehaving) refuses(body []byte) bool {
	var call struct{ Text any }
	if json.Unmarshal(body, &call) != nil {
		return false
	}
	if list, ok := call.Text.([]any); ok {
		for _, text := range list {
			if m.refuse(fmt.Sprint(text)) {
				return true
			}
		}
		return false
	}
	return m.refuse(fmt.Sprint(call.Text))
}

func (m misbehaving) listen(t *testing.T) string {
	t.Helper()
	m.sim = servertest.Simulator(t, 50).Handler()
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return server.URL
}

// share says whether a text is one of a share of all.
func share(of float64) func(string) bool {
	return func(text string) bool {
		h := fnv.New32a()
		_, _ = h.Write([]byte(text))
		return float64(h.Sum32()%1000) < 1000*of
	}
}

// What the conclusion, the table and the exit status say for each way in which a server misleads.
func TestAServerThatMisbehavesIsNeverRecommended(t *testing.T) {
	set := func(name string, value int) func(map[string]any) {
		return func(meta map[string]any) { meta[name] = value }
	}
	none := func(meta map[string]any) { meta["prompt_tokens"], meta["cached_tokens"] = 0, 0 }
	for name, c := range map[string]struct {
		server misbehaving
		flags  []string
		status int
		stderr string
		said   []string // by the conclusion and the table
	}{
		"no prompt tokens": {
			server: misbehaving{spoil: none}, status: exitImpossible, stderr: "can't be true: the server's token counts in 4 of 4 runs",
			said: []string{
				"The server's token counts can't be true in cold", "(0 prompt tokens)", "4 *           –           –", "no batch size has a figure",
			},
		},
		"more tokens than bytes": {
			server: misbehaving{spoil: set("prompt_tokens", 30_000)}, status: exitImpossible,
			stderr: "no figure: token counts that can't be true, 30000 tokens of a prompt of",
			said:   []string{"The server's token counts can't be true in cold", "no batch size has a figure"},
		},
		"sixty percent failing": {
			server: misbehaving{refuse: share(0.6)}, status: exitFailed, stderr: "requests failed",
			said: []string{"More than 1 % of the prompts failed or were dropped in cold", "no batch size has a figure"},
		},
		"dropped in an open loop": {
			server: misbehaving{delay: 100 * time.Millisecond}, flags: []string{"-rate", "200", "-most-outstanding", "2"},
			status: exitFailed, stderr: "requests were dropped",
			said: []string{"More than 1 % of the prompts failed or were dropped in cold", "no setting has figures that compare"},
		},
		// The client of SGLang refuses these answers, so that no request is answered.
		"negative prompt tokens": {
			server: misbehaving{spoil: set("prompt_tokens", -5)}, status: exitFailed, stderr: "counts -5 prompt_tokens",
			said: []string{"Nothing was measured (warm-up: no request of the run was answered", "an answer counts -5 prompt_tokens"},
		},
		"more cached than prompt": {
			server: misbehaving{spoil: set("cached_tokens", 900_000)}, status: exitFailed, stderr: "counts 900000 cached_tokens",
			said: []string{"Nothing was measured (warm-up: no request of the run was answered", "an answer counts 900000 cached_tokens"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := t.TempDir()
			args := []string{
				"-sglang", c.server.listen(t), "-n", "40", "-sizes", "1,4", "-defaults=false", "-repeats", "1", "-phases", "cold", "-out", out,
			}
			e := loadgen(t, append(args, c.flags...)...)
			if e.status != c.status || !strings.Contains(e.stderr, c.stderr) {
				t.Errorf("status %d, want %d: %s", e.status, c.status, e.stderr)
			}
			for _, want := range c.said {
				if !strings.Contains(e.stdout, want) {
					t.Errorf("no %q in\n%s", want, e.stdout)
				}
			}
			page, err := os.ReadFile(filepath.Join(out, "report.md"))
			if text := string(page); err != nil || strings.Contains(text, "take batch size") || strings.Contains(text, "answers soonest") {
				t.Errorf("%v, a recommendation in\n%s", err, text)
			}
		})
	}
}
