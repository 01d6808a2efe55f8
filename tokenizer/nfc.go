package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// joiner is the character that golang.org/x/text inserts after every thirty combining marks
// in a row, to normalize streams with a bounded buffer. Unicode's normal form has none.
const joiner = "\u034f"

// normal returns a text in normal form C.
func normal(text string) string {
	if beforeMarks(text) || norm.NFC.IsNormalString(text) {
		return text
	}
	out := norm.NFC.String(text)
	if strings.Count(out, joiner) == strings.Count(text, joiner) {
		return out
	}
	return normalUnbounded(text)
}

// beforeMarks reports whether all characters are below U+0300. Normal form C leaves these
// as they are, and their UTF-8 has no byte from 0xcc on.
func beforeMarks(text string) bool {
	for i := range len(text) {
		if text[i] >= 0xcc {
			return false
		}
	}
	return true
}

// normalUnbounded follows Unicode's annex 15 exactly, for texts with very many marks in a
// row: it decomposes, sorts the marks, and composes again.
func normalUnbounded(text string) string {
	var runes []rune
	for _, r := range text {
		runes = append(runes, []rune(norm.NFD.String(string(r)))...)
	}
	for from := 0; from < len(runes); from++ {
		to := from
		for to < len(runes) && markOf(runes[to]) > 0 {
			to++
		}
		slices.SortStableFunc(runes[from:to], func(a, b rune) int { return int(markOf(a)) - int(markOf(b)) })
		from = to
	}
	out := runes[:0]
	starter, last := -1, uint8(0) // index in out; class of the last mark kept after it
	for _, r := range runes {
		mark := markOf(r)
		if starter >= 0 && (last < mark || last == 0 && starter == len(out)-1) {
			if both, ok := composed(out[starter], r); ok {
				out[starter] = both
				continue
			}
		}
		if mark == 0 {
			starter = len(out)
		}
		last = mark
		out = append(out, r)
	}
	return string(out)
}

// markOf returns the canonical combining class; 0 means that r is no mark.
func markOf(r rune) uint8 { return norm.NFC.PropertiesString(string(r)).CCC() }

// composed returns the one character that a and b compose to, if there is one.
func composed(a, b rune) (rune, bool) {
	both := norm.NFC.String(string(a) + string(b))
	r, n := utf8.DecodeRuneInString(both)
	return r, n == len(both)
}
