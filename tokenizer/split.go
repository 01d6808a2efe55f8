package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// splitPattern cuts text into pieces for the Qwen family. pieceLen does the same by hand,
// because Go's regexp has no lookahead and is slow.
const splitPattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// class is a class of characters in the pattern.
type class uint8

const (
	other   class = iota // punctuation, symbols, marks and all else
	letter               // \p{L}
	number               // \p{N}
	space                // \s except newline
	newline              // \r and \n
	unknown              // not known from one byte
)

func classOf(r rune) class {
	switch {
	case r == '\r' || r == '\n':
		return newline
	case unicode.IsSpace(r):
		return space
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	}
	return other
}

// ascii maps bytes below 128 to their classes. Others are parts of longer characters.
var ascii = func() (c [256]class) {
	for r := range c {
		if c[r] = unknown; r < utf8.RuneSelf {
			c[r] = classOf(rune(r))
		}
	}
	return c
}()

// look returns the class of the character at text[at:], and its length; 0 at the end.
func look(text string, at int) (class, int) {
	if at >= len(text) {
		return other, 0
	}
	if c := ascii[text[at]]; c != unknown {
		return c, 1
	}
	r, n := utf8.DecodeRuneInString(text[at:])
	return classOf(r), n
}

// run returns the end of the characters of a class that begin at text[at:].
func run(text string, at int, of class) int {
	for {
		for at < len(text) && ascii[text[at]] == of {
			at++
		}
		if at == len(text) || text[at] < utf8.RuneSelf {
			return at
		}
		c, n := look(text, at)
		if c != of {
			return at
		}
		at += n
	}
}

// pieceLen returns the length of the first piece of a text, which must not be empty.
func pieceLen(text string) int {
	first, n := look(text, 0)
	if text[0] == '\'' {
		if n := contraction(text); n > 0 {
			return n
		}
	}
	switch first {
	case letter:
		return run(text, n, letter)
	case number:
		return n
	case newline:
		return spaces(text)
	}
	next, m := look(text, n)
	switch {
	case m > 0 && next == letter: // a word, with one character before it that is no number
		return run(text, n+m, letter)
	case first == other:
		return run(text, run(text, n, other), newline)
	case m > 0 && next == other && text[0] == ' ':
		return run(text, run(text, n+m, other), newline)
	}
	return spaces(text)
}

// spaces returns the length of the piece of a text that begins with a space or newline: up
// to the last newline of the spaces, or all but the last space, which belongs to the next
// word.
func spaces(text string) int {
	at, last, line := 0, 0, 0
	for {
		c, n := look(text, at)
		if n == 0 || c != space && c != newline {
			break
		}
		last = at
		at += n
		if c == newline {
			line = at
		}
	}
	switch {
	case line > 0:
		return line
	case at == len(text) || last == 0:
		return at
	}
	return last
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd, in either case, at the
// beginning of a text, or 0. By case folding, the long s (ſ) is an s.
func contraction(text string) int {
	for _, c := range []string{"'s", "'t", "'m", "'d", "'ſ", "'re", "'ve", "'ll"} {
		if len(text) >= len(c) && (text[:len(c)] == c || strings.EqualFold(text[:len(c)], c)) {
			return len(c)
		}
	}
	return 0
}
