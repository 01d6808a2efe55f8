package compat

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"
)

// ordinary calls visit with each request of testdata/ordinary.txt.
func ordinary(t testing.TB, visit func(path, body string)) {
	t.Helper()
	data, err := os.ReadFile("testdata/ordinary.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if path, body, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok && path != "#" {
			visit(path, body)
		}
	}
}

// ownRID is what the proxy adds to a request that generates.
var ownRID = regexp.MustCompile(`^(\s*\{)"rid":"[0-9a-f]{32}",`)

// received returns the body that a client sent, of one that reached SGLang.
func received(path string, sent []byte) string {
	if path == "/generate" || strings.HasSuffix(path, "/completions") {
		sent = ownRID.ReplaceAll(sent, []byte("$1"))
	}
	return string(sent)
}

func TestOrdinaryRequestsPassByteForByteButForTheRid(t *testing.T) {
	b := newBehind(t, Options{})
	n := 0
	ordinary(t, func(path, body string) {
		n++
		for _, body := range []string{body, " \r\n\t" + body + "\n"} {
			if w := b.send(path, body); w.Code != http.StatusOK || received(path, b.last) != body {
				t.Errorf("%s %.200s: %d %s; sent %.200s", path, body, w.Code, w.Body, b.last)
			}
		}
	})
	t.Logf("%d requests", n)
}

// What ended a real SGLang (0.5.23, on its CPU backend) by way of the proxy, or one of
// the same kind.
func TestWhatEndedSGLangIsRefused(t *testing.T) {
	b := newBehind(t, Options{})
	for _, c := range []struct{ path, body, want string }{
		{"/generate", `{"text":"a","sampling_params":{"max_new_tokens":1,"min_new_tokens":1,"stop_token_ids":[9999999]}}`, "stop_token_ids[0]: "},
		{"/v1/completions", `{"prompt":"x","max_tokens":4,"min_tokens":1,"stop_token_ids":[9999999]}`, "stop_token_ids[0]"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"logprobs":true,"top_logprobs":1000000}`, "top_logprobs: must be"},
		{"/invocations", `{"messages":[{"role":"user","content":"a"}],"logprobs":true,"top_logprobs":1000000}`, "top_logprobs: must be"},
		{"/generate", `{"text":"a","return_logprob":[true],"top_logprobs_num":[1]}`, "must not be a list beside a single prompt"},
		{"/generate", `{"input_ids":[ 1],"rid":["x"]}`, "rid: must not be a list beside a single prompt"},
		{"/generate", `{"text":"a","token_ids_logprob":[ [1]]}`, "token_ids_logprob: must not be a list of lists"},
		{"/v1/completions", `{"prompt":"x","max_tokens":1,"logprobs":1000000}`, "logprobs: must be"},
		{"/vertex_generate", `{"instances":[{"z":1}],"parameters":{"text":"","sampling_params":{}}}`, "instances[0]: must have one of"},
		{"/vertex_generate", `{"instances":[{"text":"a"}],"parameters":{"text":""}}`, "parameters.text: must not be empty"},
		{"/vertex_generate", `{"instances":[{"text":"a"},{"input_ids":[1]}]}`, "instances[1]: must have text"},
		{"/vertex_generate", `{"instances":[{"text":"a"}],"parameters":{"new":1}}`, "parameters.new: is refused"},
		{"/generate", `{"text":"a","sampling_params":{"max_new_tokens":1,"logit_bias":{"5":3.4e38}}}`, "logit_bias[5]: must be a number"},
		{"/generate", `{"text":"a","positional_embed_overrides":[[1]]}`, "positional_embed_overrides: is refused"},
		{"/generate", `{"input_ids":[5,-1],"sampling_params":{"max_new_tokens":0}}`, "input_ids[1]: -1 is outside"},
		{"/generate", `{"text":"` + strings.Repeat("a", 100_000) + `"}`, "text: must have at most 100 tokens"},
		{"/v1/embeddings", `{"input":[` + strings.Repeat(`"a",`, 500) + `"a"]}`, "input: must hold at most 50 elements"},
		{"/v1/completions", `{"prompt":[` + strings.Repeat("1,", 100_000) + `1]}`, "prompt: must hold at most 100 tokens"},
		{"/abort_request", `{"rid":"x","abort_all":true,"Abort_All":false}`, "Abort_All: must be written abort_all"},
		{"/abort_request", `{"rid":"","RID":"x"}`, "RID: must be written rid"},
		{"/abort_request", `{"rid":"x","rid":""}`, "a name twice"},
	} {
		w := b.send(c.path, c.body)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %.100s: %d %s, want %q", c.path, c.body, w.Code, w.Body, c.want)
		}
	}
	if b.reached.Load() != 0 {
		t.Error("something reached SGLang")
	}
}

func TestTheSettingLetsFieldsAndPathsPass(t *testing.T) {
	b := newBehind(t, Options{Allow: []string{"input_embeds", "new", "/v1/new"}})
	for path, body := range map[string]string{
		"/generate":       `{"input_embeds":[[1.5]],"sampling_params":{"new":{"a":1},"max_new_tokens":9}}`,
		"/v1/new":         `{"x":1}`,
		"/v1/completions": `{"prompt":"a","lora_id":null}`,
	} {
		if w := b.send(path, body); w.Code != http.StatusOK || received(path, b.last) != body {
			t.Errorf("%s %s: %d %s", path, body, w.Code, w.Body)
		}
	}
}

func TestABodyThatCouldBeReadInTwoWaysIsRefused(t *testing.T) {
	b := newBehind(t, Options{})
	const body = `{"text":"a","sampling_params":{"max_new_tokens":9}}`
	units := utf16.Encode([]rune(body))
	little, big, wide := []byte{}, []byte{}, []byte{}
	for _, u := range units {
		little = binary.LittleEndian.AppendUint16(little, u)
		big = binary.BigEndian.AppendUint16(big, u)
		wide = binary.LittleEndian.AppendUint32(wide, uint32(u))
	}
	for name, body := range map[string]string{
		"UTF-16":                   string(little),
		"UTF-16 the other way":     string(big),
		"UTF-32":                   string(wide),
		"a mark":                   "\xef\xbb\xbf" + body,
		"UTF-16 with a mark":       "\xff\xfe" + string(little),
		"twice, once escaped":      `{"text":"a","te\u0078t":"b"}`,
		"twice deep inside":        `{"text":"a","x":[{"a":{"b":1,"b":2}}]}`,
		"another case":             `{"Text":"a"}`,
		"another case of sampling": `{"text":"a","sampling_params":{"Top_p":1}}`,
		"a Kelvin sign":            `{"text":"a","sampling_params":{"top_` + "\u212a" + `":1}}`,
		"a large float":            `{"text":"a","x":1e999}`,
		"a large number":           `{"text":"a","x":123456789012345678901234567890}`,
		"a half":                   `{"text":"a","x":"\udc00"}`,
		"a half as a name":         `{"text":"a","\ud800":1}`,
		"what follows":             body + "{}",
		"NaN":                      `{"text":"a","x":NaN}`,
		"bytes":                    "{\"text\":\"a\",\"x\":\"\xc0\x80\"}",
		"a surrogate's bytes":      "{\"text\":\"\xed\xa0\x80\"}",
	} {
		if w := b.send("/generate", body); w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "\xff") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for _, header := range []string{"Content-Encoding", "X-Body-Compressed"} {
		w := b.send("/generate", body, header, "zstd")
		if w.Code != http.StatusUnsupportedMediaType || !strings.Contains(w.Body.String(), header) {
			t.Errorf("%s: %d %s", header, w.Code, w.Body)
		}
	}
	if w := b.send("/generate", body, "X-Override-Bootstrap-Room", "1"); w.Code != http.StatusBadRequest {
		t.Errorf("a header that changes a field: %d %s", w.Code, w.Body)
	}
	if b.reached.Load() != 0 {
		t.Error("something reached SGLang")
	}
	if w := b.send("/generate", `{"text": "[[[[\"[[[[", "sampling_params":{"max_new_tokens":9}}`); w.Code != http.StatusOK {
		t.Errorf("brackets in a string count as depth: %s", w.Body)
	}
}

// python is a Python that reads JSON as SGLang does, and says what it read.
type python struct {
	mu  sync.Mutex
	in  io.Writer
	out *bufio.Reader
}

const pythonProgram = `
import base64, json, struct, sys
def say(v):
    if v is None: return "n"
    if v is True: return "t"
    if v is False: return "f"
    if isinstance(v, int): return "i%d" % v
    if isinstance(v, float): return "d" + struct.pack(">d", v).hex()
    if isinstance(v, str): return "s" + v.encode("utf-8").hex()
    if isinstance(v, list): return "[" + ",".join(map(say, v)) + "]"
    return "{" + ",".join(say(k) + ":" + say(x) for k, x in sorted(v.items(), key=lambda p: p[0].encode("utf-8"))) + "}"
for line in sys.stdin:
    try: print(say(json.loads(base64.b64decode(line))), flush=True)
    except Exception as e: print("error", type(e).__name__, flush=True)
`

func newPython(t testing.TB) *python {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	c := exec.CommandContext(t.Context(), path, "-c", pythonProgram)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = c.Wait() })
	return &python{in: in, out: bufio.NewReader(out)}
}

func (p *python) read(t testing.TB, body []byte) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.in, base64.StdEncoding.EncodeToString(body))
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\n")
}

// say is a value as pythonProgram says it.
func say(v any) string {
	switch v := v.(type) {
	case bool:
		return map[bool]string{true: "t", false: "f"}[v]
	case json.Number:
		if !strings.ContainsAny(v.String(), ".eE") {
			if n := strings.TrimPrefix(v.String(), "-"); n == "0" {
				return "i0"
			}
			return "i" + v.String()
		}
		f, _ := strconv.ParseFloat(v.String(), 64)
		return fmt.Sprintf("d%016x", math.Float64bits(f))
	case string:
		return "s" + hex.EncodeToString([]byte(v))
	case []any:
		var each []string
		for _, one := range v {
			each = append(each, say(one))
		}
		return "[" + strings.Join(each, ",") + "]"
	case map[string]any:
		var each []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			each = append(each, say(name)+":"+say(v[name]))
		}
		return "{" + strings.Join(each, ",") + "}"
	}
	return "n"
}

// sameValue says whether Python reads what Go reads, if Go reads it at all: the whole,
// and the outer fields that are taken out of it.
func sameValue(t testing.TB, p *python, path string, body []byte) (accepted bool) {
	fields, err := readObject(body, objectAt(path), known)
	if err != nil {
		return false
	}
	whole := map[string]any{}
	for name, raw := range fields {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%q of %q: %v", raw, body, err)
		}
		whole[name] = v
	}
	if got, want := p.read(t, body), say(whole); got != want {
		t.Errorf("%s %q\nPython %s\nGo     %s", path, body, got, want)
	}
	return true
}

func TestWhatGoAcceptsPythonReadsAsTheSameValue(t *testing.T) {
	p := newPython(t)
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{
		`"`, `\`, `\u0000`, `\ud83d`, `\ude00`, "\xff", "\xef\xbb\xbf", "é", "\u2028", "\x00", "\x7f", "1e5", "-0", "0.1", "1E400", "01",
		"{", "}", "[", "]", ",", ":",
		"null", "NaN", "true", " ", "\v", "\u00a0", "/**/", `,"text":"b"`, `,"x":1`, "18446744073709551616", "9223372036854775808",
	}
	tried, accepted := 0, 0
	ordinary(t, func(path, body string) {
		if objectAt(path) == "" {
			return
		}
		for range 200 {
			mutated := []byte(body)
			for range random.IntN(3) {
				at := random.IntN(len(mutated))
				mutated = slices.Replace(mutated, at, min(len(mutated), at+random.IntN(4)), []byte(parts[random.IntN(len(parts))])...)
			}
			tried++
			if sameValue(t, p, path, mutated) {
				accepted++
			}
		}
	})
	t.Logf("%d of %d bodies are accepted", accepted, tried)
	if accepted < tried/10 {
		t.Error("hardly anything is compared")
	}
}

func FuzzGoAndPythonReadOneValue(f *testing.F) {
	p := newPython(f)
	ordinary(f, func(path, body string) { f.Add(path, []byte(body)) })
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		if objectAt(path) != "" {
			sameValue(t, p, path, body)
		}
	})
}
