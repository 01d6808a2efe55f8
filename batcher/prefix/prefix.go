// Package prefix orders waiting prompts so that a server reads every shared
// beginning once.
//
// A Prefix names the beginnings of a prompt, block by block. A Model keeps what
// the server's prefix cache is believed to hold. A Group keeps the waiting
// prompts of one caller as a tree of their prefixes, walked in depth: of those
// that share a new prefix one leads, and the others follow after its answer.
//
// A prompt's way: Group.Add, then Group.Next chooses it, Model.Send takes it out
// of the tree, Model.Answer learns from its answer, Model.Finish frees its
// followers.
//
// The package is pure: no locks, no clock, no goroutines. A Model and its Groups
// are used by one goroutine at a time.
//
// Read prefix.go first, then model.go and tree.go.
package prefix

import (
	"encoding/binary"
	"hash/maphash"
)

// Prefix names the beginnings of a prompt: element i stands for its first i+1
// blocks, so two prompts share their first k blocks exactly when their first k
// elements are equal. A collision of 64 bits costs some order, never an answer.
// A last block that is not full has no name. Values are comparable only within
// one process, and must not be changed once submitted.
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

// OfTokens names the beginnings of a prompt of token ids. Prompts of different
// spaces (salts, adapters) share nothing.
func OfTokens(ids []int32, space string) Prefix {
	return of(len(ids)/BlockTokens, space, func(i int) uint64 {
		var block [BlockBytes]byte
		for k, id := range ids[i*BlockTokens : (i+1)*BlockTokens] {
			binary.LittleEndian.PutUint32(block[4*k:], uint32(id))
		}
		return maphash.Bytes(seed, block[:])
	})
}

// OfText names the beginnings of a prompt of text. A text and the token ids of
// that text share nothing.
func OfText(text, space string) Prefix {
	return of(len(text)/BlockBytes, "text "+space, func(i int) uint64 {
		return maphash.String(seed, text[i*BlockBytes:(i+1)*BlockBytes])
	})
}

// of makes each name from the name above and the hash of the block.
func of(blocks int, space string, hash func(i int) uint64) Prefix {
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
