package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
	"paceline/sglang"
)

// call is a request over HTTP.
type call struct{ path, body string }

// words returns n words of a token each, others for each seed.
func words(n int, seed uint64) string {
	all := strings.Fields("about after again being could first found great house large never other place right small sound")
	from := rand.New(rand.NewPCG(seed, 21))
	text := make([]string, n)
	for i := range text {
		text[i] = all[from.IntN(len(all))]
	}
	return strings.Join(text, " ")
}

// scoringCalls has the calls of a path that scores: about states of their own, and one that
// SGLang refuses because of one item.
func scoringCalls(path string) (good []call, bad call) {
	for _, body := range scoringBodies()[path] {
		good = append(good, call{path, body})
	}
	state := words(400, 1)
	bad.path = path
	switch path {
	case "/v1/score":
		bad.body = fmt.Sprintf(`{"query":%q,"items":[" a","%s"],"label_token_ids":[5]}`, state, strings.Repeat(" x", 33_000))
	case "/v1/rerank":
		bad.body = fmt.Sprintf(`{"query":%q,"documents":["a","  ","b"]}`, state)
	case "/v1/decisions":
		bad.body = fmt.Sprintf(`{"input":%q,"questions":[{"id":"a","type":"yes_no","question":"?"},{"id":"b","type":"maybe"}]}`, state)
	case "/v1/systemone":
		bad.body = fmt.Sprintf(`{"model":"tiny","state":%q,"questions":{"a":{"type":"noul","instructions":"?"},"b":{"type":"maybe"}}}`, state)
	}
	return good, bad
}

// underLoad sends calls several times at once, with others that are cancelled or have a short
// deadline. It checks that each is answered as when it is alone, straight.
func underLoad(t *testing.T, r *running, straight string, good []call, bad ...call) {
	wantGood, wantBad := make([]any, len(good)), make([]string, len(bad))
	for i, c := range good {
		wantGood[i] = said(t, straight, c)
	}
	for i, c := range bad {
		if wantBad[i] = refusal(t, straight, c); wantBad[i][0] != '4' {
			t.Fatalf("%s: %.300s", c.path, wantBad[i])
		}
	}
	var all sync.WaitGroup
	for round := range 3 {
		for i, c := range good {
			all.Go(func() { near(t, c.path, said(t, r.url(""), c), wantGood[i]) })
			all.Go(func() { leaveAfter(t, time.Duration(10*round+i)*time.Millisecond, r.url(c.path), c.body) })
		}
		for i, c := range bad {
			all.Go(func() {
				if got := refusal(t, r.url(""), c); got != wantBad[i] {
					t.Errorf("%s: %.300s\nwant %.300s", c.path, got, wantBad[i])
				}
			})
		}
		for i := range 8 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(5+20*i)*time.Millisecond)
				defer cancel()
				_, err := r.prefill.Prefill(ctx, &pb.PrefillRequest{Text: words(300, uint64(100*round+i))})
				if code := status.Code(err); code != codes.OK && code != codes.DeadlineExceeded {
					t.Errorf("a prompt with a deadline: %v", err)
				}
			})
		}
	}
	all.Wait()
	await(t, "nothing is pending", func() bool { return r.up.Queue.Pending() == 0 })
}

// said returns what SGLang says to a call: the answer to one that scores, else the text.
func said(t *testing.T, url string, c call) (all any) {
	t.Helper()
	if scoringBodies()[c.path] == nil {
		text, _ := answerOf(t, url+c.path, c.body)
		return text
	}
	if code, answer := ask(t, http.MethodPost, url+c.path, c.body); code != http.StatusOK || json.Unmarshal([]byte(answer), &all) != nil {
		t.Errorf("%s: %d %.300s", c.path, code, answer)
	}
	return all
}

// refusal is the status and the body of an answer.
func refusal(t *testing.T, url string, c call) string {
	t.Helper()
	code, answer := ask(t, http.MethodPost, url+c.path, c.body)
	return fmt.Sprint(code, " ", answer)
}

// leaveAfter sends a request whose client goes away after d, if there is no answer yet.
func leaveAfter(t *testing.T, d time.Duration, url, body string) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err == nil && res.StatusCode != http.StatusOK {
		t.Errorf("%s: %d", url, res.StatusCode)
	}
}

func TestRealSGLangAnswersScoringUnderLoadAsItDoesAlone(t *testing.T) {
	r, c := realSGLang(t, nil)
	for _, path := range []string{"/v1/score", "/v1/decisions", "/v1/systemone"} {
		t.Run(path, func(t *testing.T) {
			good, bad := scoringCalls(path)
			underLoad(t, r, c.URL(), good, bad)
		})
	}
}

func TestRealSGLangGeneratesUnderLoadAsItDoesAlone(t *testing.T) {
	r, c := realSGLang(t, nil)
	var good []call
	for i, g := range generations() {
		good = append(good, call{g.path, fmt.Sprintf(g.body, words(400, uint64(i/2)), 500+i)}) // a stream and a silent one share each
	}
	bad := call{"/generate", fmt.Sprintf(`{"text":"%s","sampling_params":{"max_new_tokens":3}}`, strings.Repeat(" x", 33_000))}
	underLoad(t, r, c.URL(), good, bad)
}

// PACELINE_TEST_RERANKER names a real SGLang whose chat template is that of a reranker.
const rerankerVariable = "PACELINE_TEST_RERANKER"

func TestRealRerankerAnswersUnderLoadAsItDoesAlone(t *testing.T) {
	r, c := realServer(t, rerankerVariable, nil)
	var good []call
	for i, more := range []string{``, `,"top_n":3`, `,"top_n":20,"return_documents":false`, `,"instruct":"Which is longest?"`} {
		good = append(good, call{"/v1/rerank", rerank(more)(uint64(i), 0, 8)})
	}
	_, bad := scoringCalls("/v1/rerank")
	underLoad(t, r, c.URL(), good, bad)
}

// ofState makes the body that asks items from to to-1 about a state.
type ofState func(state uint64, from, to int) string

// list returns what item makes of each number from from to to-1, with commas between.
func list(from, to int, item func(i int) string) string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, item(i))
	}
	return strings.Join(all, ",")
}

// rerank asks about queries of about 1,000 tokens and documents of about 60.
func rerank(more string) ofState {
	return func(state uint64, from, to int) string {
		documents := list(from, to, func(i int) string { return fmt.Sprintf("%q", words(60, 1000*state+uint64(i))) })
		return fmt.Sprintf(`{"query":%q,"documents":[%s]%s}`, words(1000, 100_000+state), documents, more)
	}
}

// decide asks questions about states of about 1,000 tokens.
func decide(state uint64, from, to int) string {
	questions := list(from, to, func(i int) string {
		return fmt.Sprintf(`{"id":"q%d","type":"yes_no","question":"Is it %s?"}`, i, words(50, 1000*state+uint64(i)))
	})
	return fmt.Sprintf(`{"input":%q,"questions":[%s]}`, words(1000, 100_000+state), questions)
}

// scoreIDs asks about states and items of so many token ids, scoreTexts about so many words.
func scoreIDs(stateTokens, itemTokens int) ofState {
	ids := func(n int, seed uint64) string {
		from := rand.New(rand.NewPCG(seed, 22))
		return "[" + list(0, n, func(int) string { return fmt.Sprint(from.IntN(150_000)) }) + "]"
	}
	return func(state uint64, from, to int) string {
		items := list(from, to, func(i int) string { return ids(itemTokens, 1000*state+uint64(i)) })
		return fmt.Sprintf(`{"query":%s,"items":[%s],"label_token_ids":[5,700]}`, ids(stateTokens, 100_000+state), items)
	}
}

func scoreTexts(stateWords, itemWords int) ofState {
	return func(state uint64, from, to int) string {
		items := list(from, to, func(i int) string { return fmt.Sprintf("%q", " "+words(itemWords, 1000*state+uint64(i))) })
		return fmt.Sprintf(`{"query":%q,"items":[%s],"label_token_ids":[5,700]}`, words(stateWords, 100_000+state), items)
	}
}

// readsOnce checks that four callers through the proxy cost SGLang at most 1.05 times what it
// costs to ask straight, from an empty cache, one state after the other: its first item, and
// then all others.
func readsOnce(t *testing.T, r *running, c *sglang.Client, path string, states, items int, body ofState) {
	t.Helper()
	send := func(url string, state, from, to int) {
		if code, answer := ask(t, http.MethodPost, url+path, body(uint64(state), from, to)); code != http.StatusOK {
			t.Errorf("%s: %d %.300s", path, code, answer)
		}
	}
	fewest := computed(t, c, func() {
		for state := range states {
			send(c.URL(), state, 0, 1)
			send(c.URL(), state, 1, items)
		}
	})
	const callers = 4
	got := computed(t, c, func() {
		var all sync.WaitGroup
		for caller := range callers {
			all.Go(func() {
				for state := caller; state < states; state += callers {
					send(r.url(""), state, 0, items)
				}
			})
		}
		all.Wait()
	})
	ratio := float64(got) / float64(fewest)
	t.Logf("%s, %d items: computed %d, fewest %d: %.3f", path, items, got, fewest, ratio)
	if ratio > 1.05 {
		t.Errorf("%s: computed ÷ fewest is %.3f, want at most 1.05", path, ratio)
	}
}

// computed returns how many tokens SGLang computes for work, from an empty cache.
func computed(t *testing.T, c *sglang.Client, work func()) int64 {
	t.Helper()
	if err := c.FlushCache(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	count := func() (n int64) {
		await(t, "SGLang's account stands still", func() bool {
			load, err := c.Loads(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			before := n
			n = load.TotalPrefillUncachedTokens
			return n == before && load.NumRunning+load.NumWaiting == 0
		})
		return n
	}
	before := count()
	work()
	return count() - before
}

func TestRealSGLangReadsEachScoredStateOnce(t *testing.T) {
	r, c := realSGLang(t, nil)
	readsOnce(t, r, c, "/v1/score", 4, 8, scoreIDs(1000, 60))
	readsOnce(t, r, c, "/v1/score", 4, 50, scoreIDs(300, 20))
	readsOnce(t, r, c, "/v1/score", 4, 8, scoreTexts(1000, 60))
	readsOnce(t, r, c, "/v1/score", 4, 50, scoreTexts(300, 20))
	readsOnce(t, r, c, "/v1/decisions", 8, 8, decide)
}

func TestRealRerankerReadsEachQueryOnce(t *testing.T) {
	r, c := realServer(t, rerankerVariable, nil)
	readsOnce(t, r, c, "/v1/rerank", 4, 8, rerank(""))
}
