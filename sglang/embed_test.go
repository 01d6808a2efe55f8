package sglang

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// answering returns a client of a server that answers with these bodies by path, and the
// bodies that it got.
func answering(t *testing.T, answers map[string]string) (*Client, map[string]string) {
	got := map[string]string{}
	done := make(chan struct{}, 1) // guards got
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		done <- struct{}{}
		got[r.URL.Path] = string(body)
		<-done
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answers[r.URL.Path])
	}))
	t.Cleanup(s.Close)
	c, err := NewClient(s.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c, got
}

const usageOf9 = `"usage":{"prompt_tokens":9,"total_tokens":9,"completion_tokens":0,"prompt_tokens_details":null}`

func TestAListOfEmbeddingsIsCutUpWithItsNumbersAsTheyCame(t *testing.T) {
	c, got := answering(t, map[string]string{
		"/v1/embeddings": `{"data":[{"embedding":[1e-05,-0.0,1.50],"index":0,"object":"embedding"},
			{"embedding":"AAA+/w==","index":1,"object":"embedding"}],"model":"<m>","object":"list",` + usageOf9 + `,"new":[{"a":1.0}]}`,
		"/tokenize": `{"count":[2,7]}`,
	})
	results, err := c.Embed(t.Context(), Call{
		Embed:    Embedding{Path: "/v1/embeddings", Fields: `,"model":"m"`},
		Requests: []Request{{RID: "x", Text: "a \"b\""}, {RID: "y", Text: "c"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const rest = `"model":"<m>","object":"list","new":[{"a":1.0}]}`
	for i, want := range []string{
		`{"data":[{"index":0,"embedding":[1e-05,-0.0,1.50],"object":"embedding"}],` +
			`"usage":{"prompt_tokens":2,"total_tokens":2,"completion_tokens":0,"prompt_tokens_details":null},` + rest,
		`{"data":[{"index":0,"embedding":"AAA+/w==","object":"embedding"}],` +
			`"usage":{"prompt_tokens":7,"total_tokens":7,"completion_tokens":0,"prompt_tokens_details":null},` + rest,
	} {
		if string(results[i].Answer.Raw) != want {
			t.Errorf("%s\nwant %s", results[i].Answer.Raw, want)
		}
	}
	const list, texts = `{"input":["a \"b\"","c"],"rid":["x","y"],"model":"m"}`, `{"prompt":["a \"b\"","c"]}`
	if got["/v1/embeddings"] != list || got["/tokenize"] != texts {
		t.Errorf("sent %v", got)
	}
}

func TestAListOfEmbeddingsIsRepeatedWhereItsTextsCouldNotBeCounted(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/tokenize" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"data":[{"index":0},{"index":1}],`+usageOf9+`}`)
	}))
	defer s.Close()
	c, err := NewClient(s.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	two := []Request{{RID: "x", Text: "a"}, {RID: "y", Text: "b"}}
	_, err = c.Embed(t.Context(), Call{Embed: Embedding{Path: "/v1/embeddings"}, Requests: two})
	if e := new(Error); !errors.As(err, &e) || e.Kind != KindBusy {
		t.Error(err)
	}
}

func TestAListOfEmbeddingsThatCanNotBeCutUpIsToldApartFromABadPrompt(t *testing.T) {
	two := `{"data":[{"index":0},{"index":1}],`
	meta := `{"meta_info":{"id":"x","prompt_tokens":1}}`
	for _, answers := range []map[string]string{
		{"/v1/embeddings": two + usageOf9 + `}`, "/tokenize": `{"count":[2,6]}`},
		{"/v1/embeddings": two + usageOf9 + `}`, "/tokenize": `{"count":[10,-1]}`},
		{"/v1/embeddings": two + usageOf9 + `}`, "/tokenize": `{"count":[9]}`},
		{"/v1/embeddings": two + usageOf9 + `}`, "/tokenize": `no`},
		{"/v1/embeddings": `{"data":[{"index":1},{"index":0}],` + usageOf9 + `}`, "/tokenize": `{"count":[2,7]}`},
		{"/v1/embeddings": `{"data":[{"index":0}],` + usageOf9 + `}`, "/tokenize": `{"count":[2,7]}`},
		{"/v1/embeddings": `[]`, "/tokenize": `{"count":[2,7]}`},
		{"/encode": `[` + meta + `]`}, {"/encode": `[` + meta + `,` + meta + `]`}, {"/encode": meta},
		{"/encode": `[` + meta + `,{"meta_info":{"id":"y","prompt_tokens":-1}}]`},
	} {
		c, _ := answering(t, answers)
		path := "/encode"
		if answers[path] == "" {
			path = "/v1/embeddings"
		}
		_, err := c.Embed(t.Context(), Call{Embed: Embedding{Path: path}, Requests: []Request{{RID: "x", Text: "a"}, {RID: "y", Text: "b"}}})
		if e := new(Error); !errors.As(err, &e) || e.Kind != KindProtocol || e.Status != 0 || strings.Contains(e.Message, "meta") {
			t.Errorf("%v: %v", answers, err)
		}
	}
}
