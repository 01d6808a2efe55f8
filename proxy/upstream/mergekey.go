package upstream

import (
	"encoding/binary"
	"hash/maphash"
	"maps"
	"math"
	"slices"

	"paceline/batcher"
)

// mergeKeys names what requests ask for: those of one name have one answer, and can
// share a prompt. The two seeds are this process's own: nobody
// outside can choose prompts that collide.
type mergeKeys struct{ seeds [2]maphash.Seed }

func newMergeKeys() mergeKeys {
	return mergeKeys{[2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// of is the identity of a prompt with all its options, of which its batchKey is key, or
// zero where the answer to the same question may differ: a token that is sampled. Of
// the prompt it goes over what the last name of the prefix does not stand for: samePrompt
// says the rest.
func (n mergeKeys) of(p *Prompt, key string, prefix batcher.Prefix) batcher.Identity {
	r := &p.Request
	if t := r.Sampling.Temperature; r.MaxNewTokens > 0 && (t != nil && *t > 0 || r.Sampling.Raw != nil) {
		return batcher.Identity{}
	}
	named := appendOptions(make([]byte, 0, 160), p, key)
	text, ids := r.Text, r.InputIDs
	if blocks := len(prefix); blocks > 0 {
		named = binary.LittleEndian.AppendUint64(named, prefix[blocks-1])
		text, ids = text[min(len(text), blocks*batcher.BlockBytes):], ids[min(len(ids), blocks*batcher.BlockTokens):]
	}
	return batcher.Identity{nameOf(n.seeds[0], named, text, ids) | 1, nameOf(n.seeds[1], named, text, ids) | 1} // never zero
}

// samePrompt says whether two prompts of one identity are the same, whatever their
// names are made of.
func samePrompt(p, q *Prompt) bool {
	return p.Request.Text == q.Request.Text && slices.Equal(p.Request.InputIDs, q.Request.InputIDs)
}

// nameOf is a name of what is asked of a prompt, and of the prompt's end.
func nameOf(seed maphash.Seed, options []byte, text string, ids []int32) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.Write(options)
	_, _ = h.WriteString(text)
	var block [batcher.BlockBytes]byte
	for part := range slices.Chunk(ids, batcher.BlockTokens) {
		for i, id := range part {
			binary.LittleEndian.PutUint32(block[4*i:], uint32(id))
		}
		_, _ = h.Write(block[:4*len(part)])
	}
	return h.Sum64()
}

// appendOptions writes everything but the prompt itself, each part so that it
// can't run into the next.
func appendOptions(b []byte, p *Prompt, key string) []byte {
	r := &p.Request
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	number := func(v int64) { b = binary.AppendVarint(b, v) }
	text(key)
	text(r.CacheSalt)
	if r.KeepRaw { // its answer holds more than others
		number(1)
	}
	number(int64(len(r.Text)))
	number(int64(len(r.InputIDs)))
	if o := r.Logprobs; o != nil {
		number(int64(o.TopK) + 1)
		number(optional(o.PromptStart))
		for _, id := range o.TokenIDs {
			number(int64(id))
		}
	}
	number(-1)
	if r.MaxNewTokens == 0 {
		return b // how the token is chosen has no effect
	}
	for _, token := range slices.Sorted(maps.Keys(r.Sampling.LogitBias)) {
		number(int64(token))
		number(int64(math.Float32bits(r.Sampling.LogitBias[token])))
	}
	return b
}

func optional(v *int) int64 {
	if v == nil {
		return -1
	}
	return int64(*v)
}
