package sim

import "unicode/utf8"

// Tokenize cuts text into pseudo token ids below vocab. It follows the shape of
// Qwen2.5's pattern (a word with the space before it, single digits, runs of
// punctuation, line ends with what follows) and cuts long words at fixed lengths. So
// token counts are about right, and the tokens of a prefix of a text are, except for
// the last, a prefix of its tokens. The ids mean nothing.
func Tokenize(text string, vocab int) []int32 {
	ids := make([]int32, 0, len(text)/3)
	for i := 0; i < len(text); {
		end := i + pieceLen(text[i:])
		ids = append(ids, pieceID(text[i:end], vocab))
		i = end
	}
	return ids
}

// Max bytes of the pieces. With these values the totals of real prompts agree with
// Qwen2.5's tokenizer (see tokens_test.go).
const (
	maxWord  = 9 // letters of one token, with the space before them
	maxPunct = 3
)

// pieceLen returns the bytes of the first piece of a text, which must not be empty.
func pieceLen(s string) int {
	c := s[0]
	switch {
	case c >= utf8.RuneSelf:
		_, n := utf8.DecodeRuneInString(s)
		return n
	case isDigit(c):
		return 1
	case isLetter(c):
		return wordLen(s, 0)
	case c == ' ' && len(s) > 1 && isLetter(s[1]):
		return wordLen(s, 1)
	case c == ' ' && len(s) > 1 && isPunct(s[1]):
		return punctLen(s, 1)
	case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		return spaceLen(s)
	}
	if isPunct(c) && len(s) > 1 && isLetter(s[1]) {
		return wordLen(s, 1)
	}
	return punctLen(s, 0)
}

func wordLen(s string, start int) int {
	n := start + 1
	for n < len(s) && n-start < maxWord && isLetter(s[n]) && !isCamelHump(s[n-1], s[n]) {
		n++
	}
	return n
}

// spaceLen returns the bytes of a run of white space. It leaves the last blank to a word
// after it, as the pattern does.
func spaceLen(s string) int {
	n, lineEnd := 0, 0
	for n < len(s) && (s[n] == ' ' || s[n] == '\t' || s[n] == '\n' || s[n] == '\r') {
		n++
		if s[n-1] == '\n' {
			lineEnd = n
		}
	}
	if lineEnd > 0 {
		return lineEnd
	}
	if n > 1 && n < len(s) {
		n--
	}
	return n
}

func punctLen(s string, start int) int {
	n := start + 1
	for n < len(s) && n-start < maxPunct && isPunct(s[n]) {
		n++
	}
	for n < len(s) && s[n] == '\n' {
		n++
	}
	return n
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isPunct reports whether c is printable and neither letter nor digit.
func isPunct(c byte) bool { return c > ' ' && c < 0x7f && !isLetter(c) && !isDigit(c) }

func isCamelHump(before, c byte) bool { return before >= 'a' && c <= 'Z' }

// pieceID returns the id of a piece, by its FNV-1a hash.
func pieceID(s string, vocab int) int32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return int32(h % uint32(vocab))
}
