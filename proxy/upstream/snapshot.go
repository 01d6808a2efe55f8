package upstream

import (
	"slices"
	"strings"

	"paceline/sglang"
	"paceline/tokenizer"
)

// Snapshot is what is known of SGLang at one moment. It is immutable. While SGLang is away,
// its last information stays.
type Snapshot struct {
	Asked  bool // false only before the first check
	Ready  bool
	Reason string // why it was not ready the last time
	Model  string // display name of the served model
	Info   sglang.ServerInfo
	Limits Limits
	Texts  string // how texts are sent, and why, for humans
	Embeds bool   // the model embeds or classifies, and does not generate

	// SharesNothing names the option of SGLang under which a prompt may not find what was
	// computed for another; empty for none. Then no request is held.
	SharesNothing string

	unanswered int // times in a row that SGLang did not answer something of the above
	pause      int // checks until it is asked again

	tokenizer *tokenizer.Tokenizer // of texts; nil: they are sent as texts

	// Fields are the fields that SGLang's paths take. It is nil while SGLang has not told
	// them, and does not change until SGLang's version does.
	Fields *sglang.RequestFields

	// generation counts the models that were seen. A prompt prepared for one must not be
	// sent to the next.
	generation int
}

// PlainLabels says whether these lists of labels are what SGLang's /v1/score takes: none is
// empty, has a token twice or one that was added to the vocabulary. It is false while the
// model's tokenizer is not known.
func (s *Snapshot) PlainLabels(lists [][]int32) bool {
	return s.tokenizer != nil && !slices.ContainsFunc(lists, func(labels []int32) bool {
		sorted := slices.Sorted(slices.Values(labels))
		return len(sorted) == 0 || int(sorted[len(sorted)-1]) >= s.tokenizer.Plain() || len(slices.Compact(sorted)) < len(labels)
	})
}

// Lacks reports whether SGLang has told that a path, or a field of it if field is not empty,
// is not there.
func (s *Snapshot) Lacks(path, field string) bool {
	if s.Fields == nil {
		return false
	}
	fields, there := (*s.Fields)[path]
	return !there || field != "" && !slices.Contains(fields, field)
}

// later are the paths and fields that came after SGLang 0.5.10, by its source, and without
// which the proxy works.
var later = []struct{ path, field string }{
	{"/v1/tokenize", "messages"}, // 0.5.12: chats that don't stream are not held
	{"/generate", "cache_salt"},  // 0.5.18: refused, see ErrNoSalts
	{"/ready", ""},               // 0.5.20: see sglang.Client.Ready
	{"/v1/score", "temperature"}, // 0.5.21, and the rest, too: SGLang answers by itself
	{"/v1/score", "return_token_logprobs"},
	{"/v1/decisions", ""},
	{"/v1/systemone", ""},
}

// without lists what SGLang lacks of later.
func (s *Snapshot) without() (names []string) {
	for _, l := range later {
		if s.Lacks(l.path, l.field) {
			names = append(names, strings.TrimSpace(l.path+" "+l.field))
		}
	}
	return names
}

// ErrNoSalts refuses a salt that SGLang would ignore: prompts would share its cache in spite
// of it.
var ErrNoSalts = WrongField("cache_salt", "must be absent: SGLang knows it on /generate from 0.5.18 on, and this one does not")

// Snapshot returns what is known of SGLang now.
func (u *Upstream) Snapshot() *Snapshot { return u.current.Load() }

// Limits are the limits against which a prompt is checked. 0 means unknown.
type Limits struct {
	VocabSize       int // token ids are from 0 to VocabSize-1
	MaxPromptTokens int
}

// served identifies a served model. A prompt prepared for one value is wrong for another.
type served struct {
	model, path string
	vocabSize   int
}

func (s *Snapshot) served() served {
	return served{s.Info.ServedModelName, s.Info.ModelPath, s.Limits.VocabSize}
}
