package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	pb "paceline/proto/paceline/v1"
)

// generation is one path that generates, as a client asks it.
type generation struct{ name, path, body string }

// generations are the paths that are held for a shared prefix. The gaps are the prompt and
// a token that is forced, so that an answer tells whose it is.
func generations() []generation {
	return []generation{
		{"generate", "/generate", `{"text":"%[1]s","sampling_params":{"max_new_tokens":3,"temperature":0,"logit_bias":{"%[2]d":100}}}`},
		{
			"generate, streamed", "/generate",
			`{"text":"%[1]s","stream":true,"sampling_params":{"max_new_tokens":3,"temperature":0,"logit_bias":{"%[2]d":100}}}`,
		},
		{"completions", "/v1/completions", `{"model":"m","prompt":"%[1]s","max_tokens":3,"temperature":0,"logit_bias":{"%[2]d":100}}`},
		{
			"completions, streamed", "/v1/completions",
			`{"model":"m","prompt":"%[1]s","max_tokens":3,"temperature":0,"stream":true,"logit_bias":{"%[2]d":100}}`,
		},
		{
			"chat", "/v1/chat/completions",
			`{"model":"m","messages":[{"role":"user","content":"%[1]s"}],"max_tokens":3,"temperature":0,"logit_bias":{"%[2]d":100}}`,
		},
		{
			"chat, streamed", "/v1/chat/completions",
			`{"model":"m","messages":[{"role":"user","content":"%[1]s"}],"max_tokens":3,"temperature":0,"stream":true,"logit_bias":{"%[2]d":100}}`,
		},
	}
}

// answerOf asks and returns what the answer says, and its receipt.
func answerOf(t *testing.T, url, body string) (answer, receipt string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%s: %d %.300s %v", url, res.StatusCode, all, err)
	}
	for _, m := range generated.FindAllStringSubmatch(string(all), -1) {
		if answer += m[2]; strings.HasSuffix(url, "/generate") { // its events repeat what came before
			answer = m[2]
		}
	}
	return answer, res.Header.Get("Paceline-Receipt")
}

// generated finds what an answer says.
var generated = regexp.MustCompile(`"(text|content)":"([^"]*)"`)

// rollouts sends eight copies of each of three prompts at once, and returns the answers by
// prompt and how many followed.
func rollouts(t *testing.T, url string, g generation, salt int) (answers []string, followed int) {
	answers = make([]string, 3)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for p := range answers {
		words := rand.New(rand.NewPCG(uint64(salt), uint64(p)))
		prompt := fmt.Sprint(p)
		for range 400 {
			prompt += fmt.Sprint(" ", words.IntN(1000))
		}
		for range 8 {
			wg.Go(func() {
				answer, receipt := answerOf(t, url+g.path, fmt.Sprintf(g.body, prompt, 500+10*salt+p))
				mu.Lock()
				defer mu.Unlock()
				if strings.Contains(receipt, "role=follower") {
					followed++
				}
				if answers[p] == "" {
					answers[p] = answer
				}
				if answer != answers[p] {
					t.Errorf("%s: copies got different answers:\n%.500s\n%.500s", g.name, answer, answers[p])
				}
			})
		}
	}
	wg.Wait()
	return answers, followed
}

// shareOf checks that a real or simulated SGLang answers through the proxy as it does
// straight, and that most copies waited for their leader.
func shareOf(t *testing.T, r *running, straight string) {
	for i, g := range generations() {
		got, followed := rollouts(t, r.url(""), g, i)
		want, _ := rollouts(t, straight, g, i)
		for p := range want {
			if got[p] != want[p] {
				t.Errorf("%s: through the proxy\n%.600s\nstraight\n%.600s", g.name, got[p], want[p])
			}
		}
		if followed < 15 { // of 21; the first silent ones can't be waited for
			t.Errorf("%s: %d followed", g.name, followed)
		}
	}
}

func TestRealSGLangReadsTheSharedPrefixOfRolloutsOnce(t *testing.T) {
	r, c := realSGLang(t, nil)
	if err := r.up.Flush(t.Context(), 0); err != nil {
		t.Log(err)
	}
	shareOf(t, r, c.URL())
}

func TestTheSharedPrefixOfRolloutsIsReadOnce(t *testing.T) {
	s, url := simulatedAt(t, 1e-4)
	r := start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, nil)
	shareOf(t, r, url)
	if n := s.Stats().Crashes; n > 0 {
		t.Error(n)
	}
}

func TestAGenerationWhoseClientHasGoneIsAbortedAtOnce(t *testing.T) {
	f := newFake(t)
	r := start(t, f, nil)
	for _, c := range []struct {
		body   string
		aborts bool
	}{
		{`{"model":"endless","prompt":"a","stream":true}`, true},
		{` {"model":"endless","prompt":"a"}`, true},
		{`{"model":"endless","prompt":"a","rid":"own"}`, false}, // SGLang would abort all that begin with it
	} {
		ctx, leave := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url("/v1/completions"), strings.NewReader(c.body))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/json")
			if res, err := http.DefaultClient.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		}()
		rid := (<-f.entered)[0]
		leave()
		<-gone
		if !c.aborts {
			if rid != "own" {
				t.Errorf("%s went as %q", c.body, rid)
			}
			continue
		}
		if aborted := <-f.aborted; len(rid) != 32 || aborted != rid {
			t.Errorf("%s went as %q, aborted %q", c.body, rid, aborted)
		}
	}
	r.stop()
	if len(f.aborted) != 0 {
		t.Errorf("aborted %q too", <-f.aborted)
	}
}

func TestNothingIsHeldAtAnSGLangThatSharesNothing(t *testing.T) {
	for option, value := range map[string]any{"disable_radix_cache": true, "dp_size": 2} {
		var log safeBuffer
		f := newFake(t)
		f.hold = make(chan struct{})
		f.info["max_req_input_len"], f.info[option] = 10_000, value
		r := start(t, f, func(c *Config) {
			c.Settings.MaxWait, c.Logger = 0, slog.New(slog.NewTextHandler(&log, nil))
		})
		long := strings.Repeat("a shared beginning ", 200)
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				r.http(http.MethodPost, r.HTTPAddr()+"/generate", fmt.Sprintf(`{"text":"%s%d","sampling_params":{"max_new_tokens":0}}`, long, i))
			})
			<-f.entered
		}
		close(f.hold)
		wg.Wait()
		s, err := r.admin.GetStatus(r.context(), &pb.GetStatusRequest{})
		if why := s.GetUpstream().GetSharesNothing(); err != nil || !strings.HasPrefix(why, "SGLang runs with --") ||
			strings.Count(log.String(), why) != 1 {
			t.Errorf("%s: %q %v\n%s", option, why, err, log.String())
		}
	}
}
