package compat

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"paceline/batcher"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// receiptHeader is in the answer to a request that was admitted: its role in the reading of
// a new prefix, and how many seconds it was held.
const receiptHeader = "Paceline-Receipt"

// forwardShared passes a request on, unchanged, once the prefix that it shares with others
// has been read, or refuses it if its caller exceeds its rate. fields are the outer fields of
// its body.
func (h *Handler) forwardShared(
	w http.ResponseWriter, r *http.Request, s *upstream.Snapshot, body []byte, fields map[string]json.RawMessage,
) {
	err := h.up.Queue.Room(0, 0) // a drain refuses what waits for nothing, too
	if err == nil {
		err = upstream.Reserve(r.Context(), countPrompts(r.URL.Path, fields))
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	if h.score(w, r, s, body, fields) {
		return
	}
	p := promptOf(r.URL.Path, fields)
	if p == nil {
		h.forward(w, r, body)
		return
	}
	p.Body = body
	g, err := h.admit(w, r, s, p)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	defer g.Done()
	if g.Prefill {
		h.prefill(r, p, g)
	}
	if _, own := fields["rid"]; !own {
		rid := sglang.NewRID()
		body = withRID(body, rid)
		defer func() {
			// SGLang itself notices within 2 s that the client of a stream has gone, and
			// within 4 s that another has (0.5.23).
			if r.Context().Err() != nil {
				h.up.Abort(r.Context(), rid)
			}
		}()
	}
	h.forward(&prefillWatch{ResponseWriter: w, grant: g}, r, body)
}

// withRID returns a JSON object that has no rid with one, in front of all that it has. SGLang
// would make one of the same form itself. A rid of a client's own is none to abort by: SGLang
// would abort all that begin with it.
func withRID(object []byte, rid string) []byte {
	at := bytes.IndexByte(object, '{') + 1
	return slices.Concat(object[:at], []byte(`"rid":"`+rid+`",`), object[at:])
}

// prefill has SGLang read the prompt of a leader before its request, and reports whether it
// did.
func (h *Handler) prefill(r *http.Request, p *upstream.Passed, g *batcher.Grant) bool {
	counts, err := h.up.Prefill(r.Context(), p)
	if err != nil {
		h.log.DebugContext(r.Context(), "a prompt could not be prefilled before its request", "path", r.URL.Path, "error", err)
		g.Done() // another leads
		return false
	}
	g.Prefilled(counts)
	return true
}

// promptFields are the fields that may hold a list of prompts, by path.
var promptFields = map[string]string{
	"/generate": "text", "/v1/completions": "prompt", "/v1/embeddings": "input", "/encode": "text", "/classify": "text",
}

// countPrompts is how many prompts SGLang makes of a request.
func countPrompts(path string, fields map[string]json.RawMessage) int {
	name := promptFields[path]
	if sc := scorings[path]; sc != nil {
		name = sc.items
	} else if name == "text" && isNull(fields[name]) {
		name = "input_ids"
	}
	if raw := fields[name]; len(raw) > 0 && raw[0] != '"' && !isIDs(raw) {
		all, _ := elements(raw)
		return max(1, len(all))
	}
	return 1
}

// admit waits until SGLang should see a request, and says so in the header of the answer.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, s *upstream.Snapshot, p *upstream.Passed) (*batcher.Grant, error) {
	g, err := h.up.Admit(r.Context(), s, p)
	if err != nil {
		return nil, err
	}
	h.metrics.Admitted(r.Context(), Route(r.URL.Path), g)
	setReceipt(w, g.Role.String(), g.Held.Seconds())
	return g, nil
}

func setReceipt(w http.ResponseWriter, role string, heldSeconds float64) {
	w.Header().Set(receiptHeader, "role="+role+", held_seconds="+strconv.FormatFloat(heldSeconds, 'f', 4, 64))
}

// prefillWatch tells the grant when the first byte of an answer comes: the prompt has been
// computed then.
type prefillWatch struct {
	http.ResponseWriter
	grant *batcher.Grant
	code  int
}

// WriteHeader implements http.ResponseWriter.
func (w *prefillWatch) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *prefillWatch) Write(b []byte) (int, error) {
	if w.code == http.StatusOK {
		w.grant.Prefilled(usageIn(b))
		w.code = 0 // told once
	}
	return w.ResponseWriter.Write(b)
}

// usageIn finds SGLang's counts in an answer, or in the first event of a stream; zero if
// they are not there.
func usageIn(answer []byte) (u batcher.Usage) {
	prompt, cached := countIn(answer, `"prompt_tokens":`), countIn(answer, `"cached_tokens":`)
	if prompt > 0 && cached >= 0 && cached <= prompt {
		u.PromptTokens, u.CachedTokens = prompt, cached
	}
	return u
}

// countIn returns the number after the last occurrence of a name, because generated text
// comes before the counts; -1 for none.
func countIn(answer []byte, name string) int {
	i := bytes.LastIndex(answer, []byte(name))
	if i < 0 {
		return -1
	}
	rest := bytes.TrimLeft(answer[i+len(name):], " ")
	end := bytes.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
	n, err := strconv.Atoi(string(rest[:max(end, 0)]))
	if err != nil {
		return -1
	}
	return n
}

// Unwrap serves http.ResponseController.
func (w *prefillWatch) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// promptOf reads the prompt of a request that generates. It returns nil for a request
// whose prompt is not a single one, or depends on what is not known here.
func promptOf(path string, fields map[string]json.RawMessage) *upstream.Passed {
	p := &upstream.Passed{}
	var prompt json.RawMessage
	switch path {
	case "/generate":
		if prompt = fields["text"]; isNull(prompt) {
			prompt = fields["input_ids"]
		}
	case "/v1/completions":
		prompt = fields["prompt"]
	case "/v1/chat/completions":
		if isNull(fields["messages"]) || !isNull(fields["input_ids"]) {
			return nil
		}
		p.Chat = string(fields["tools"]) + string(fields["messages"])
		for _, name := range []string{"model", "chat_template_kwargs", "reasoning_effort", "task"} {
			p.Space += string(fields[name]) + "\x00"
		}
	default:
		return nil
	}
	if p.Chat == "" {
		text, isText := readText(prompt)
		if p.Request.Text = text; !isText {
			if !isIDs(prompt) {
				return nil
			}
			p.Request.InputIDs, _ = readIDs(prompt)
		}
	}
	var known bool
	if p.Request.CacheSalt, known = optionalText(fields["cache_salt"]); !known || p.Request.CacheSalt != "" && path != "/generate" {
		return nil
	}
	if p.LoRA, known = optionalText(fields["lora_path"]); !known || !isNull(fields["extra_key"]) || !isNull(fields["image_data"]) {
		return nil
	}
	stream, _ := read[bool](fields["stream"])
	p.Silent = !stream
	return p
}

// optionalText decodes a string that may be absent.
func optionalText(raw json.RawMessage) (text string, ok bool) {
	if isNull(raw) {
		return "", true
	}
	return readText(raw)
}
