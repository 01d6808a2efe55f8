package upstream

import (
	"paceline/sglang"
)

// Snapshot is what is known of SGLang at one moment. It is never changed. What
// SGLang said about itself stays when it goes away.
type Snapshot struct {
	Asked  bool // false only before the first check
	Ready  bool
	Reason string // why it was last not ready
	Model  string // the name to show for what SGLang serves
	Info   sglang.ServerInfo
	Limits Limits
	Texts  string // how texts are sent, and why: for people

	encoder encoder

	// generation counts the models that were seen: a prompt prepared for one must not
	// be sent to the next.
	generation int
}

// Snapshot is what is known of SGLang now.
func (u *Upstream) Snapshot() *Snapshot { return u.current.Load() }

// Limits are what a prompt is checked against. 0 means unknown.
type Limits struct {
	VocabSize       int // token ids are from 0 to VocabSize-1
	MaxPromptTokens int
}

// served is what makes a prompt prepared for one server wrong for another.
type served struct {
	model, path string
	vocabSize   int
}

func (s *Snapshot) served() served {
	return served{s.Info.ServedModelName, s.Info.ModelPath, s.Limits.VocabSize}
}
