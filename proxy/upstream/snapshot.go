package upstream

import (
	"slices"

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
