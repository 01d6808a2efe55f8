package server

import (
	"encoding/binary"
	"hash/maphash"
	"maps"
	"math"
	"slices"

	"paceline/batcher"
	"paceline/batcher/prefix"
)

// identities makes the merge keys of requests. The seed is this process's own.
type identities struct{ seed maphash.Seed }

func newIdentities() identities { return identities{maphash.MakeSeed()} }

// of returns the merge key of a prompt with all its options, of which its batchKey is
// key. It is zero where the answer to the same question may differ: a token that is
// sampled. Its hash goes over what the last name of the prefix does not stand for.
func (n identities) of(p *prompt, key string, names prefix.Prefix) batcher.MergeKey {
	r := &p.request
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
	k.Hash = hashOf(n.seed, options, text, ids) | 1 // never zero
	return k
}

// hashOf hashes what is asked of a prompt, and the prompt's end.
func hashOf(seed maphash.Seed, options []byte, text string, ids []int32) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.Write(options)
	_, _ = h.WriteString(text)
	var block [prefix.BlockBytes]byte
	for part := range slices.Chunk(ids, prefix.BlockTokens) {
		for i, id := range part {
			binary.LittleEndian.PutUint32(block[4*i:], uint32(id))
		}
		_, _ = h.Write(block[:4*len(part)])
	}
	return h.Sum64()
}

// appendOptions writes everything but the prompt itself, each part so that it
// can't run into the next.
func appendOptions(b []byte, p *prompt, key string) []byte {
	r := &p.request
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
