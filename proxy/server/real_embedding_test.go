package server

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"paceline/proxy/upstream"
)

// PACELINE_TEST_EMBEDDER names a real SGLang that was started with --is-embedding.
func TestRealEmbedderAnswersAsAloneThroughTheProxy(t *testing.T) {
	straight := os.Getenv("PACELINE_TEST_EMBEDDER")
	if straight == "" {
		t.Skip("PACELINE_TEST_EMBEDDER names no server")
	}
	const n = 12
	want := embedAll(t, straight, embeddings(), n)
	for _, tokenizer := range []string{upstream.TokenizerAuto, upstream.TokenizerNone} {
		r := start(t, &fakeSGLang{addr: strings.TrimPrefix(straight, "http://")}, func(c *Config) { c.Upstream.Tokenizer = tokenizer })
		long := `{"model":"m","input":"` + strings.Repeat("x ", 33_000) + `"}` // for the context
		wantCode, wantLong := ask(t, http.MethodPost, straight+"/v1/embeddings", long)
		var wg sync.WaitGroup
		wg.Go(func() {
			code, got := ask(t, http.MethodPost, r.url("/v1/embeddings"), long)
			if code != wantCode || got != wantLong || code != http.StatusBadRequest {
				t.Errorf("too long: %d %.300s\nwant %d %.300s", code, got, wantCode, wantLong)
			}
		})
		got := embedAll(t, r.url(""), embeddings(), n)
		wg.Wait()
		worst := 0.0
		for path := range want {
			for i := range want[path] {
				var a, b any
				if json.Unmarshal([]byte(got[path][i]), &a) != nil || json.Unmarshal([]byte(want[path][i]), &b) != nil {
					t.Fatalf("%s: %.300s", path, got[path][i])
				}
				worst = max(worst, apart(a, b))
			}
		}
		// A batch's shape changes the last digits of bfloat16, straight to SGLang too.
		if s := r.up.Queue.Stats(); worst > 0.01 || s.Answered != n*uint64(len(want)) {
			t.Errorf("tokenizer %s: apart by %v, %d answered in lists", tokenizer, worst, s.Answered)
		}
		t.Logf("tokenizer %s: %d requests in %d lists, numbers apart by at most %v", tokenizer, n*len(want), len(r.up.Recent()), worst)
	}
}

// apart returns by how much the numbers of two JSON values differ; infinity if something
// else does.
func apart(a, b any) (worst float64) {
	switch a := a.(type) {
	case float64:
		if b, ok := b.(float64); ok {
			return math.Abs(a - b)
		}
	case []any:
		if b, ok := b.([]any); ok && len(a) == len(b) {
			for i := range a {
				worst = max(worst, apart(a[i], b[i]))
			}
			return worst
		}
	case map[string]any:
		if b, ok := b.(map[string]any); ok && len(a) == len(b) {
			for name := range a {
				worst = max(worst, apart(a[name], b[name]))
			}
			return worst
		}
	case string:
		if b, ok := b.(string); ok && len(a) > 100 && len(a) == len(b) {
			return apart(unpacked(a), unpacked(b))
		}
	}
	if fmt.Sprint(a) == fmt.Sprint(b) {
		return 0
	}
	return math.Inf(1)
}

// unpacked are the numbers of an embedding in base64.
func unpacked(s string) (all []any) {
	data, _ := base64.StdEncoding.DecodeString(s)
	for ; len(data) >= 4; data = data[4:] {
		all = append(all, float64(math.Float32frombits(binary.LittleEndian.Uint32(data))))
	}
	return all
}
