package tokenizer

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// Tokenizer is one vocabulary. It never changes, keeps nothing of what it encodes, and is
// safe for concurrent use. Qwen's takes about 25 MiB.
type Tokenizer struct {
	text    string   // of all tokens, one after the other
	plain   int      // tokens that are not added
	ends    []uint32 // where each id's text ends; it begins where that of id-1 ends
	added   *trie    // of tokens that are found in text as they stand
	start   byte     // first byte of all added tokens
	byteIDs [256]uint32
	pieces  map[string]uint32 // ids of the pieces that merge to one token, as most do
	pairs   pairs
	made    []made    // by id
	trie    *trie     // of pieces
	scratch sync.Pool // *scratch
}

// Size is one more than the largest id. A model may know more ids than its tokenizer
// makes.
func (t *Tokenizer) Size() int { return len(t.ends) }

// Plain is the number of ids without those of added tokens, which come after them.
func (t *Tokenizer) Plain() int { return t.plain }

// Encode returns the ids of a text, including those of added tokens in it. Bytes that are
// not UTF-8 count as U+FFFD.
func (t *Tokenizer) Encode(text string) []int32 {
	return t.appendEncode(make([]int32, 0, len(text)/3+1), text)
}

// appendEncode appends the ids of a text to dst. It allocates nothing if dst has room and
// the text is in normal form C.
func (t *Tokenizer) appendEncode(dst []int32, text string) []int32 {
	if !utf8.ValidString(text) {
		text = string([]rune(text))
	}
	s, _ := t.scratch.Get().(*scratch)
	if s == nil {
		s = new(scratch)
	}
	defer t.scratch.Put(s)
	for text != "" {
		at, id := t.findAdded(text)
		dst = t.appendPlain(dst, text[:at], s)
		if id == never {
			break
		}
		dst = append(dst, int32(id))
		text = text[at+t.size(id):]
	}
	return dst
}

// findAdded finds the first added token in a text, the longest if several begin there.
// If there is none, at is the text's length and id is never.
func (t *Tokenizer) findAdded(text string) (at int, id uint32) {
	for {
		next := strings.IndexByte(text[at:], t.start)
		if next < 0 {
			return len(text), never
		}
		at += next
		if id = t.added.longest(text[at:]); id != never {
			return at, id
		}
		at++
	}
}

// appendPlain appends the ids of text without added tokens.
func (t *Tokenizer) appendPlain(dst []int32, text string, s *scratch) []int32 {
	text = normal(text)
	for text != "" {
		n := pieceLen(text)
		if n == 1 {
			dst = append(dst, int32(t.byteIDs[text[0]]))
		} else if id, ok := t.pieces[text[:n]]; ok {
			dst = append(dst, int32(id))
		} else {
			dst = t.merge(dst, text[:n], s)
		}
		text = text[n:]
	}
	return dst
}

// size is the length of an id's text, bytes.
func (t *Tokenizer) size(id uint32) int { return len(t.token(id)) }

// token is the text of an id.
func (t *Tokenizer) token(id uint32) string {
	begin := uint32(0)
	if id > 0 {
		begin = t.ends[id-1]
	}
	return t.text[begin:t.ends[id]]
}
