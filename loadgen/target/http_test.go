package target

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestOnlyAWholeAnswerOverHTTPCounts(t *testing.T) {
	const event = `data: {"text":"a","meta_info":{"prompt_tokens":9,"cached_tokens":4,"completion_tokens":2,"finish_reason":`
	for name, c := range map[string]struct {
		work   Work
		status int
		answer string
		want   string // the cause; empty: answered
	}{
		"scores":               {Score, 200, `{"scores":[[1],[0]],"usage":{"prompt_tokens":9}}`, ""},
		"a score is missing":   {Score, 200, `{"scores":[[1]],"usage":{"prompt_tokens":9}}`, "HTTP 200"},
		"decisions":            {Decide, 200, `{"answers":{"a":{},"b":{}},"usage":{"prompt_tokens":9}}`, ""},
		"busy":                 {Decide, 503, `{}`, "HTTP 503"},
		"no JSON":              {Score, 200, `{"scores":`, "HTTP 200"},
		"a stream":             {Generate, 200, event + "null}}\n\n" + event + "{\"type\":\"length\"}}}\n\ndata: [DONE]\n\n", ""},
		"a stream cut short":   {Generate, 200, event + "{\"type\":\"length\"}}}\n\n", "Unavailable"},
		"a stream not ended":   {Generate, 200, event + "null}}\n\ndata: [DONE]\n\n", "HTTP 500"},
		"an aborted stream":    {Generate, 200, event + "{\"type\":\"abort\"}}}\n\ndata: [DONE]\n\n", "HTTP 500"},
		"an error in a stream": {Generate, 200, "data: {\"error\":{\"message\":\"secret\"}}\n\ndata: [DONE]\n\n", "HTTP 500"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer key" || r.URL.Path != paths[c.work] {
					t.Errorf("%s with %q", r.URL.Path, r.Header.Get("Authorization"))
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.answer)
			}))
			defer s.Close()
			h, err := NewHTTP(s.URL, Access{})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Client.CloseIdleConnections()
			h.Work, h.Key, h.MaxNewTokens = c.work, "key", 2
			p := Prompt{Text: "secret", Body: []byte("{}"), Questions: 2}
			a, err := h.Send(t.Context(), p)
			switch {
			case err == nil && c.want == "":
				if a.PromptTokens != 9 || c.work == Generate && (a.CachedTokens != 4 || a.OutputTokens != 2 || a.FirstToken <= 0 || a.CachedUnknown) ||
					c.work != Generate && !a.CachedUnknown {
					t.Errorf("got %+v", a)
				}
			case err == nil || Cause(err) != c.want || strings.Contains(err.Error(), "secret"):
				t.Errorf("got %+v, %v, want %q", a, err, c.want)
			}
		})
	}
}
