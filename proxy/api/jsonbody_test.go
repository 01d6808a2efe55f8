package api

import (
	"errors"
	"io"
	"strings"
	"testing"

	pb "paceline/proto/paceline/v1"
)

func decodeBody(body string) error {
	return newJSONBody().NewDecoder(strings.NewReader(body)).Decode(new(pb.PrefillRequest))
}

func TestABodysErrorsNameTheFieldAndQuoteNothing(t *testing.T) {
	for body, want := range map[string]string{
		`{"token_ids": "secret words"}`:       "(line 1:15)",
		`{"token_ids": ["secret"]}`:           "token_ids",
		`{"text": {"secret": 1}}`:             "text",
		`{"text": 5}`:                         "text",
		`{"txt": "secret"}`:                   "txt: unknown field",
		`{"text": "secret`:                    "ends too early",
		`{"text": "a", "text": "secret"}`:     "text: duplicate field",
		`{"secret secret": 1}`:                "not the expected message",
		`{"text": "a" "secret": 1}`:           "not JSON",
		`["secret"]`:                          "not the expected message",
		`"secret"`:                            "not the expected message",
		`{"max_new_tokens": 1.5}`:             "max_new_tokens",
		`{"text": "secret \ud800"}`:           "",
		"{\"text\": \"secret \xff\xfe\"}":     "",
		`{"logprobs": {"top_k": "secret"}}`:   "",
		`{"sampling_params": {"seed": "se"}}`: "seed",
	} {
		err := decodeBody(body)
		if err == nil || !strings.Contains(err.Error(), want) || want != "txt: unknown field" && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", body, err)
		}
	}
}

func TestNoBodyIsAnEmptyMessage(t *testing.T) {
	if err := decodeBody(""); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v", err)
	}
}

// FuzzBody checks that no error about a body quotes a string of it.
func FuzzBody(f *testing.F) {
	f.Add(`{"text":"`, `"}`)
	f.Add(`{"token_ids":["`, `"]}`)
	f.Add(`{"logit_bias":{"`, `":1}}`)
	f.Add(``, ``)
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "quite secret words"
		err := decodeBody(before + secret + after)
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Fatalf("%v", err)
		}
	})
}
