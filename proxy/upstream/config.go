package upstream

import (
	"context"
	"net/http"
	"strings"
	"time"

	"paceline/sglang"
)

// Config is the configuration of SGLang. Start from DefaultConfig.
type Config struct {
	// URL is the base URL of SGLang: http://host:port.
	URL string

	// Key is SGLang's API key; empty sends none.
	Key string

	// VocabSize is the number of token ids that the model knows. 0 reads it from
	// SGLang's model folder. If that can't be read, requests with token ids are refused:
	// an id outside the vocabulary can crash SGLang (seen on 0.5.23).
	VocabSize int

	// Tokenizer is the tokenizer.json of the served model, TokenizerAuto or
	// TokenizerNone (the same as empty). If it makes the same ids as SGLang, texts are
	// sent as token ids: a list of ids reaches SGLang's scheduler as a whole, and SGLang
	// need not tokenize.
	Tokenizer string

	// Dial connects to SGLang; nil dials TCP.
	Dial sglang.Dial

	// ShareAcrossKeys lets the callers of different API keys share prefixes and prompts in
	// the proxy. Without it none waits for, follows or is merged with another's request.
	// SGLang's own cache is shared in any case, but for cache_salt.
	ShareAcrossKeys bool

	// MaxOutage is the max time that accepted requests wait for SGLang to come back, for
	// example after a restart. 0 fails them at once.
	MaxOutage time.Duration
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		URL:       "http://127.0.0.1:30000", // SGLang's own default port
		Tokenizer: TokenizerAuto,
		MaxOutage: 5 * time.Minute, // longer than the load of a model of 70 billion parameters

		ShareAcrossKeys: true, // rollouts of one team may have many keys
	}
}

// Validate returns a *FieldError for the first value that can't be used, with its name in
// the configuration file, or nil.
func (c Config) Validate() error {
	if strings.Contains(c.URL, ",") || strings.HasPrefix(c.URL, "dns+") {
		return WrongField("upstream",
			"must be one SGLang, http://host:port: put a proxy beside each, and a balancer in front (deploy/scaleout), got %q", c.URL)
	}
	client, err := c.client(nil)
	if err != nil {
		return &FieldError{"upstream", err.Error()}
	}
	client.CloseIdle()
	switch {
	case c.VocabSize < 0:
		return WrongField("vocab_size", "must be at least 0, got %d", c.VocabSize)
	case c.MaxOutage < 0:
		return WrongField("max_outage", "must be at least 0, got %v", c.MaxOutage)
	}
	return nil
}

// client returns a client of SGLang. header adds headers to each request.
func (c Config) client(header func(context.Context, http.Header)) (*sglang.Client, error) {
	return sglang.NewClient(c.URL, sglang.Options{APIKey: c.Key, Header: header, Dial: c.Dial})
}
