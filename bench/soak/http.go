package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// asks returns a kind's requests of SGLang's own HTTP interface, which must be answered as SGLang
// alone answers them.
func asks(path string, body func(w *writer) object) func(w *writer) try {
	return func(w *writer) try {
		data := body(w).body()
		return func(ctx context.Context, p *pair) (outcome, error) {
			code, header, got, out, err := p.post(ctx, path, data)
			if out != answered {
				return out, err
			}
			if code != http.StatusOK && code != http.StatusBadRequest {
				return ofHTTP(code, header, got)
			}
			want := p.alone(path, data)
			if want.Code != code {
				return lost, fmt.Errorf("%d %.300s, and SGLang alone says %d %.300s", code, got, want.Code, want.Body)
			}
			if code == http.StatusBadRequest {
				return rejected, nil
			}
			return same(got, want.Body.Bytes())
		}
	}
}

// post sends a body and reads the answer, of any status. out is how it ended where it did not
// come: an answer may be cut short because SGLang's was.
func (p *pair) post(ctx context.Context, path string, body []byte) (code int, header http.Header, answer []byte, out outcome, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.rest+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, lost, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, out, err := p.sendHTTP(req)
	if err != nil {
		return 0, nil, nil, out, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	switch answer, err = io.ReadAll(res.Body); {
	case ctx.Err() != nil:
		return 0, nil, nil, gone, ctx.Err()
	case err != nil:
		return 0, nil, nil, failed, fmt.Errorf("the answer was cut short: %w", err)
	}
	return res.StatusCode, res.Header, answer, answered, nil
}

// same compares two answers, which may be streams, in all but ids, times and what was cached.
func same(got, want []byte) (outcome, error) {
	a, err := canonical(got)
	if err != nil {
		return lost, fmt.Errorf("%w: %.300s", err, got)
	}
	b, err := canonical(want)
	if err != nil {
		return lost, fmt.Errorf("SGLang alone: %w: %.300s", err, want)
	}
	if !reflect.DeepEqual(a, b) {
		return lost, fmt.Errorf("got %.600s, and SGLang alone says %.600s", fmt.Sprint(a), fmt.Sprint(b))
	}
	return answered, nil
}

// canonical reads an answer: a JSON value, or the sorted events of a stream.
func canonical(answer []byte) (any, error) {
	if !bytes.HasPrefix(answer, []byte("data: ")) {
		var v any
		err := json.Unmarshal(answer, &v)
		strip(v)
		return v, err
	}
	var events []string
	for line := range strings.SplitSeq(strings.TrimSpace(string(answer)), "\n\n") {
		event := strings.TrimPrefix(line, "data: ")
		var v any
		if json.Unmarshal([]byte(event), &v) == nil {
			strip(v)
			text, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			event = string(text)
		}
		events = append(events, event)
	}
	slices.Sort(events)
	return events, nil
}

// strip removes what differs between two answers to the same request.
func strip(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range []string{"id", "created", "cached_tokens", "cached_tokens_details", "queue_time", "e2e_latency", "paceline"} {
			delete(v, name)
		}
		for _, inner := range v {
			strip(inner)
		}
	case []any:
		for _, inner := range v {
			strip(inner)
		}
	}
}

// unread begins a stream of generation and does not read it.
func unread(w *writer) try {
	body := object{"text": w.state() + w.text(20), "sampling_params": object{"max_new_tokens": 64}, "stream": true}.body()
	return func(ctx context.Context, p *pair) (outcome, error) {
		ctx, cancel := context.WithTimeout(ctx, unreadFor)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.rest+"/generate", bytes.NewReader(body))
		if err != nil {
			return lost, err
		}
		res, out, err := p.sendHTTP(req)
		if err != nil {
			return out, err
		}
		defer res.Body.Close() //nolint:errcheck // left unread
		if res.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(res.Body) // an error's text; what is missing of it is not told
			return ofHTTP(res.StatusCode, res.Header, text)
		}
		<-ctx.Done()
		return answered, nil
	}
}

// unreadFor is how long a client leaves a stream unread.
const unreadFor = 15 * time.Second
