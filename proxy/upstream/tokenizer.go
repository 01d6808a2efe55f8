package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"paceline/proxy/file"
	"paceline/sglang"
	"paceline/tokenizer"
)

// Values of Config.Tokenizer besides a file.
const (
	TokenizerAuto = "auto" // the one in SGLang's model folder, if it can be read
	TokenizerNone = "none" // texts are sent as texts
)

// tokenizers finds the tokenizer of the model that SGLang serves, and checks that both make
// the same ids. It must be used by one goroutine at a time.
type tokenizers struct {
	config string // Config.Tokenizer
	log    *slog.Logger

	reading file.Reading // of the model's files; it alone uses the fields below

	loaded   *tokenizer.Tokenizer
	path     string // of loaded
	modified time.Time
}

// open loads the configured file, so that a wrong file is an error at the start.
func (t *tokenizers) open() error {
	if t.config == TokenizerAuto || t.config == TokenizerNone || t.config == "" {
		return nil
	}
	_, err := t.loadSoon(t.config, loadPatience)
	return err
}

// loadPatience is how long a start waits for a tokenizer. A cold network disk reads its 11 MB
// by then.
const loadPatience = 15 * time.Second

// errReading is the error of a file of the model whose reading has not ended.
var errReading = errors.New("could not be read in time")

// loadSoon is load, with an error once patience has passed.
func (t *tokenizers) loadSoon(path string, patience time.Duration) (*tokenizer.Tokenizer, error) {
	var loaded *tokenizer.Tokenizer
	var err error
	if !t.reading.Do(patience, func() { loaded, err = t.load(path) }) {
		return nil, fmt.Errorf("%s: %w", path, errReading)
	}
	return loaded, err
}

func (t *tokenizers) load(path string) (*tokenizer.Tokenizer, error) {
	f, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if t.loaded != nil && t.path == path && t.modified.Equal(f.ModTime()) {
		return t.loaded, nil
	}
	loaded, err := tokenizer.Load(path)
	if err != nil {
		return nil, err
	}
	t.loaded, t.path, t.modified = loaded, path, f.ModTime()
	debug.FreeOSMemory() // loading takes ten times the memory that is kept, and the proxy may be idle for hours
	return loaded, nil
}

// noModelFolder says why texts are sent where TokenizerAuto finds no file.
const noModelFolder = "as texts: SGLang's model folder can't be read from here, and -tokenizer names no file"

// choose decides how to send texts to a server: as ids of the returned tokenizer, if the
// server's own /tokenize makes the same ids of a sample, and else as texts (nil). why is for
// humans. It logs the fallback to texts, which costs SGLang work, and returns its error.
func (t *tokenizers) choose(ctx context.Context, c *sglang.Client, info sglang.ServerInfo) (
	ids *tokenizer.Tokenizer, why string, err error) {
	path := t.config
	switch {
	case path == TokenizerNone || path == "":
		return nil, "as texts: no tokenizer is configured", nil
	case info.SkipTokenizerInit: // nothing to compare with
		return nil, "as texts, which SGLang refuses: it runs with --skip-tokenizer-init", nil
	case path == TokenizerAuto && !filepath.IsAbs(info.ModelPath):
		return nil, noModelFolder, nil
	case path == TokenizerAuto:
		path = filepath.Join(info.ModelPath, "tokenizer.json")
	}
	loaded, err := t.loadSoon(path, checkTimeout)
	if errors.Is(err, os.ErrNotExist) && t.config == TokenizerAuto {
		return nil, noModelFolder, nil
	}
	if err == nil {
		err = agrees(ctx, c, loaded)
	}
	if err != nil {
		t.log.Warn("prompts are sent as texts, which SGLang tokenizes one by one",
			"tokenizer", path, "error", err, "asked_again", unanswered(err))
		return nil, "as texts: " + err.Error(), err
	}
	return loaded, "as token ids: SGLang's /tokenize agrees with " + filepath.Base(path), nil
}

// sample is a text that different tokenizers tokenize differently: it has every rule of the
// split, both normal forms, added tokens, many scripts, and code.
const sample = "def add(a, b):\n    return a + b  # it's we'LL don't\r\n\r\n\tif x1 == 23456 and y != 'z':\n\n\n        pass\n" +
	"<|im_start|>user\nÜber e\u0301t\u00e9 ﬁ ½ Ⅷ ٣٤ 한국어 日本語のテキスト हिन्दी ไทย עברית العربية Ελληνικά Кириллица 👍🏽👨‍👩‍👧<|im_end|>\n" +
	"<tool_call>{\"name\": \"x_y\", \"v\": [1.5e-10, null]}</tool_call> <think>\u00a0\u3000\u2028</think>   trailing  " +
	"\u212b\u200b ſ 'ſ ====----\\\\///   "

// agrees returns nil if a tokenizer and the server's own make the same ids of sample.
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

// encode turns the text of a prompt into ids. The error is a *FieldError.
func encode(t *tokenizer.Tokenizer, p *Prompt, l Limits) error {
	ids := t.Encode(p.Request.Text)
	p.Request.Text, p.Request.InputIDs, p.encoded = "", ids, true
	if l.MaxPromptTokens > 0 && len(ids) > l.MaxPromptTokens {
		return WrongField(p.field(), "must have at most %d tokens, got %d", l.MaxPromptTokens, len(ids))
	}
	return CheckStart(p.Request.Logprobs, len(ids))
}
