package sglang

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func FuzzAnswerIsDecodedOrRefused(f *testing.F) {
	f.Add([]byte("[" + element("aa", 1) + "," + element("bb", 2) + "]"))
	f.Add([]byte(`[{"error":{"message":"m","code":400}},{"error":{"code":"x"}}]`))
	f.Add([]byte(`[{"meta_info":{"id":"bb","finish_reason":{"type":"abort","status_code":"503"}}},null]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		requests := two().Requests
		results, err := (&Call{Requests: requests}).decodeResults(data)
		if (err == nil) != (len(results) == len(requests)) {
			t.Errorf("%d results with error %v", len(results), err)
		}
		for i, r := range results {
			if r.Err == nil && r.Answer.Meta.ID != requests[i].RID {
				t.Errorf("request %d got the answer of %q", i, r.Answer.Meta.ID)
			}
			if m := r.Answer.Meta; m.CachedTokens < 0 || m.CachedTokens > m.PromptTokens || m.PromptTokens > maxContext || m.CompletionTokens < 0 {
				t.Errorf("counts %+v", m)
			}
		}
	})
}

func FuzzErrorBodyGivesAShortMessage(f *testing.F) {
	f.Add([]byte(`{"error":{"message":"m"}}`))
	f.Add([]byte(`{"object":"error","message":"1 validation error: 'loc': ('body', 'text'), 'input': 'secret'"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e := errorFromBody("POST /generate", 400, body)
		if e.Message == "" || len(e.Message) > maxMessage+len("…") || !utf8.ValidString(e.Message) {
			t.Errorf("message %q", e.Message)
		}
	})
}

func FuzzStringsAreEncodedAsJSON(f *testing.F) {
	f.Add("plain")
	f.Add("0123456\"89abcdef\n\\\t\x1f\x7f\u0080 long enough for several words, and then some")
	f.Add("\x00\x1f\"\\\n\t\r é \u2028 𝄞 \x7f")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		var back string
		if err := json.Unmarshal(appendString(nil, s), &back); err != nil || back != s {
			t.Errorf("%q came back as %q: %v", s, back, err)
		}
	})
}
