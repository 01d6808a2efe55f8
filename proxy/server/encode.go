package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"paceline/sglang"
	"paceline/tokenizer"
)

// What Config.Tokenizer may be besides a file.
const (
	TokenizerAuto = "auto" // the one in SGLang's model folder, where that can be read
	TokenizerNone = "none" // texts are sent as texts
)

// encoders finds the tokenizer of what SGLang serves, and sees that it is the
// same. It is safe for concurrent use; all servers of a proxy share one.
type encoders struct {
	config string // Config.Tokenizer
	log    *slog.Logger

	mu sync.Mutex // guards all below

	loaded   *tokenizer.Tokenizer
	path     string // where it is from
	modified time.Time
}

// encoder is how texts are sent.
type encoder struct {
	ids *tokenizer.Tokenizer // nil: as texts
	why string               // for people
}

// open loads the configured file, so that a wrong one is found at the start.
func (e *encoders) open() error {
	if e.config == TokenizerAuto || e.config == TokenizerNone || e.config == "" {
		return nil
	}
	_, err := e.load(e.config)
	return err
}

func (e *encoders) load(path string) (*tokenizer.Tokenizer, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if e.loaded != nil && e.path == path && e.modified.Equal(f.ModTime()) {
		return e.loaded, nil
	}
	t, err := tokenizer.Load(path)
	if err != nil {
		return nil, err
	}
	e.loaded, e.path, e.modified = t, path, f.ModTime()
	debug.FreeOSMemory() // reading it takes ten times what it keeps, and this proxy may be idle for hours
	return t, nil
}

// choose says how to send texts to a server: as ids if its own /tokenize makes
// the same ids of a sample. Falling back is logged, since it costs SGLang work.
func (e *encoders) choose(ctx context.Context, c *sglang.Client, info sglang.ServerInfo) encoder {
	path := e.config
	switch {
	case path == TokenizerNone || path == "":
		return encoder{nil, "as texts: no tokenizer is configured"}
	case path == TokenizerAuto && !filepath.IsAbs(info.ModelPath):
		return encoder{nil, "as texts: SGLang's model folder can't be read from here, and -tokenizer names no file"}
	case path == TokenizerAuto:
		path = filepath.Join(info.ModelPath, "tokenizer.json")
	}
	t, err := e.load(path)
	if errors.Is(err, os.ErrNotExist) && e.config == TokenizerAuto {
		return encoder{nil, "as texts: SGLang's model folder can't be read from here, and -tokenizer names no file"}
	}
	if err == nil {
		err = agrees(ctx, c, t)
	}
	if err != nil {
		e.log.Warn("prompts are sent as texts, which SGLang tokenizes one by one", "tokenizer", path, "error", err)
		return encoder{nil, "as texts: " + err.Error()}
	}
	return encoder{t, "as token ids: SGLang's /tokenize agrees with " + filepath.Base(path)}
}

// sample is text in which tokenizers that differ at all differ: every rule of the
// split, both normal forms, added tokens, scripts, and code.
const sample = "def add(a, b):\n    return a + b  # it's we'LL don't\r\n\r\n\tif x1 == 23456 and y != 'z':\n\n\n        pass\n" +
	"<|im_start|>user\nÜber e\u0301t\u00e9 ﬁ ½ Ⅷ ٣٤ 한국어 日本語のテキスト हिन्दी ไทย עברית العربية Ελληνικά Кириллица 👍🏽👨‍👩‍👧<|im_end|>\n" +
	"<tool_call>{\"name\": \"x_y\", \"v\": [1.5e-10, null]}</tool_call> <think>\u00a0\u3000\u2028</think>   trailing  \u212b\u200b ſ 'ſ ====----\\\\///   "

// agrees compares a tokenizer with the server's own.
func agrees(ctx context.Context, c *sglang.Client, t *tokenizer.Tokenizer) error {
	want, err := c.Tokenize(ctx, sample)
	if err != nil {
		return fmt.Errorf("SGLang's /tokenize could not be asked: %w", err)
	}
	got := t.Encode(sample)
	if !slices.Equal(got, want) {
		return fmt.Errorf("the tokenizer is not SGLang's: of a sample it makes %d tokens and SGLang %d", len(got), len(want))
	}
	return nil
}

// apply turns the text of a prompt into ids. The error is a *fieldError.
func (e encoder) apply(p *prompt, l limits) error {
	if e.ids == nil || p.request.Text == "" {
		return nil
	}
	ids := e.ids.Encode(p.request.Text)
	p.request.Text, p.request.InputIDs, p.encoded = "", ids, true
	if l.maxPromptTokens > 0 && len(ids) > l.maxPromptTokens {
		return wrongField("text", "must have at most %d tokens, got %d", l.maxPromptTokens, len(ids))
	}
	return validateStart(p.request.Logprobs, len(ids))
}
