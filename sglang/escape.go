package sglang

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// appendString writes s as a JSON string. s is valid UTF-8; only what JSON demands is
// escaped. It goes through s by words of 8 bytes: prompts are long, and this is done
// to each of their bytes.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for len(s) >= word {
		n := len(b)
		b = slices.Grow(b, len(s)+len(s)/8+longestWord) // a newline or a quote in every eight bytes: mostly enough
		out := b[:cap(b)]
		i := 0
		for ; i+word <= len(s) && n+longestWord <= len(out); i += word {
			x := firstWord(s[i : i+word])
			binary.LittleEndian.PutUint64(out[n:], x)
			left := word // bytes of x
			for special := specials(x); special != 0; {
				plain := bits.TrailingZeros64(special) / word
				e := &escapes[byte(x>>(plain*word))]
				binary.LittleEndian.PutUint64(out[n+plain:], e.word)
				n += plain + len(e.text)
				x, special = x>>(plain*word)>>word, special>>(plain*word)>>word // by less than 64 at once
				left -= plain + 1
				binary.LittleEndian.PutUint64(out[n:], x)
			}
			n += left
		}
		b, s = out[:n], s[i:]
	}
	for i := range len(s) {
		if e := &escapes[s[i]]; e.text != "" {
			b = append(b, e.text...)
		} else {
			b = append(b, s[i])
		}
	}
	return append(b, '"')
}

// word is how many bytes are looked at together, and longestWord, how many may be
// written for them: each as \u00xx, and a word behind the last.
const (
	word        = 8
	longestWord = 6*word + word
)

// firstWord is the beginning of a string, its first byte the lowest.
func firstWord(s string) uint64 {
	_ = s[word-1] // checked once, so that one instruction loads it
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// specials has the highest bit of a byte set where the byte is to be escaped.
func specials(x uint64) uint64 {
	const (
		ones = 0x0101010101010101
		lows = 0x7f * ones
	)
	low := x & lows
	// The highest bit of each sum is set unless the byte is a quote, a backslash, or
	// below a space. Nothing is carried into the next byte.
	notQuote, notSlash, notControl := (low^'"'*ones)+lows, (low^'\\'*ones)+lows, low+(0x80-' ')*ones
	return ^(notQuote&notSlash&notControl | x) &^ lows
}

// escape is how a byte is written that does not stand for itself.
type escape struct {
	text string // empty: it stands for itself
	word uint64 // text, with zeros behind
}

var escapes = func() (all [256]escape) {
	set := func(c byte, text string) {
		all[c] = escape{text, firstWord((text + "\x00\x00\x00\x00\x00\x00\x00\x00")[:word])}
	}
	const hexDigits = "0123456789abcdef"
	for c := range byte(' ') {
		set(c, `\u00`+string([]byte{hexDigits[c>>4], hexDigits[c&15]}))
	}
	set('"', `\"`)
	set('\\', `\\`)
	set('\n', `\n`)
	set('\t', `\t`)
	set('\r', `\r`)
	return all
}()
