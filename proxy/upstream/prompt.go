package upstream

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"sync/atomic"

	"paceline/batcher"
	"paceline/batcher/prefix"
	"paceline/sglang"
)

// Prompt is a checked request for SGLang. It is immutable once it is submitted: changes are
// made to a copy.
type Prompt struct {
	Request  sglang.Request // without an id; Submit adds one
	Priority *int32
	LoRA     string
	Place    string           // begins the names of its fields in errors, such as "items[3]."; empty for a request of one prompt
	Embed    sglang.Embedding // the path, if it is not /generate

	owner      string // whose prompts alone it shares anything with; empty: everybody's
	encoded    bool   // it arrived as text and is sent as ids
	generation int    // of the model it was checked and encoded for
	sampled    bool   // the trace of its request is sampled
}

// field returns the name of the prompt's field in the contract.
func (p *Prompt) field() string {
	if len(p.Request.InputIDs) > 0 && !p.encoded {
		return p.Place + "token_ids"
	}
	return p.Place + "text"
}

// prefix names the beginnings of the prompt. Prompts of different adapters, salts or owners
// share nothing. SGLang computes a prompt from the first position whose log probability is asked
// for, even if it is cached (0.5.23). Of embeddings it does not always tell what was cached.
func (p *Prompt) prefix() prefix.Prefix {
	r := &p.Request
	if p.Embed.Path != "" || r.Logprobs != nil && r.Logprobs.PromptStart != nil {
		return nil
	}
	space := p.LoRA + "\x00" + r.CacheSalt + "\x00" + p.owner
	if len(r.InputIDs) > 0 {
		return prefix.OfTokens(r.InputIDs, space)
	}
	return prefix.OfText(r.Text, space)
}

// key is different for prompts that can't or should not share a call. SGLang takes priority
// and adapter once for a call. A call has either texts or ids. A list without new tokens
// skips sampling, so prompts with and without new tokens are kept apart.
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
	if p.Embed.Path != "" {
		key = append(append(append(key, ' '), p.Embed.Path...), p.Embed.Fields...)
	}
	return string(key)
}

// Bounds of a request that hold for every model.
const (
	MaxTopLogprobs = 1024
	MaxLogitBias   = 1e9 // stays finite in float32 when SGLang divides by its least temperature, 1e-6
	MaxJSONDepth   = 64  // tools in a chat request, the deepest that clients send, have some ten levels
)

// FieldError names the wrong field of a request and the expected value. It never has prompt
// text.
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

// maxBytesPerToken is more bytes of text than any token stands for in the vocabularies
// that are known: the longest ones are runs of 128 spaces or signs.
const maxBytesPerToken = 256

// MaxTextBytes is more bytes than a text has that the context can hold: a longer one
// is refused before anybody tokenizes it. 0 means unknown.
func (l Limits) MaxTextBytes() int { return l.MaxPromptTokens * maxBytesPerToken }

// MaxTopLogprobs is how many of the likeliest tokens may be asked for.
func (l Limits) MaxTopLogprobs() int {
	if l.VocabSize > 0 {
		return min(MaxTopLogprobs, l.VocabSize)
	}
	return MaxTopLogprobs
}

// UnknownVocabulary returns the error of ids while the size of the vocabulary is unknown.
func UnknownVocabulary(field string) error {
	return WrongField(field, "can't be checked, because SGLang tells no vocabulary size: "+
		"start the proxy with -vocab-size, or send text")
}

// CheckStart checks the first position of log probabilities against the prompt's length.
func CheckStart(o *sglang.LogprobOptions, tokens int) error {
	if o != nil && o.PromptStart != nil && *o.PromptStart > tokens {
		return WrongField("logprobs.prompt_start", "must be at most the prompt's %d tokens, got %d", tokens, *o.PromptStart)
	}
	return nil
}

// mergeSeed is random, so that callers can't choose prompts that collide.
var mergeSeed = maphash.MakeSeed()

// mergeKey returns the merge key of a prompt with all its options and the batch key key. It is
// zero if two answers to the same prompt may differ, because a token is sampled. The hash
// uses the last name of the prefix in place of that part of the prompt.
func mergeKey(p *Prompt, key string, names prefix.Prefix) batcher.MergeKey {
	r := &p.Request
	if t := r.Sampling.Temperature; r.MaxNewTokens > 0 && (t != nil && *t > 0 || r.Sampling.Raw != nil) {
		return batcher.MergeKey{}
	}
	options := appendOptions(make([]byte, 0, 160), p, key)
	k := batcher.MergeKey{Options: string(options), Text: r.Text, IDs: r.InputIDs}
	text, ids := r.Text, r.InputIDs
	if blocks := len(names); blocks > 0 {
		options = binary.LittleEndian.AppendUint64(options, names[blocks-1])
		text, ids = text[min(len(text), blocks*prefix.BlockBytes):], ids[min(len(ids), blocks*prefix.BlockTokens):]
	}
	var h maphash.Hash
	h.SetSeed(mergeSeed)
	_, _ = h.Write(options)
	_, _ = h.WriteString(text)
	for _, id := range ids { // usually less than a block
		_, _ = h.Write(binary.LittleEndian.AppendUint32(options[:0], uint32(id)))
	}
	k.Hash = h.Sum64() | 1 // never zero
	return k
}

// appendOptions writes all parts of a request but the prompt, each so that its end is
// unambiguous.
func appendOptions(b []byte, p *Prompt, key string) []byte {
	r := &p.Request
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	number := func(v int64) { b = binary.AppendVarint(b, v) }
	text(key)
	text(r.CacheSalt)
	text(p.owner)
	if r.KeepRaw { // its answer has more fields
		number(1)
	}
	number(int64(len(r.Text)))
	number(int64(len(r.InputIDs)))
	if o := r.Logprobs; o != nil {
		number(int64(o.TopK) + 1)
		number(optional(o.PromptStart))
		if !p.sharesLabels() {
			for _, id := range o.TokenIDs {
				number(int64(id))
			}
		}
	}
	number(-1)
	return sglang.AppendSampling(b, r) // all that SGLang sees: it checks all, also where nothing is sampled
}

func optional(v *int) int64 {
	if v == nil {
		return -1
	}
	return int64(*v)
}

// textLength estimates the number of tokens of a text. It starts at 4 bytes a token, which
// gives slightly too many tokens for prompts of coding agents, and then follows SGLang's
// counts. The zero value is ready to use. It is safe for concurrent use.
type textLength struct {
	bytesPerToken atomic.Uint64 // bits of a float64; 0: nothing learned yet
}

const (
	firstBytesPerToken = 4
	learning           = 0.05 // weight of one answer: about twenty are remembered
)

// tokens returns the estimated length of a text.
func (l *textLength) tokens(text string) int {
	return int(math.Ceil(float64(len(text)) / l.ratio()))
}

// learn learns from SGLang's count of a text. Concurrent calls may lose an update, which
// does no harm.
func (l *textLength) learn(text string, tokens int) {
	if tokens <= 0 {
		return
	}
	old := l.ratio()
	l.bytesPerToken.Store(math.Float64bits(old + learning*(float64(len(text))/float64(tokens)-old)))
}

func (l *textLength) ratio() float64 {
	if bits := l.bytesPerToken.Load(); bits != 0 {
		return math.Float64frombits(bits)
	}
	return firstBytesPerToken
}
