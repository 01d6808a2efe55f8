package batcher

import (
	"encoding/binary"
	"hash/maphash"
)

// Prefix names the beginnings of a prompt: element i stands for its first i+1
// blocks, so two prompts share their first k blocks exactly when their first k
// elements are equal (but for collisions of 64 bits, which could cost a little
// order and never an answer). A last block that is not full is not named. Values
// are comparable only within one process, and must not be changed once submitted.
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
	return prefixOf(len(ids)/BlockTokens, space, func(i int) uint64 {
		var block [BlockBytes]byte
		for k, id := range ids[i*BlockTokens : (i+1)*BlockTokens] {
			binary.LittleEndian.PutUint32(block[4*k:], uint32(id))
		}
		return maphash.Bytes(seed, block[:])
	})
}

// PrefixOfText names the beginnings of a prompt of text. A text and the token
// ids of that text share nothing.
func PrefixOfText(text, space string) Prefix {
	return prefixOf(len(text)/BlockBytes, "text "+space, func(i int) uint64 {
		return maphash.String(seed, text[i*BlockBytes:(i+1)*BlockBytes])
	})
}

// prefixOf names the beginnings of a prompt of so many blocks by their hashes: the
// name of each is made of the one above and the block's.
func prefixOf(blocks int, space string, hash func(i int) uint64) Prefix {
	p := make(Prefix, blocks)
	above := maphash.String(seed, space)
	for i := range p {
		var named [16]byte
		binary.LittleEndian.PutUint64(named[:], above)
		binary.LittleEndian.PutUint64(named[8:], hash(i))
		above = maphash.Bytes(seed, named[:])
		p[i] = above
	}
	return p
}
