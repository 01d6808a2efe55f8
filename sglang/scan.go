package sglang

import (
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
)

// scanner reads JSON in one pass, into variables that its caller knows:
// encoding/json looks at each byte three times and finds every field by reflection.
//
// It is strict: what it takes, encoding/json takes, too, and makes the same of it.
// Whatever is out of the ordinary makes it bad, for good; then encoding/json is to
// read the whole document.
type scanner struct {
	data []byte
	at   int // of the next byte
	bad  bool
}

// deepest is how deep values may be nested that are passed over; SGLang's have two
// levels.
const deepest = 16

// end is bad where something is left.
func (s *scanner) end() {
	s.space()
	s.bad = s.bad || s.at != len(s.data)
}

// list calls element at the beginning of each element, which is to read it.
func (s *scanner) list(element func()) { s.sequence('[', ']', element) }

// object calls field at the beginning of each field's value, which is to read it and
// return the field's own number, or 0 where it only passed over it. A field that comes
// twice is bad. Names are in small letters, so that encoding/json, which ignores case,
// finds the same.
func (s *scanner) object(field func(name []byte) int) {
	var seen uint64
	s.sequence('{', '}', func() {
		name := s.quoted()
		for _, c := range name {
			s.bad = s.bad || c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9')
		}
		s.colon()
		if s.bad || name == nil {
			s.bad = true
			return
		}
		if bit := uint64(1) << field(name); bit > 1 {
			s.bad = s.bad || seen&bit != 0
			seen |= bit
		}
	})
}

// sequence passes over what stands between first and last, with commas between.
func (s *scanner) sequence(first, last byte, one func()) {
	s.space()
	s.take(first)
	if s.space(); s.peek() == last {
		s.at++
		return
	}
	for !s.bad {
		one()
		s.space()
		if s.peek() == last {
			s.at++
			return
		}
		s.take(',')
		s.space()
	}
}

// text reads a string. One that is as expected needs no memory of its own.
func (s *scanner) text(to *string, expected string) {
	from := s.at
	if s.peek() != '"' {
		s.other(to)
		return
	}
	switch inside := s.quoted(); {
	case s.bad:
	case len(inside) != s.at-from-2: // escaped
		s.bad = json.Unmarshal(s.data[from:s.at], to) != nil
	case string(inside) == expected:
		*to = expected
	default:
		*to = string(inside)
	}
}

// count reads a number.
func (s *scanner) count(to *int) {
	from := s.at
	s.pass(0)
	n := 0
	for _, c := range s.data[from:min(s.at, len(s.data))] {
		if c < '0' || c > '9' || n > math.MaxInt32 {
			s.at = from
			s.other(to)
			return
		}
		n = 10*n + int(c-'0')
	}
	*to = n
}

// ids reads a list of numbers, short as a rule.
func (s *scanner) ids(to *[]int32) {
	if s.peek() != '[' {
		s.other(to)
		return
	}
	*to = make([]int32, 0, 1)
	s.list(func() {
		n := 0
		s.count(&n)
		s.bad = s.bad || n < math.MinInt32 || n > math.MaxInt32
		*to = append(*to, int32(n))
	})
}

// seconds reads a number that need not be whole.
func (s *scanner) seconds(to *float64) {
	value := s.raw()
	if s.bad || string(value) == "null" {
		return
	}
	var err error
	*to, err = strconv.ParseFloat(string(value), 64)
	s.bad = err != nil
}

// optionalCount reads a number, or null.
func (s *scanner) optionalCount(to **int) {
	if s.peek() == 'n' {
		s.other(to)
		return
	}
	*to = new(int)
	s.count(*to)
}

// other reads a value that is rare, or has no simple form.
func (s *scanner) other(to any) {
	switch value := s.raw(); {
	case s.bad, string(value) == "null":
	default:
		s.bad = json.Unmarshal(value, to) != nil
	}
}

// raw is a value as it stands there.
func (s *scanner) raw() []byte {
	from := s.at
	if s.pass(0); s.bad {
		return nil
	}
	return s.data[from:s.at:s.at]
}

// pass passes over a value.
func (s *scanner) pass(depth int) {
	if depth > deepest {
		s.bad = true
		return
	}
	switch s.peek() {
	case '{':
		s.sequence('{', '}', func() {
			s.quoted()
			s.colon()
			s.pass(depth + 1)
		})
	case '[':
		s.sequence('[', ']', func() { s.pass(depth + 1) })
	case '"':
		s.quoted()
	default:
		s.scalar()
	}
}

// quoted passes over a string and returns what stands between its quotes; nil for one
// with escapes.
func (s *scanner) quoted() []byte {
	from := s.at
	s.take('"')
	escaped, ascii := false, true
	for !s.bad && s.peek() != '"' {
		switch c := s.peek(); {
		case c < ' ': // or the end
			s.bad = true
		case c == '\\':
			escaped = true
			s.at++ // what is escaped may be a quote
		case c >= utf8.RuneSelf:
			ascii = false
		}
		s.at++
	}
	if s.take('"'); s.bad {
		return nil
	}
	inside := s.data[from+1 : s.at-1]
	s.bad = !ascii && !utf8.Valid(inside) // of which encoding/json would make something else
	if escaped {
		s.bad = s.bad || !json.Valid(s.data[from:s.at])
		return nil
	}
	return inside
}

// scalar passes over a number, true, false or null.
func (s *scanner) scalar() {
	from, digits := s.at, true
	for ; s.at < len(s.data) && !afterScalar[s.data[s.at]]; s.at++ {
		digits = digits && '0' <= s.data[s.at] && s.data[s.at] <= '9'
	}
	value := s.data[from:s.at]
	if digits && len(value) > 0 && (value[0] != '0' || len(value) == 1) || string(value) == "null" {
		return
	}
	s.bad = s.bad || !json.Valid(value)
}

// afterScalar are the bytes that end a scalar.
var afterScalar = [256]bool{',': true, ']': true, '}': true, ' ': true, '\n': true, '\t': true, '\r': true}

// peek is the next byte; 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

func (s *scanner) take(c byte) {
	if s.peek() != c {
		s.bad = true
		return
	}
	s.at++
}

func (s *scanner) colon() {
	s.space()
	s.take(':')
	s.space()
}

func (s *scanner) space() {
	for c := s.peek(); c == ' ' || c == '\n' || c == '\t' || c == '\r'; c = s.peek() {
		s.at++
	}
}
