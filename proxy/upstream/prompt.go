package upstream

import (
	"fmt"
	"slices"
	"strconv"

	"paceline/batcher"
	"paceline/sglang"
)

// Prompt is a checked request on its way to SGLang. It is not changed once it has
// been submitted: a change is a copy.
type Prompt struct {
	Request  sglang.Request // without an id: Submit gives it one
	Priority *int32
	LoRA     string

	encoded    bool // it came as text and is sent as ids
	generation int  // of the model it was checked and encoded for
	sampled    bool // the trace of its request is sampled
}

// field names the prompt in the contract's words.
func (p *Prompt) field() string {
	if len(p.Request.InputIDs) > 0 && !p.encoded {
		return "token_ids"
	}
	return "text"
}

// prefix names the beginnings of the prompt. Nothing is shared across adapters
// and salts. SGLang computes a prompt from the position on at which log
// probabilities are asked for, whatever is cached (0.5.23).
func (p *Prompt) prefix() batcher.Prefix {
	r := &p.Request
	if r.Logprobs != nil && r.Logprobs.PromptStart != nil {
		return nil
	}
	space := p.LoRA + "\x00" + r.CacheSalt
	if len(r.InputIDs) > 0 {
		return batcher.PrefixOfTokens(r.InputIDs, space)
	}
	return batcher.PrefixOfText(r.Text, space)
}

// key separates what can't or should not share a call: SGLang takes priority and
// adapter once for a call, a call holds only one kind of prompt, and a list in which
// nothing is generated skips sampling altogether.
func (p *Prompt) key() string {
	key := make([]byte, 0, 32)
	if len(p.Request.InputIDs) > 0 {
		key = append(key, "ids"...)
	} else {
		key = append(key, "text"...)
	}
	key = strconv.AppendInt(append(key, ' '), int64(p.Request.MaxNewTokens), 10)
	if p.Priority != nil {
		key = strconv.AppendInt(append(key, " p"...), int64(*p.Priority), 10)
	}
	if p.LoRA != "" {
		key = append(append(key, " l"...), p.LoRA...)
	}
	return string(key)
}

// queuePriority orders the queue as SGLang would order it.
func (p *Prompt) queuePriority() int {
	if p.Priority == nil {
		return 0
	}
	return int(*p.Priority)
}

// Bounds of a request that hold for every model.
const (
	MaxTopLogprobs = 1024
	MaxJSONDepth   = 64 // tools in a chat request, the deepest that clients send, have some ten levels
)

// FieldError says which field of a request is wrong and what was expected. It
// never holds prompt text.
type FieldError struct {
	Field   string
	Problem string
}

// Error implements error.
func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// WrongField returns a *FieldError.
func WrongField(field, format string, args ...any) error {
	return &FieldError{field, fmt.Sprintf(format, args...)}
}

// CheckIDs checks token ids against the vocabulary. The error is a *FieldError.
func (l Limits) CheckIDs(field string, ids []int32) error {
	if len(ids) == 0 {
		return nil
	}
	if l.VocabSize == 0 {
		return UnknownVocabulary(field)
	}
	i := slices.IndexFunc(ids, func(id int32) bool { return id < 0 || int(id) >= l.VocabSize })
	if i < 0 {
		return nil
	}
	return WrongField(field+"["+strconv.Itoa(i)+"]", "%d is outside the vocabulary [0, %d)", ids[i], l.VocabSize)
}

// MaxTopLogprobs is how many of the likeliest tokens may be asked for.
func (l Limits) MaxTopLogprobs() int {
	if l.VocabSize > 0 {
		return min(MaxTopLogprobs, l.VocabSize)
	}
	return MaxTopLogprobs
}

// UnknownVocabulary refuses ids where the size of the vocabulary is not known.
func UnknownVocabulary(field string) error {
	return WrongField(field, "can't be checked, because SGLang tells no vocabulary size: "+
		"start the proxy with -vocab-size, or send text")
}

// CheckStart checks where log probabilities begin against the prompt's length.
func CheckStart(o *sglang.LogprobOptions, tokens int) error {
	if o != nil && o.PromptStart != nil && *o.PromptStart > tokens {
		return WrongField("logprobs.prompt_start", "must be at most the prompt's %d tokens, got %d", tokens, *o.PromptStart)
	}
	return nil
}
