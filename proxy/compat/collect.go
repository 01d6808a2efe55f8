package compat

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"paceline/proxy/upstream"
	"paceline/sglang"
)

// embeddings are the paths whose single calls are collected into lists (SGLang 0.5.23), with
// the fields that hold the prompt and those that must be equal within a list. Calls with
// other fields are passed on.
var embeddings = map[string]struct{ prompt, equal []string }{
	"/encode":        {[]string{"text", "input_ids"}, []string{"dimensions", "lora_path", "priority"}},
	"/classify":      {[]string{"text", "input_ids"}, []string{"dimensions", "lora_path", "priority"}},
	"/v1/embeddings": {[]string{"input"}, []string{"model", "encoding_format", "dimensions", "lora_path", "priority"}},

	sglang.ClassifyPath: {[]string{"input"}, []string{"model", "priority"}},
}

// collect answers a call that embeds or classifies one prompt, in a list with those of other
// callers. It returns false without an answer if the call must be passed on like any other.
func (h *Handler) collect(
	w http.ResponseWriter, r *http.Request, s *upstream.Snapshot, body []byte, fields map[string]json.RawMessage,
) bool {
	path, odd := r.URL.Path, oddity{r.URL.Path, s.Model}
	p := singleEmbedding(path, fields)
	if _, known := h.odd.Load(odd); known || p == nil || !s.Embeds {
		return false
	}
	var wrong error // by what is known of SGLang when it is queued
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	o := h.up.Submit(r.Context(), host, func(l upstream.Limits) (*upstream.Prompt, error) {
		if l != s.Limits {
			_, wrong = h.check(h.snapshot(), r, body)
		}
		return p, wrong
	})
	failed, refused := new(sglang.Error), new(upstream.FieldError)
	switch {
	case o.Err == nil:
		w.Header().Set("Content-Type", jsonType)
		w.Header().Set(receiptHeader, "batch_id="+o.Receipt.GetBatchId()+
			", batch_size="+strconv.Itoa(int(o.Receipt.GetBatchSize()))+
			", position="+strconv.Itoa(int(o.Receipt.GetPosition()))+
			", merged_requests="+strconv.Itoa(int(o.Receipt.GetMergedRequests()))+
			", queue_wait_seconds="+strconv.FormatFloat(o.Receipt.GetQueueWaitSeconds(), 'f', 4, 64))
		_, _ = w.Write(o.Answer.Raw) // an error means that the client has gone
	case wrong == nil && errors.As(o.Err, &refused): // SGLang says itself what is wrong
		h.forward(w, r, body)
	case errors.As(o.Err, &failed) && failed.Kind == sglang.KindProtocol:
		h.markOdd(odd)
		h.forward(w, r, body)
	default:
		writeFailure(w, r, o.Err)
	}
	return true
}

const jsonType = "application/json"

// singleEmbedding reads a call of one prompt that can be collected; nil for any other.
func singleEmbedding(path string, fields map[string]json.RawMessage) *upstream.Prompt {
	e, known := embeddings[path]
	if !known {
		return nil
	}
	p := &upstream.Prompt{Embed: sglang.Embedding{Path: path}}
	equal := map[string]json.RawMessage{}
	for name, raw := range fields {
		switch {
		case isNull(raw), name == "user": // asks for nothing
		case slices.Contains(e.prompt, name):
			if len(p.Request.Text)+len(p.Request.InputIDs) > 0 || !readSingle(p, path, raw) {
				return nil
			}
		case raw[0] == '[' || !slices.Contains(e.equal, name):
			return nil
		default:
			equal[name] = raw
		}
	}
	if len(p.Request.Text)+len(p.Request.InputIDs) == 0 {
		return nil
	}
	if priority, ok := read[int32](fields["priority"]); ok {
		p.Priority = &priority
	}
	if len(equal) > 0 {
		p.Embed.Fields = "," + strings.TrimPrefix(strings.TrimSuffix(string(writeBody(equal, "")), "}"), "{")
	}
	return p
}

// readSingle reads a prompt: a text, ids, or at OpenAI's paths a list with one of them.
func readSingle(p *upstream.Prompt, path string, raw json.RawMessage) bool {
	openAI := strings.HasPrefix(path, "/v1/")
	if openAI && raw[0] == '[' && !isIDs(raw) {
		if all, ok := elements(raw); ok && len(all) == 1 {
			raw = all[0].value
		}
	}
	if text, ok := readText(raw); ok {
		p.Request.Text = text
		// OpenAI's paths refuse texts without a character that shows, but not their ids.
		return !openAI || strings.ContainsFunc(text, func(c rune) bool { return c > ' ' && !unicode.IsSpace(c) })
	}
	if !isIDs(raw) || path == sglang.ClassifyPath { // it takes no list of ids
		return false
	}
	p.Request.InputIDs, _ = readIDs(raw)
	return true
}
