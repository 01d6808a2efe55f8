package batcher

import (
	"encoding/binary"
	"hash/maphash"
)

// Prefix names the beginnings of a prompt: element i stands for its first i+1
// blocks, so two prompts share their first k blocks exactly when their first k
// elements are equal (but for collisions of 64 bits, which could cost a little
// order and never an answer). A last block that is not full is not named. Values
// are comparable only within one process.
type Prefix []uint64

// BlockBytes is the length of a block: 64 token ids of 4 bytes, or about as
// many tokens' worth of text. Long enough that naming a prompt costs little, and
// short enough that less than a block of sharing goes unseen.
const (
	BlockBytes  = 256
	BlockTokens = BlockBytes / 4
)

// seed is drawn once, so that nobody outside can choose prompts that collide.
var seed = maphash.MakeSeed()

// PrefixOfTokens names the beginnings of a prompt of token ids. Prompts of
// different space share nothing: salts, adapters.
func PrefixOfTokens(ids []int32, space string) Prefix {
	p := make(Prefix, 0, len(ids)/BlockTokens)
	above := maphash.String(seed, space)
	var block [8 + BlockBytes]byte
	for len(ids) >= BlockTokens {
		binary.LittleEndian.PutUint64(block[:], above)
		for i, id := range ids[:BlockTokens] {
			binary.LittleEndian.PutUint32(block[8+4*i:], uint32(id))
		}
		above = maphash.Bytes(seed, block[:])
		p, ids = append(p, above), ids[BlockTokens:]
	}
	return p
}

// PrefixOfText names the beginnings of a prompt of text. A text and the token
// ids of that text share nothing.
func PrefixOfText(text, space string) Prefix {
	p := make(Prefix, 0, len(text)/BlockBytes)
	above := maphash.String(seed, "text "+space)
	var block [8 + BlockBytes]byte
	for len(text) >= BlockBytes {
		binary.LittleEndian.PutUint64(block[:], above)
		copy(block[8:], text[:BlockBytes])
		above = maphash.Bytes(seed, block[:])
		p, text = append(p, above), text[BlockBytes:]
	}
	return p
}
