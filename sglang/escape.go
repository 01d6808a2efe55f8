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
		b = slices.Grow(b, len(s)+len(s)/8+2*word) // a newline or a quote in every eight bytes: mostly enough
		out := b[:cap(b)]
		i := 0
		for i+word <= len(s) && n+2*word <= len(out) {
			x := firstWord(s[i : i+word])
			binary.LittleEndian.PutUint64(out[n:], x)
			special := specials(x)
			if special == 0 {
				i, n = i+word, n+word
				continue
			}
			plain := bits.TrailingZeros64(special) / word
			e := &escapes[byte(x>>(plain*word))]
			binary.LittleEndian.PutUint64(out[n+plain:], e.word)
			i, n = i+plain+1, n+plain+len(e.text)
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

// word is how many bytes are looked at together.
const word = 8

// firstWord is the beginning of a string, its first byte the lowest.
func firstWord(s string) uint64 {
	_ = s[word-1] // checked once, so that one instruction loads it
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// specials has the highest bit of a byte set where the byte is to be escaped. Of those
// above the lowest one some may be set wrongly.
func specials(x uint64) uint64 {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	quote, slash := x^'"'*ones, x^'\\'*ones
	control := (x - ' '*ones) &^ x
	return (control | (quote-ones)&^quote | (slash-ones)&^slash) & highs
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
