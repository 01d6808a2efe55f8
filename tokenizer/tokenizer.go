package tokenizer

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// Tokenizer is one vocabulary. It is immutable and safe for concurrent use, and keeps no
// text that it encodes. Qwen's takes about 15 MiB.
type Tokenizer struct {
	text    string   // of all tokens, concatenated
	ends    []uint32 // end of each id's text, which begins at the end of id-1
	added   []addedToken
	start   byte // first byte of all added tokens
	byteIDs [256]uint32
	pieces  map[string]uint32 // ids of the pieces that merge to one token, as most do
	pairs   pairs
	scratch sync.Pool // *scratch
}

// addedToken is a token that is found verbatim in a text.
type addedToken struct {
	id   uint32
	text string
}

// Size returns one more than the largest id. A model may know more ids than its tokenizer
// makes.
func (t *Tokenizer) Size() int { return len(t.ends) }

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
		at, token := t.findAdded(text)
		dst = t.appendPlain(dst, text[:at], s)
		if token == nil {
			break
		}
		dst = append(dst, int32(token.id))
		text = text[at+len(token.text):]
	}
	return dst
}

// findAdded finds the first added token in a text, the longest if several begin there. If
// there is none, at is the length of the text.
func (t *Tokenizer) findAdded(text string) (at int, found *addedToken) {
	for {
		next := strings.IndexByte(text[at:], t.start)
		if next < 0 {
			return len(text), nil
		}
		at += next
		for i := range t.added {
			a := &t.added[i]
			if strings.HasPrefix(text[at:], a.text) && (found == nil || len(a.text) > len(found.text)) {
				found = a
			}
		}
		if found != nil {
			return at, found
		}
		at++
	}
}

// appendPlain appends the ids of text without added tokens.
func (t *Tokenizer) appendPlain(dst []int32, text string, s *scratch) []int32 {
	text = normal(text)
	for text != "" {
		n := pieceLen(text)
		if id, ok := t.pieces[text[:n]]; ok {
			dst = append(dst, int32(id))
		} else {
			dst = t.merge(dst, text[:n], s)
		}
		text = text[n:]
	}
	return dst
}

// token returns the text of an id.
func (t *Tokenizer) token(id uint32) string {
	begin := uint32(0)
	if id > 0 {
		begin = t.ends[id-1]
	}
	return t.text[begin:t.ends[id]]
}
