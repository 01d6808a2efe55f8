package target

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"paceline/sglang"
)

// Work is what a load asks SGLang for.
type Work string

// The works. All but Prefill are sent over SGLang's own HTTP, to the proxy as to SGLang.
const (
	Prefill  Work = "prefill"  // PrefillService; straight /generate with 0 or 1 new tokens
	Score    Work = "score"    // /v1/score: questions about a state, as token ids
	Decide   Work = "decide"   // /v1/decisions: questions about a state, as text
	Generate Work = "generate" // /generate with new tokens, as a stream
)

var paths = map[Work]string{Score: "/v1/score", Decide: "/v1/decisions", Generate: "/generate"}

// HTTP sends one work over SGLang's own HTTP. It repeats nothing.
type HTTP struct {
	URL          string // of SGLang or of a proxy
	Key          string // sent as a bearer token; "": none
	Client       *http.Client
	Work         Work
	MaxNewTokens int     // of Generate
	Tracer       *Tracer // nil: no spans
}

// NewHTTP returns an HTTP for a URL. access holds the key, and the files of TLS for a URL with https. It
// sends nothing. Its error names a flag.
func NewHTTP(url string, access Access) (*HTTP, error) {
	transport := sglang.Transport(access.Dial)
	if access.CA != "" {
		config, err := access.tls()
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = config
	}
	key, err := access.key()
	return &HTTP{URL: url, Key: key, Client: &http.Client{Transport: transport}}, err
}

// Send implements Sender. Its errors are *sglang.Error, or ctx's.
func (h *HTTP) Send(ctx context.Context, p Prompt) (Answer, error) {
	ctx, end := h.Tracer.begin(ctx, strings.TrimPrefix(paths[h.Work], "/"), p)
	a, err := h.send(ctx, p)
	cause := ""
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		a, cause = Answer{}, Cause(err)
	}
	a.TraceID = end(cause)
	return a, err
}

func (h *HTTP) send(ctx context.Context, p Prompt) (Answer, error) {
	body := p.Body
	if h.Work == Generate {
		body, _ = json.Marshal(map[string]any{ // of strings, numbers and bools
			"text": p.Full(), "stream": true,
			"sampling_params": map[string]any{"max_new_tokens": h.MaxNewTokens, "ignore_eos": true}, // all answers are as long
		})
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL+paths[h.Work], bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	if h.Key != "" {
		req.Header.Set("Authorization", "Bearer "+h.Key)
	}
	h.Tracer.Header(ctx, req.Header)
	begin := time.Now()
	res, err := h.Client.Do(req)
	if err != nil {
		return Answer{}, h.failed(0, sglang.KindUnreachable, "no answer")
	}
	defer res.Body.Close() //nolint:errcheck // only read
	if res.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxMessageBytes)) // so that the connection can be used again
		return Answer{}, h.failed(res.StatusCode, sglang.KindServer, "refused or failed")
	}
	if h.Work == Generate {
		return h.readStream(res.Body, begin)
	}
	return h.readScores(res.Body, p.Questions)
}

// readScores reads the answer to a state's questions. It does not tell what was cached.
func (h *HTTP) readScores(r io.Reader, questions int) (Answer, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxMessageBytes))
	if err != nil {
		return Answer{}, h.failed(0, sglang.KindUnreachable, "the answer was cut short")
	}
	var a struct {
		Scores  []json.RawMessage
		Answers map[string]json.RawMessage
		Usage   struct {
			PromptTokens int `json:"prompt_tokens"`
		}
	}
	if json.Unmarshal(data, &a) != nil || len(a.Scores)+len(a.Answers) != questions {
		return Answer{}, h.failed(http.StatusOK, sglang.KindProtocol, "the answer is not one for each question")
	}
	return Answer{PromptTokens: a.Usage.PromptTokens, CachedUnknown: true}, nil
}

// readStream reads a stream to its end mark. Its first event is the first token.
func (h *HTTP) readStream(r io.Reader, begin time.Time) (a Answer, err error) {
	lines := bufio.NewReader(io.LimitReader(r, maxMessageBytes))
	var last []byte
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return a, h.failed(0, sglang.KindUnreachable, "the stream was cut short")
		}
		data, event := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data: "))
		switch {
		case !event:
			continue
		case string(data) == "[DONE]":
			return a, h.readLast(last, &a)
		case last == nil:
			a.FirstToken = time.Since(begin)
		}
		last = data
	}
}

// readLast reads the last event of a stream: the whole answer, or an error.
func (h *HTTP) readLast(event []byte, a *Answer) error {
	var e struct {
		Meta *struct {
			PromptTokens int `json:"prompt_tokens"`
			CachedTokens int `json:"cached_tokens"`
			OutputTokens int `json:"completion_tokens"`
			Finish       *struct {
				Type string
			} `json:"finish_reason"`
		} `json:"meta_info"`
	}
	if json.Unmarshal(event, &e) != nil || e.Meta == nil || e.Meta.Finish == nil || e.Meta.Finish.Type == "abort" {
		return h.failed(http.StatusInternalServerError, sglang.KindServer, "the stream ended without a whole answer")
	}
	a.PromptTokens, a.CachedTokens, a.OutputTokens = e.Meta.PromptTokens, e.Meta.CachedTokens, e.Meta.OutputTokens
	return nil
}

func (h *HTTP) failed(status int, kind sglang.Kind, message string) error {
	return &sglang.Error{Where: fmt.Sprint("POST ", paths[h.Work]), Status: status, Kind: kind, Message: message}
}
