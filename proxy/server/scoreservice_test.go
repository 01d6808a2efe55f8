package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
	"paceline/sglang"
	"paceline/sglang/sim"
	"paceline/tokenizer"
)

// byteSGLang is a simulator whose tokens are bytes, with a proxy that knows it.
type byteSGLang struct {
	*sim.Server
	*running
	url string
	tok *tokenizer.Tokenizer

	mu    sync.Mutex
	calls []string // path and body of what computes
	n     int      // calls of all time

	generate func(w http.ResponseWriter, n int) bool // may answer call n of /generate, from 1, itself
}

func newByteSGLang(t *testing.T, change func(*Config)) *byteSGLang {
	path, tok := bytesTokenizer(t, t.TempDir())
	s, _ := simulated(t)
	b := &byteSGLang{Server: s, tok: tok}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		switch r.URL.Path {
		case "/tokenize":
			w.Header().Set("Content-Type", "application/json")
			var ask struct{ Prompt string }
			_ = json.Unmarshal(body, &ask)
			_ = json.NewEncoder(w).Encode(map[string]any{"tokens": tok.Encode(ask.Prompt)})
			return
		case "/openapi.json":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"paths":{"/v1/score":{"post":{"requestBody":{"content":{"application/json":{"schema":{"properties":{
				"query":1,"items":1,"label_token_ids":1,"apply_softmax":1,"temperature":1,"return_token_logprobs":1,"item_first":1,"model":1}}}}}}}}}`)
			return
		case "/generate", "/v1/score":
			b.mu.Lock()
			b.calls = append(b.calls, r.URL.Path+" "+string(body))
			b.n++
			n := b.n
			b.mu.Unlock()
			if r.URL.Path == "/generate" && b.generate != nil && b.generate(w, n) {
				return
			}
		}
		s.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	b.running = start(t, &fakeSGLang{addr: strings.TrimPrefix(b.url, "http://")}, func(c *Config) {
		c.Upstream.Tokenizer = path
		if change != nil {
			change(c)
		}
	})
	if texts := b.up.Snapshot().Texts; !strings.HasPrefix(texts, "as token ids") {
		t.Fatal(texts)
	}
	return b
}

// reset forgets the calls so far, and returns them.
func (b *byteSGLang) reset() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls := b.calls
	b.calls = nil
	return calls
}

func (b *byteSGLang) scores() pb.ScoreServiceClient {
	return pb.NewScoreServiceClient(b.dial(b.Addr()))
}

// direct returns SGLang's own answer to a request of texts.
func (b *byteSGLang) direct(t *testing.T, body string) (int, sglang.ScoringAnswer, string) {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		t.Fatal(err)
	}
	if query, isText := fields["query"].(string); isText {
		var items [][]int32
		for _, item := range fields["items"].([]any) {
			items = append(items, b.tok.Encode(item.(string)))
		}
		fields["query"], fields["items"] = b.tok.Encode(query), items
	}
	data, _ := json.Marshal(fields)
	code, answer := ask(t, http.MethodPost, b.url+"/v1/score", string(data))
	return code, scoringAnswer(t, answer), answer
}

func scoringAnswer(t *testing.T, answer string) (a sglang.ScoringAnswer) {
	t.Helper()
	if err := json.Unmarshal([]byte(answer), &a); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	return a
}

// closeTo says whether all scores are equal but for what the shape of a batch does to them.
func closeTo(got, want [][]float64) bool {
	return slices.EqualFunc(got, want, func(x, y []float64) bool {
		return slices.EqualFunc(x, y, func(a, b float64) bool { return math.Abs(a-b) <= 1e-3+1e-2*math.Abs(b) })
	})
}

func plainScores() []string {
	long := state("state", 400)
	return []string{
		fmt.Sprintf(`{"query":%q,"items":[" a"," a b c"," a b"],"label_token_ids":[5,70],"apply_softmax":true,"temperature":0.5}`, long),
		fmt.Sprintf(`{"query":%q,"items":[" \u00e9"," a b c"," \u00e9"],"label_token_ids":[[5],[6,7],[8]],"return_token_logprobs":true,
			"model":"m"}`, long),
		fmt.Sprintf(`{"query":%q,"items":[" a"," a"],"label_token_ids":[70,5],"item_first":false}`, long),
	}
}

func TestScoringOfTextsGoesInListsOfIDsAndIsAnsweredAsSGLangDoes(t *testing.T) {
	b := newByteSGLang(t, nil)
	for _, body := range plainScores() {
		_, want, wantBody := b.direct(t, body)
		b.reset()
		code, gotBody := ask(t, http.MethodPost, "http://"+b.HTTPAddr()+"/v1/score", body)
		got := scoringAnswer(t, gotBody)
		if code != http.StatusOK || !closeTo(got.Scores, want.Scores) || !closeTo(got.Logprobs, want.Logprobs) ||
			got.Usage != want.Usage || got.Model != want.Model || names(t, gotBody) != names(t, wantBody) {
			t.Errorf("%d %s\nwant %s", code, gotBody, wantBody)
		}
		for _, call := range b.reset() {
			if !strings.HasPrefix(call, "/generate ") {
				t.Errorf("a call of %.40s", call)
			}
		}
	}
}

// names are the outer fields of an object, sorted.
func names(t *testing.T, body string) string {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		t.Fatal(err)
	}
	var all []string
	for name := range fields {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestScoringGoesInListsOnlyWhereTheyAreFaster(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"unbatched": func(c *Config) { c.Settings.Mode = batcher.ModeUnbatched },
		"short":     func(c *Config) { c.Settings.BatchSize = 15 },
		"fifo":      func(c *Config) { c.Settings.Share = batcher.ShareOff },
	} {
		b := newByteSGLang(t, set)
		ask(t, http.MethodPost, "http://"+b.HTTPAddr()+"/v1/score", plainScores()[0])
		if calls := b.reset(); len(calls) == 0 || strings.HasPrefix(calls[0], "/generate ") {
			t.Errorf("%s: %d calls, want only of /v1/score", name, len(calls))
		}
	}
	b := newByteSGLang(t, nil)
	for name, body := range map[string]string{
		"ids":      fmt.Sprintf(`{"query":[%s18],"items":[[1,2],[3,4,5]],"label_token_ids":[5]}`, strings.Repeat("17,", 299)),
		"one item": fmt.Sprintf(`{"query":%q,"items":[" a"],"label_token_ids":[5]}`, state("state", 400)),
	} {
		ask(t, http.MethodPost, "http://"+b.HTTPAddr()+"/v1/score", body)
		if calls := b.reset(); len(calls) == 0 || strings.HasPrefix(calls[0], "/generate ") {
			t.Errorf("%s: %d calls, want only of /v1/score", name, len(calls))
		}
	}
}

func TestScoringThatSGLangMustReadItselfDoesNotGoInLists(t *testing.T) {
	b := newByteSGLang(t, nil)
	long := state("state", 400)
	for name, rest := range map[string]string{
		"pooled":         `"label_token_ids":[5],"return_pooled_hidden_states":true`,
		"repeated label": `"label_token_ids":[5,5]`,
		"no label":       `"label_token_ids":[]`,
		"added label":    `"label_token_ids":[256]`,
		"temperature":    `"label_token_ids":[5],"temperature":2`,
		"null":           `"label_token_ids":[5],"model":null`,
		"unknown field":  `"label_token_ids":[5],"later":1`,
	} {
		b.reset()
		ask(t, http.MethodPost, "http://"+b.HTTPAddr()+"/v1/score", fmt.Sprintf(`{"query":%q,"items":[" a"," b"],%s}`, long, rest))
		if calls := b.reset(); len(calls) == 0 || strings.HasPrefix(calls[0], "/generate ") {
			t.Errorf("%s: %d calls, want only of /v1/score", name, len(calls))
		}
	}
}

func TestScoringWithAnItemThatSGLangRefusesIsAnsweredBySGLang(t *testing.T) {
	b := newByteSGLang(t, nil)
	body := fmt.Sprintf(`{"query":%q,"items":[" a",%q],"label_token_ids":[5]}`, state("state", 400), state(" more", 40_000))
	wantCode, want := ask(t, http.MethodPost, b.url+"/v1/score", body)
	b.reset()
	code, got := ask(t, http.MethodPost, "http://"+b.HTTPAddr()+"/v1/score", body)
	if calls := b.reset(); code != wantCode || got != want || code != 400 || calls[len(calls)-1] != "/v1/score "+body {
		t.Errorf("%d %s in %d calls\nwant %d %s", code, got, len(calls), wantCode, want)
	}
}

func TestScoringBeyondTheQueuesBytesGoesInParts(t *testing.T) {
	b := newByteSGLang(t, func(c *Config) { c.Settings.QueueBytes = 30_000 })
	body := fmt.Sprintf(`{"query":%q,"items":[%s" a"],"label_token_ids":[5]}`, state("state", 400), strings.Repeat(`" a",`, 29))
	if code, got := ask(t, http.MethodPost, "http://"+b.HTTPAddr()+"/v1/score", body); code != http.StatusOK {
		t.Errorf("%d %s", code, got)
	}
	if calls := b.reset(); len(calls) != 2 || !strings.HasPrefix(calls[0], "/v1/score ") {
		t.Errorf("%d calls", len(calls))
	}
}

func TestScoringInListsThatFailsIsTheAnswer(t *testing.T) {
	b := newByteSGLang(t, func(c *Config) { c.Settings.Retries = 0 })
	b.generate = func(w http.ResponseWriter, _ int) bool {
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return true
	}
	code, _ := ask(t, http.MethodPost, "http://"+b.HTTPAddr()+"/v1/score", plainScores()[0])
	if calls := b.reset(); code != http.StatusInternalServerError || strings.HasPrefix(calls[len(calls)-1], "/v1/score ") {
		t.Errorf("%d in %d calls", code, len(calls))
	}
}

func TestScoreAnswersEveryItemInOrderWithItsReceipt(t *testing.T) {
	b := newByteSGLang(t, nil)
	long := state("state", 400)
	_, want, _ := b.direct(t, fmt.Sprintf(
		`{"query":%q,"items":[" a"," b"," c"],"label_token_ids":[[5,9],[7],[5,9]],"apply_softmax":true}`, long))
	req := &pb.ScoreRequest{
		Text: long, LabelTokenIds: []int32{5, 9}, ApplySoftmax: true, RequestId: "mine",
		Items: []*pb.ScoreItem{{Text: " a"}, {Text: " b", LabelTokenIds: []int32{7}}, {Text: " c"}},
	}
	reply, err := b.scores().Score(b.context(), req)
	if err != nil || reply.GetRequestId() != "mine" || len(reply.GetItems()) != 3 {
		t.Fatal(reply, err)
	}
	tokens, streamed := 0, make([][]float64, 3)
	for i, item := range reply.GetItems() {
		tokens += int(item.GetPromptTokens())
		if !closeTo([][]float64{item.GetScores()}, want.Scores[i:i+1]) || item.GetReceipt().GetBatchId() == "" {
			t.Errorf("item %d: %v, want scores %v", i, item, want.Scores[i])
		}
	}
	if tokens != want.Usage.Prompt {
		t.Errorf("%d tokens, want %d", tokens, want.Usage.Prompt)
	}
	stream, err := b.scores().ScoreStream(b.context(), &pb.ScoreStreamRequest{Request: req})
	for err == nil {
		var m *pb.ScoreStreamResponse
		if m, err = stream.Recv(); err == nil {
			streamed[m.GetIndex()] = m.GetScore().GetScores()
		}
	}
	if !errors.Is(err, io.EOF) || !closeTo(streamed, want.Scores) {
		t.Errorf("streamed %v (%v), want %v", streamed, err, want.Scores)
	}
	code, rest := ask(t, http.MethodPost, "http://"+b.HTTPAddr()+"/v1/paceline/score",
		fmt.Sprintf(`{"text":%q,"items":[{"text":" b"}],"label_token_ids":[7],"apply_softmax":true}`, long))
	if code != http.StatusOK || !strings.Contains(rest, `"scores":[1]`) {
		t.Errorf("REST: %d %s", code, rest)
	}
	code, rest = ask(t, http.MethodPost, "http://"+b.HTTPAddr()+"/v1/paceline/score:stream",
		fmt.Sprintf(`{"text":%q,"items":[{"text":" b"}],"label_token_ids":[7],"apply_softmax":true}`, long))
	if code != http.StatusOK || !strings.Contains(rest, `"scores":[1]`) {
		t.Errorf("REST: %d %s", code, rest)
	}
}

func TestScoreNamesTheWrongFieldAndSendsNothing(t *testing.T) {
	b := newByteSGLang(t, nil)
	ids := func(all ...int32) *pb.ScoreItem { return &pb.ScoreItem{TokenIds: all} }
	half := 0.5
	for want, req := range map[string]*pb.ScoreRequest{
		"items: ":                       {Text: "a", LabelTokenIds: []int32{5}},
		"items[0]: ":                    {Text: "a", LabelTokenIds: []int32{5}, Items: []*pb.ScoreItem{{}}},
		"items[1].token_ids[1]: -1 is ": {TokenIds: []int32{1}, LabelTokenIds: []int32{5}, Items: []*pb.ScoreItem{ids(1), ids(2, -1)}},
		"items[0].token_ids: ":          {Text: "a", LabelTokenIds: []int32{5}, Items: []*pb.ScoreItem{ids(1)}},
		"items[0].text: ":               {TokenIds: []int32{1}, LabelTokenIds: []int32{5}, Items: []*pb.ScoreItem{{Text: "a"}}},
		"token_ids[0]: -2 is":           {TokenIds: []int32{-2}, LabelTokenIds: []int32{5}, Items: []*pb.ScoreItem{ids(1)}},
		"token_ids: ":                   {Text: "a", TokenIds: []int32{2}, LabelTokenIds: []int32{5}, Items: []*pb.ScoreItem{ids(1)}},
		"items[1].label_token_ids: ":    {Items: []*pb.ScoreItem{{Text: "a", LabelTokenIds: []int32{5}}, {Text: "b"}}},
		"label_token_ids[1]: 5 repeats": {LabelTokenIds: []int32{5, 5}, Items: []*pb.ScoreItem{{Text: "a"}}},
		"label_token_ids[0]: 200000 is": {LabelTokenIds: []int32{200_000}, Items: []*pb.ScoreItem{{Text: "a"}}},
		"temperature: ":                 {LabelTokenIds: []int32{5}, Temperature: &half, Items: []*pb.ScoreItem{{Text: "a"}}},
		"items[1].text: must have at most": {Text: "a", LabelTokenIds: []int32{5},
			Items: []*pb.ScoreItem{{Text: "a"}, {Text: strings.Repeat("b", 5000)}}},
	} {
		_, err := b.scores().Score(b.context(), req)
		if status.Code(err) != codes.InvalidArgument || !strings.HasPrefix(status.Convert(err).Message(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if calls := b.reset(); len(calls) != 0 {
		t.Errorf("%d calls", len(calls))
	}
}

func TestAnItemOfAScoreStreamFailsAlone(t *testing.T) {
	b := newByteSGLang(t, func(c *Config) { c.Settings.Share, c.Settings.BatchSize, c.Settings.Retries = batcher.ShareOff, 1, 0 })
	b.generate = func(w http.ResponseWriter, n int) bool {
		if n == 1 {
			http.Error(w, `{"error":{"message":"no"}}`, http.StatusBadRequest)
		}
		return n == 1
	}
	stream, err := b.scores().ScoreStream(b.context(), &pb.ScoreStreamRequest{Request: &pb.ScoreRequest{
		LabelTokenIds: []int32{5}, Items: []*pb.ScoreItem{{Text: "a"}, {Text: "b"}, {Text: "c"}},
	}})
	failed, scored := 0, 0
	for err == nil {
		var m *pb.ScoreStreamResponse
		m, err = stream.Recv()
		switch {
		case m.GetError() != nil:
			failed++
			if want := fmt.Sprintf("items[%d].text: SGLang refused it", m.GetIndex()); m.GetError().GetCode() != int32(codes.InvalidArgument) ||
				!strings.HasPrefix(m.GetError().GetMessage(), want) {
				t.Errorf("%v, want %s", m.GetError(), want)
			}
		case m.GetScore() != nil:
			scored++
		}
	}
	if !errors.Is(err, io.EOF) || failed != 1 || scored != 2 {
		t.Errorf("%d failed, %d scored: %v", failed, scored, err)
	}
}

func TestItemsBeyondTheQueueAreRefusedTogether(t *testing.T) {
	b := newByteSGLang(t, func(c *Config) { c.Settings.QueueRequests = 2 })
	_, err := b.scores().Score(b.context(), &pb.ScoreRequest{
		LabelTokenIds: []int32{5}, Items: []*pb.ScoreItem{{Text: "a"}, {Text: "b"}, {Text: "c"}},
	})
	if status.Code(err) != codes.ResourceExhausted || b.up.Queue.Stats().Accepted != 0 || len(b.reset()) != 0 {
		t.Errorf("%v, with %d accepted", err, b.up.Queue.Stats().Accepted)
	}
}

func TestAScoreWhoseCallerGoesAwayLeavesNothing(t *testing.T) {
	b := newByteSGLang(t, nil)
	entered, going, answer := stopFirst()
	b.generate = func(_ http.ResponseWriter, n int) bool { return answer(n) }
	ctx, cancel := context.WithCancel(b.context())
	ended := make(chan error, 1)
	go func() {
		_, err := b.scores().Score(ctx, &pb.ScoreRequest{
			Text: state("state", 400), LabelTokenIds: []int32{5}, Items: []*pb.ScoreItem{{Text: "a"}, {Text: "b"}, {Text: "c"}},
		})
		ended <- err
	}()
	<-entered
	cancel()
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	await(t, "nothing is pending", func() bool { return b.up.Queue.Pending() == 0 })
	close(going)
	if s := b.up.Queue.Stats(); s.Accepted != 3 || s.Cancelled != 3 {
		t.Errorf("%d accepted, %d cancelled", s.Accepted, s.Cancelled)
	}
}

func TestPromptsWithOtherLabelsAreOnePromptAskedForAll(t *testing.T) {
	b := newByteSGLang(t, func(c *Config) { c.Settings.MaxInFlight = 1 })
	entered, going, answer := stopFirst()
	b.generate = func(_ http.ResponseWriter, n int) bool { return answer(n) }
	prefill := func(text string, labels ...int32) *pb.PrefillResponse {
		r, err := b.prefill.Prefill(b.context(), &pb.PrefillRequest{Text: text, Logprobs: &pb.LogprobOptions{TokenIds: labels}})
		if err != nil {
			t.Error(err)
		}
		return r
	}
	var all sync.WaitGroup
	all.Go(func() { prefill("first") })
	<-entered
	asked := [][]int32{{9, 5}, {7}, {}, {5, 9, 11}}
	got := make([]*pb.PrefillResponse, len(asked))
	for i, labels := range asked {
		all.Go(func() { got[i] = prefill("equal", labels...) })
	}
	await(t, "all wait", func() bool { return b.up.Queue.Stats().Queued == len(asked) })
	close(going)
	all.Wait()
	calls := b.reset()
	if len(calls) != 2 || !strings.Contains(calls[1], `"token_ids_logprob":[[5,7,9,11]]`) {
		t.Errorf("calls %q", calls)
	}
	for i, labels := range asked {
		if got[i].GetReceipt().GetMergedRequests() != 3 {
			t.Errorf("receipt %v", got[i].GetReceipt())
		}
		want := prefill("equal", labels...).GetLogprobs().GetCompletion()
		have := got[i].GetLogprobs().GetCompletion()
		if fmt.Sprint(have) != fmt.Sprint(want) {
			t.Errorf("labels %v: %v\nwant %v", labels, have, want)
		}
	}
}

func TestRealSGLangScoresTheSameThroughLists(t *testing.T) {
	r, c := realSGLang(t, nil)
	await(t, "the tokenizer is read", func() bool { return strings.HasPrefix(r.up.Snapshot().Texts, "as token ids") })
	url := "http://" + r.HTTPAddr()
	direct := strings.TrimSuffix(c.URL(), "/")
	for _, body := range plainScores() {
		wantCode, wantBody := ask(t, http.MethodPost, direct+"/v1/score", body)
		code, gotBody := ask(t, http.MethodPost, url+"/v1/score", body)
		got, want := scoringAnswer(t, gotBody), scoringAnswer(t, wantBody)
		if code != wantCode || code != http.StatusOK || !closeTo(got.Scores, want.Scores) || !closeTo(got.Logprobs, want.Logprobs) ||
			got.Usage != want.Usage || got.Model != want.Model || names(t, gotBody) != names(t, wantBody) {
			t.Errorf("%d %s\nwant %d %s", code, gotBody, wantCode, wantBody)
		}
	}
	want := uint64(3 + 3 + 2)
	if r.up.Snapshot().Info.TokenizerWorkerNum > 1 {
		want = 0 // parts are faster
	}
	if n := r.up.Queue.Stats().Answered; n != want {
		t.Errorf("%d prompts went in lists", n)
	}
}
