package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
)

// The main paths of the proxy work in front of each release of SGLang that the simulator
// plays. What a release lacks is logged once, and refused where SGLang would ignore it.
func TestEachVersionOfSGLangIsServedWithWhatItHas(t *testing.T) {
	const temperature, logprobs = "/v1/score temperature", "/v1/score return_token_logprobs"
	for version, lacks := range map[string][]string{
		"0.5.10": {"/v1/tokenize messages", "/generate cache_salt", "/ready", temperature, logprobs, "/v1/decisions", "/v1/systemone"},
		"0.5.13": {"/generate cache_salt", "/ready", temperature, logprobs, "/v1/decisions", "/v1/systemone"},
		"0.5.17": {"/generate cache_salt", "/ready", temperature, logprobs, "/v1/decisions", "/v1/systemone"},
		"0.5.18": {"/ready", temperature, logprobs, "/v1/decisions", "/v1/systemone"},
		"0.5.20": {temperature, logprobs, "/v1/decisions", "/v1/systemone"},
		"0.5.23": nil,
	} {
		t.Run(version, func(t *testing.T) {
			_, url := simulatedVersion(t, version, 1e-7)
			r := start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, nil)
			salted, decided := http.StatusOK, http.StatusOK
			if slices.Contains(lacks, "/generate cache_salt") {
				salted = http.StatusBadRequest
			}
			if slices.Contains(lacks, "/v1/decisions") {
				decided = http.StatusNotFound
			}
			for _, c := range []struct {
				path, body string
				want       int
			}{
				{"/generate", `{"text":["a b","c"],"sampling_params":{"max_new_tokens":0}}`, http.StatusOK},
				{"/generate", `{"text":"a","cache_salt":"s","sampling_params":{"max_new_tokens":0}}`, salted},
				{"/generate", `{"text":"a","cache_salt":"s","sampling_params":{"max_new_tokens":3}}`, salted},
				{"/generate", `{"text":"a","stream":true,"sampling_params":{"max_new_tokens":3}}`, http.StatusOK},
				{"/v1/completions", `{"model":"m","prompt":"a","max_tokens":3}`, http.StatusOK},
				{"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"a"}],"max_tokens":3}`, http.StatusOK},
				{"/v1/score", `{"query":"a","items":["b","c"],"label_token_ids":[1,2],"apply_softmax":true,"temperature":2}`, http.StatusOK},
				{"/v1/score", `{"query":[1],"items":[[2],[3]],"label_token_ids":[1,2]}`, http.StatusOK},
				{"/v1/rerank", `{"query":"a","documents":["b","c"]}`, http.StatusOK},
				{"/v1/decisions", `{"input":"a","questions":[{"id":"z","type":"yes_no","question":"is it?"}]}`, decided},
				{
					"/v1/decisions",
					`{"input":"a","questions":[{"id":"z","type":"yes_no","question":"is it?"},{"id":"y","type":"yes_no","question":"or?"}]}`, decided,
				},
				{"/tokenize", `{"prompt":"a"}`, http.StatusOK},
				{"/v1/prefill", `{"text":"a"}`, http.StatusOK},
			} {
				if code, body := ask(t, http.MethodPost, r.url(c.path), c.body); code != c.want {
					t.Errorf("%s %s: %d %.300s, want %d", c.path, c.body, code, body, c.want)
				}
			}
			want := codes.OK
			if salted != http.StatusOK {
				want = codes.InvalidArgument
			}
			if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a", CacheSalt: "s"}); status.Code(err) != want {
				t.Errorf("a salt: %v, want %v", err, want)
			}
			score := &pb.ScoreRequest{Text: "a", Items: []*pb.ScoreItem{{Text: "b"}}, LabelTokenIds: []int32{1, 2}}
			if _, err := pb.NewScoreServiceClient(r.dial(r.Addr())).Score(r.context(), score); err != nil {
				t.Error(err)
			}
			if err := r.up.Flush(t.Context(), 0); err != nil {
				t.Error(err)
			}
			r.stop()
			<-r.ended
			logged := 0
			if lacks != nil {
				logged = 1
			}
			if strings.Count(r.log.String(), "lacks=") != logged || !strings.Contains(r.log.String(), lacksLogged(lacks)) {
				t.Errorf("want lacks=%v once: %s", lacks, r.log)
			}
		})
	}
}

func lacksLogged(lacks []string) string {
	if lacks == nil {
		return ""
	}
	return fmt.Sprintf("lacks=%q", fmt.Sprint(lacks))
}

// Without ids of a chat its leader can't be prefilled, and would hold the others for as long
// as it generates.
func TestChatsThatDoNotStreamAreNotHeldWhereSGLangTokenizesNone(t *testing.T) {
	for version, held := range map[string]bool{"0.5.11": false, "0.5.12": true} {
		_, url := simulatedVersion(t, version, 1e-4)
		r := start(t, &fakeSGLang{addr: strings.TrimPrefix(url, "http://")}, nil)
		for _, g := range generations() {
			if !strings.HasPrefix(g.name, "chat") {
				continue
			}
			held := held || g.name == "chat, streamed"
			if _, followed := rollouts(t, r.url(""), g, len(g.name)); (followed > 0) != held {
				t.Errorf("%s, %s: %d followed", version, g.name, followed)
			}
		}
	}
}

func TestAnSGLangWithoutTokenizerIsNotAskedForTokens(t *testing.T) {
	path, _ := bytesTokenizer(t, t.TempDir())
	f := newFake(t)
	f.setInfo("skip_tokenizer_init", true)
	f.encode = func(string) []int32 { t.Error("asked"); return nil }
	r := start(t, f, func(c *Config) { c.Upstream.Tokenizer = path })
	if sent := r.up.Snapshot().Texts; !strings.Contains(sent, "--skip-tokenizer-init") {
		t.Error(sent)
	}
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{TokenIds: []int32{1, 2}}); err != nil {
		t.Error(err)
	}
	if log := r.log.String(); strings.Contains(log, "level=WARN") {
		t.Error(log)
	}
}
