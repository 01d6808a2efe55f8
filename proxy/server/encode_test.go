package server

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
	"paceline/tokenizer"
)

// bytesTokenizer writes a tokenizer.json whose tokens are bytes.
func bytesTokenizer(t *testing.T, dir string) (string, *tokenizer.Tokenizer) {
	t.Helper()
	vocab := map[string]int{}
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if b < '!' || b > '~' && b < 0xa1 || b == 0xad {
			r = next
			next++
		}
		vocab[string(r)] = b
	}
	data, err := json.Marshal(map[string]any{
		"normalizer": map[string]any{"type": "NFC"},
		"pre_tokenizer": map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Split", "behavior": "Isolated", "pattern": map[string]any{
				"Regex": `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
			}},
			map[string]any{"type": "ByteLevel", "use_regex": false},
		}},
		"model": map[string]any{"type": "BPE", "vocab": vocab},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tokenizer.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, tok
}

func TestTextsAreSentAsTheIDsThatSGLangWouldMake(t *testing.T) {
	dir := t.TempDir()
	path, tok := bytesTokenizer(t, dir)
	for name, configure := range map[string]func(*Config){
		"a file":               func(c *Config) { c.Upstream.Tokenizer = path },
		"SGLang's own folder":  func(*Config) {},
		"and no vocabulary":    func(c *Config) { c.Upstream.Tokenizer = path },
		"a vocabulary by flag": func(c *Config) { c.Upstream.VocabSize = 500 },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.encode = tok.Encode
			f.setInfo("model_path", dir)
			if name == "and no vocabulary" {
				f.setInfo("simulator", nil)
			}
			r := start(t, f, configure)
			if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "def f"}); err != nil {
				t.Fatal(err)
			}
			c := f.seen()[0]
			if c.Text != nil || !slices.Equal(c.InputIDs[0], []int32{'d', 'e', 'f', ' ', 'f'}) {
				t.Errorf("sent %+v", c)
			}
			_, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: strings.Repeat("a", 100)})
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "text: must have at most 99 tokens, got 100") {
				t.Errorf("too long: %v", err)
			}
			start := uint32(4)
			_, err = r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "abc", Logprobs: &pb.LogprobOptions{PromptStart: &start}})
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "logprobs.prompt_start") {
				t.Errorf("beginning behind the end: %v", err)
			}
			if n := len(f.seen()); n != 1 {
				t.Errorf("%d calls", n)
			}
			if name == "and no vocabulary" && r.up.Snapshot().Limits.VocabSize != 256 {
				t.Errorf("the vocabulary has %d", r.up.Snapshot().Limits.VocabSize)
			}
		})
	}
}

func TestTextsAreSentAsIDsOnceABusySGLangHasAnsweredHowItTokenizes(t *testing.T) {
	t.Parallel() // the watch asks again after seconds
	path, tok := bytesTokenizer(t, t.TempDir())
	f := newFake(t)
	f.encode, f.busyTokenize = tok.Encode, 1
	r := start(t, f, func(c *Config) { c.Upstream.Tokenizer, c.Settings.MaxWait = path, 0 })
	if sent := r.up.Snapshot().Texts; !strings.HasPrefix(sent, "as texts: SGLang's /tokenize could not be asked") {
		t.Error(sent)
	}
	await(t, "it is asked again", func() bool { return strings.HasPrefix(r.up.Snapshot().Texts, "as token ids") })
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "abc"}); err != nil || f.seen()[0].InputIDs == nil {
		t.Errorf("%v, sent %+v", err, f.seen())
	}
}

func TestTextsStayTextsWhereSGLangTokenizesOtherwise(t *testing.T) {
	path, tok := bytesTokenizer(t, t.TempDir())
	for name, encode := range map[string]func(string) []int32{
		"one more id":  func(s string) []int32 { return append(tok.Encode(s), 1) },
		"no /tokenize": nil,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.encode = encode
			r := start(t, f, func(c *Config) { c.Upstream.Tokenizer = path })
			if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "def f"}); err != nil {
				t.Fatal(err)
			}
			if c := f.seen()[0]; c.InputIDs != nil || c.Text[0] != "def f" {
				t.Errorf("sent %+v", c)
			}
			s, err := r.admin.GetStatus(r.context(), &pb.GetStatusRequest{})
			if err != nil || !strings.HasPrefix(s.GetUpstream().GetTextsSent(), "as texts: ") {
				t.Errorf("%v, %v", s, err)
			}
			if log := r.log.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "sent as texts") {
				t.Error(log)
			}
		})
	}
}

func TestATokenizerThatCannotBeReadEndsTheStart(t *testing.T) {
	c := DefaultConfig()
	c.Upstream.Tokenizer = filepath.Join(t.TempDir(), "none.json")
	if _, err := New(c); err == nil || !strings.HasPrefix(err.Error(), "tokenizer: ") {
		t.Error(err)
	}
}
