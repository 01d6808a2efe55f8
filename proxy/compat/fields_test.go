package compat

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"paceline/batcher"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// known are the bounds that tests check against: of the server behind.
var known = bounds{Limits: upstream.Limits{VocabSize: 1000, MaxPromptTokens: 100}, elements: 50}

// behind is a handler in front of a server that notes what reaches it.
type behind struct {
	*Handler
	reached atomic.Int64
	last    []byte
}

func newBehind(t *testing.T, o Options) *behind {
	t.Helper()
	b := &behind{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.reached.Add(1)
		b.last, _ = io.ReadAll(r.Body)
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(server.Close)
	cfg := upstream.DefaultConfig()
	cfg.URL, cfg.VocabSize = server.URL, known.VocabSize
	settings := batcher.DefaultSettings()
	settings.QueueRequests = known.elements
	up, err := upstream.New(cfg, settings, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	o.MaxBytes, o.Log = 1<<20, slog.New(slog.DiscardHandler)
	b.Handler = New(up, nil, o)
	b.snapshot = func() *upstream.Snapshot { return &upstream.Snapshot{Asked: true, Ready: true, Limits: known.Limits} }
	return b
}

// send sends a body and returns the answer.
func (b *behind) send(path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

// place is one in which the table has a rule: JSON around a value.
type place struct{ before, after string }

func (p place) with(value string) string { return p.before + value + p.after }

// inside is the place of a field, or an element, in this one.
func (p place) inside(before, after string) place { return place{p.before + before, after + p.after} }

// walk visits every rule that can be reached from an object: each field of each, and of
// what it holds. An object that stands in many places is visited in two of them.
func walk(p place, name string, visits map[string]int, visit func(p place, r rule)) {
	o := objects[name]
	if visits[name]++; visits[name] > 2 {
		return
	}
	for _, field := range slices.Sorted(maps.Keys(o.fields)) { // in order, so that the count is always the same
		r := o.fields[field]
		walkRule(p.inside(`{`+quoted(field)+`:`, `}`), r, visits, visit)
	}
	if o.rest.set() {
		key := "k"
		if o.tokenKeys {
			key = "5"
		}
		walkRule(p.inside(`{`+quoted(key)+`:`, `}`), o.rest, visits, visit)
	}
}

func walkRule(p place, r rule, visits map[string]int, visit func(p place, r rule)) {
	visit(p, r)
	if r.list != nil {
		walkRule(p.inside(`[`, `]`), r.list.of, visits, visit)
	}
	if r.object != "" {
		walk(p, r.object, visits, visit)
	}
	if r.text != nil && r.text.json != "" {
		walk(place{p.before, p.after}, r.text.json, visits, func(q place, r rule) {
			text := strings.TrimPrefix(q.before, p.before) + "\x00" + strings.TrimSuffix(q.after, p.after)
			before, after, _ := strings.Cut(quoted(text), `\u0000`)
			visit(p.inside(before, after), r)
		})
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// worst are values that the rule must refuse.
func worst(p place, r rule) []string {
	bad := []string{
		`1e400`, `-1e400`, `99999999999999999999999`, `NaN`, `Infinity`, `"\ud800"`, "\"\xff\"", `{"a":1,"a":2}`,
		strings.Repeat("[", 70) + strings.Repeat("]", 70),
	}
	if strings.HasSuffix(p.after, `"`) || strings.Contains(p.after, `"}`) {
		bad = bad[:3] // within a string
	}
	if r.gated {
		return append(bad, `1`, `"x"`, `[1]`, `{}`, `true`)
	}
	if r.open {
		return bad
	}
	if r.text == nil {
		bad = append(bad, `"x"`)
	}
	if r.number == nil {
		bad = append(bad, `7`, `0.5`)
	}
	if !r.boolean {
		bad = append(bad, `true`)
	}
	if r.object == "" {
		bad = append(bad, `{}`)
	}
	if r.list == nil {
		bad = append(bad, `[]`)
	}
	if r.object != "" {
		bad = append(bad, worstOfObject(objects[r.object])...)
	}
	if t := r.text; t != nil {
		if t.prompt {
			bad = append(bad, `""`)
		}
		if t.prompt || t.content {
			bad = append(bad, quoted(strings.Repeat("a", known.MaxTextBytes()+1)))
		}
		if t.max > 0 {
			bad = append(bad, quoted(strings.Repeat("a", t.max+1)))
		}
		if t.grammar {
			bad = append(bad, `"a{99999}"`, `"a{1,1000000000}"`, quoted(strings.Repeat("(", 100)))
		}
		if t.json != "" {
			bad = append(bad, quoted(strings.Repeat(`{"a":`, 70)+"1"+strings.Repeat("}", 70)), quoted(`{"a":1,"a":2}`))
		}
	}
	if n := r.number; n != nil {
		bad = append(bad, worstOfNumber(n)...)
	}
	if l := r.list; l != nil {
		bad = append(bad, worstOfList(l)...)
	}
	return bad
}

func worstOfNumber(n *numberRule) []string {
	if n.id {
		return []string{`-1`, `1000`, `9999999`, `2147483648`, `5.5`, `5.0`, `1e12`}
	}
	low, high := n.min, n.max
	if n.top {
		low, high = 0, 1000
	}
	var bad []string
	if low > -9e18 && low > -1e300 {
		bad = append(bad, fmt.Sprintf("%.20g", low-max(1, -low)))
	}
	if high < 9e18 {
		bad = append(bad, fmt.Sprintf("%.20g", high+max(1, high)))
	}
	if n.whole {
		bad = append(bad, `0.5`, `1.0`, `1e3`)
	}
	if n.notZero {
		bad = append(bad, `0`)
	}
	if !n.whole && low > 0 {
		bad = append(bad, `0`, `1e-46`, `-1e-46`)
	}
	if !n.whole && high <= 3.5e38 {
		bad = append(bad, `3.5e38`, `1e300`)
	}
	return bad
}

func worstOfList(l *listRule) []string {
	one, most := sample(l.of), l.max
	if most == 0 {
		most = known.elements
		if l.of.number != nil && l.of.text == nil {
			one, most = "1", known.MaxPromptTokens
		}
	}
	var bad []string
	if one != "" && most < 1<<16 {
		bad = append(bad, "["+strings.TrimSuffix(strings.Repeat(one+",", most+1), ",")+"]")
	}
	if !l.of.null {
		bad = append(bad, `[null]`)
	}
	if l.min > 0 {
		bad = append(bad, `[]`)
	}
	return bad
}

func worstOfObject(o *object) []string {
	var bad []string
	for name := range o.fields {
		if upper := strings.ToUpper(name); upper != name && !strings.HasPrefix(name, "$") {
			bad = append(bad, `{`+quoted(upper)+`:null}`)
		}
		bad = append(bad, `{`+quoted(name)+`:null,`+quoted(name)+`:null}`)
	}
	if o.closed {
		bad = append(bad, `{"new_in_the_next_version":1}`)
	}
	if o.tokenKeys {
		bad = append(bad, `{"-1":1}`, `{"1000":1}`, `{"a":1}`, `{"05":1}`, `{"5":null}`, `{"1.0":1}`)
	}
	return bad
}

// sample is a value that a rule allows; empty for none that is found.
func sample(r rule) string {
	switch {
	case r.text != nil && r.text.json == "":
		return `"a"`
	case r.number != nil && (r.number.id || r.number.top || r.number.min <= 1 && r.number.max >= 1):
		return `1`
	case r.number != nil:
		return fmt.Sprint(r.number.min)
	case r.boolean:
		return `true`
	case r.object == "instance":
		return `{"text":"a"}`
	case r.object != "":
		return `{}`
	case r.list != nil:
		return "[" + sample(r.list.of) + "]"
	case r.open:
		return `1`
	}
	return ""
}

func TestNoWorstValueOfAnyFieldOnAnyPathReachesSGLang(t *testing.T) {
	b := newBehind(t, Options{})
	counts := map[string]int{}
	for path, name := range paths {
		path = strings.Replace(path, "responses/", "responses/x/cancel", 1)
		seen := map[string]bool{}
		try := func(body string) {
			if seen[body] {
				return
			}
			seen[body] = true
			counts[path]++
			w := b.send(path, body)
			full := w.Code == http.StatusServiceUnavailable && strings.Contains(w.Body.String(), "queue_requests is")
			if w.Code != http.StatusBadRequest && !full {
				t.Errorf("%s %.100s: %d %.300s", path, body, w.Code, w.Body)
			}
		}
		for _, body := range worst(place{}, rule{object: name}) {
			try(body)
		}
		walk(place{}, name, map[string]int{}, func(p place, r rule) {
			for _, value := range worst(p, r) {
				try(p.with(value))
			}
		})
	}
	total := 0
	for _, path := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%6d %s", counts[path], path)
		total += counts[path]
	}
	t.Logf("%6d bodies on %d paths, %d objects in the table", total, len(paths), len(objects))
	if n := b.reached.Load(); n != 0 || total < 150_000 {
		t.Errorf("%d of %d reached SGLang; docs/architecture.md says that more than 150,000 are tried", n, total)
	}
}

func TestASampleOfEachFieldIsPassedOnAsItCame(t *testing.T) {
	b := newBehind(t, Options{})
	passed := 0
	for path, name := range paths {
		if name == "abort" || name == "generate" || name == "vertex" {
			continue
		}
		for field, r := range objects[name].fields {
			value := sample(r)
			if value == "" || r.gated {
				value = "null"
			}
			body := " {\t" + quoted(field) + ": " + value + `, "ignored by SGLang": [{"a": null}] } `
			if w := b.send(path, body); w.Code != http.StatusOK || received(path, b.last) != body {
				t.Errorf("%s %s: %d %.300s; sent %s", path, body, w.Code, w.Body, b.last)
			}
			passed++
		}
	}
	t.Logf("%d bodies", passed)
}

func TestTheTableHasEveryFieldOfSGLang(t *testing.T) {
	data, err := os.ReadFile("testdata/sglang-0.5.23-fields.json") // of its /openapi.json
	if err != nil {
		t.Fatal(err)
	}
	var all map[string][]string
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	n := 0
	for path, fields := range all {
		o := objects[objectAt(path)]
		if o == nil {
			t.Errorf("%s is not in the table", path)
			continue
		}
		for _, name := range fields {
			n++
			if _, known := o.fields[name]; !known {
				t.Errorf("%s %s is not in the table", path, name)
			}
		}
	}
	t.Logf("%d fields on %d paths", n, len(all))
}

func TestAFieldThatOnlySGLangKnowsIsRefusedAndLoggedOnce(t *testing.T) {
	b := newBehind(t, Options{})
	var log bytes.Buffer
	b.log = slog.New(slog.NewTextHandler(&log, nil))
	fields := &sglang.RequestFields{"/v1/completions": {"prompt", "newer"}}
	s := &upstream.Snapshot{Asked: true, Ready: true, Limits: known.Limits, Fields: fields}
	b.snapshot = func() *upstream.Snapshot { return s }
	for range 2 {
		if w := b.send("/v1/completions", `{"prompt":"a","newer":1}`); w.Code != 400 || !strings.Contains(w.Body.String(), "newer: is refused") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if w := b.send("/v1/completions", `{"prompt":"a","newer":null,"ignored":1}`); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if n := strings.Count(log.String(), "/v1/completions newer"); n != 1 {
		t.Errorf("logged %d times: %s", n, &log)
	}
	s = &upstream.Snapshot{Asked: true, Ready: true, Limits: known.Limits}
	w := b.send("/v1/completions", `{"prompt":"a","newer":1}`)
	if w.Code != 200 || strings.Count(log.String(), "openapi.json can't be had") != 1 {
		t.Errorf("%d %s, log %s", w.Code, w.Body, &log)
	}
}

// extremes are values at the bounds of what a rule allows.
func extremes(r rule) []string {
	var values []string
	if n := r.number; n != nil && !n.id && !n.top {
		for _, v := range []float64{n.min, n.max} {
			format := byte('g')
			if n.whole {
				format = 'f'
			}
			values = append(values, strconv.FormatFloat(v, format, -1, 64))
		}
	}
	if n := r.number; n != nil && (n.id || n.top) {
		values = append(values, "0", "1000") // each model has as many
	}
	if t := r.text; t != nil && t.json == "" {
		values = append(values, `"a"`, `"\u0000"`)
		if t.max > 0 {
			values = append(values, quoted(strings.Repeat("a", t.max)))
		}
		if t.grammar {
			values = append(values, `"a{4096}"`, `"("`, `"root ::= \"a\""`)
		}
	}
	if r.boolean {
		values = append(values, `true`, `false`)
	}
	if l := r.list; l != nil {
		for _, one := range extremes(l.of) {
			values = append(values, "["+one+"]", "["+one+","+one+"]")
		}
		if l.min == 0 {
			values = append(values, "[]")
		}
	}
	if r.object != "" {
		values = append(values, "{}")
		for name, f := range objects[r.object].fields {
			if s := sample(f); s != "" && !f.gated {
				values = append(values, `{`+quoted(name)+`:`+s+`}`)
			}
		}
		if objects[r.object].tokenKeys {
			values = append(values, `{"0":1e9}`, `{"1000":-1e9}`)
		}
	}
	return values
}

func TestRealSGLangAndNeighboursLiveThroughTheExtremesOfEachField(t *testing.T) {
	url := os.Getenv("PACELINE_TEST_SGLANG")
	if url == "" {
		t.Skip("PACELINE_TEST_SGLANG names no server")
	}
	c, err := sglang.NewClient(url, sglang.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	cfg := upstream.DefaultConfig()
	cfg.URL = url
	settings := batcher.DefaultSettings()
	settings.MaxWait = 50 * time.Millisecond // what is sent at once shares lists
	up, err := upstream.New(cfg, settings, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	watching, stop := context.WithCancel(t.Context())
	watched, ready := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		known := sync.OnceFunc(func() { close(ready) })
		for s := range up.Watch(watching) {
			if s.Ready && s.Limits.VocabSize > 0 {
				known()
			}
		}
	}()
	defer func() { stop(); <-watched }()
	<-ready
	h := New(up, nil, Options{MaxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})

	neighbours := []neighbour{
		{body: `{"input_ids":[5,6,7],"sampling_params":{"max_new_tokens":1,"temperature":0}}`}, // may share its list
		{body: `{"input_ids":[8,9,10],"sampling_params":{"max_new_tokens":8,"temperature":0}}`},
	}
	for i := range neighbours {
		answer, err := http.Post(url+"/generate", "application/json", strings.NewReader(neighbours[i].body)) //nolint:gosec // a test
		if err != nil {
			t.Fatal(err)
		}
		neighbours[i].direct = readNeighbour(t, answer.Body).OutputIDs
		_ = answer.Body.Close()
	}
	type call struct{ path, body string }
	var calls []call
	native := `"max_new_tokens":1,"temperature":0`
	for _, at := range []struct{ path, before, after, object, set string }{
		{"/generate", `{"text":"a","sampling_params":{` + native + `},`, `}`, "generate", "text input_ids sampling_params"},
		{"/generate", `{"text":"a","sampling_params":{"temperature":0.5,`, `}}`, "sampling", "temperature max_new_tokens"},
		{"/v1/completions", `{"model":"tiny","prompt":"a","max_tokens":1,`, `}`, "completion", "model prompt max_tokens"},
		{
			"/v1/chat/completions", `{"model":"tiny","messages":[{"role":"user","content":"a"}],"max_tokens":1,`,
			`}`, "chat", "model messages max_tokens",
		},
		{
			"/v1/chat/completions", `{"model":"tiny","max_tokens":1,"messages":[{"role":"user","content":"a"},{"role":"user",`,
			`}]}`, "message", "role",
		},
		{
			"/vertex_generate", `{"instances":[{"text":"a"}],"parameters":{"sampling_params":{` + native + `},`,
			`}}`, "vertex_parameters", "text input_ids sampling_params",
		},
		{"/v1/score", `{"query":"a","items":["b","c"],"label_token_ids":[1,2],`, `}`, "score", "query items label_token_ids"},
		{"/tokenize", `{"prompt":"a",`, `}`, "tokenize", "prompt"},
	} {
		fields := objects[at.object].fields
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if slices.Contains(strings.Fields(at.set), name) || fields[name].gated {
				continue
			}
			for _, value := range extremes(fields[name]) {
				calls = append(calls, call{at.path, at.before + quoted(name) + ":" + value + at.after})
			}
		}
	}
	codes, shared := map[int]int{}, 0
	for group := range slices.Chunk(calls, 16) {
		answers := make([]*httptest.ResponseRecorder, len(group)+len(neighbours))
		var all sync.WaitGroup
		for i, c := range group {
			all.Go(func() { answers[i] = ask(t, h, 2*time.Second, c.path, c.body) }) // some ask for thousands of tokens
		}
		for i, n := range neighbours {
			all.Go(func() { answers[len(group)+i] = ask(t, h, 2*time.Minute, "/generate", n.body) })
		}
		all.Wait()
		for _, a := range answers[:len(group)] {
			codes[a.Code]++
		}
		for i, n := range neighbours {
			got := readNeighbour(t, answers[len(group)+i].Body)
			if !slices.Equal(got.OutputIDs, n.direct) {
				t.Errorf("a neighbour got %+v, directly %v, among %.500s", got, n.direct, fmt.Sprint(group))
			}
			if got.Paceline.Size > 1 {
				shared++
			}
		}
		if err := c.Ready(t.Context()); err != nil {
			t.Fatalf("SGLang is gone after %.500s: %v", fmt.Sprint(group), err)
		}
	}
	t.Logf("%d bodies, answers by status code: %v; %d lists with a neighbour and others", len(calls), codes, shared)
}

// neighbour is a call to /generate that is sent with others, and its tokens when it is sent
// to SGLang alone.
type neighbour struct {
	body   string
	direct []int32
}

// neighbourAnswer is what SGLang, or the proxy, answers to a neighbour.
type neighbourAnswer struct {
	OutputIDs []int32 `json:"output_ids"`
	Error     any     `json:"error"`
	Paceline  struct {
		Size int `json:"batch_size"`
	} `json:"paceline"`
}

func readNeighbour(t *testing.T, body io.Reader) (a neighbourAnswer) {
	t.Helper()
	if err := json.NewDecoder(body).Decode(&a); err != nil {
		t.Error(err)
	}
	return a
}

// ask posts a body to a handler.
func ask(t *testing.T, h http.Handler, timeout time.Duration, path, body string) *httptest.ResponseRecorder {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
