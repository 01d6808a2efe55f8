// Package phrase is what the reports say, before it is said in a language.
//
// A Phrase is an English sentence with what goes into it: phrase.Say("batch size
// %d has the highest figure", n). The English stays readable where it is used, and
// is what other languages are found by: chinese.go has a line for each. A phrase
// without one comes out in English, and a test of package report names it.
//
// To add a sentence: write it with Say, Count or List, run go test
// ./loadgen/report, and add to chinese.go what the test asks for. A translation has
// the same verbs, in any order (%[2]s), and the same digits.
//
// The package knows no figures and no layout.
package phrase

import (
	"fmt"
	"strings"

	"paceline/loadgen/number"
)

// Phrase is words that are in no language yet. The zero value is empty. It is safe
// for concurrent use if what went into it is.
type Phrase struct{ in func(Language) string }

// Say makes a phrase of an English format of package fmt. Arguments that are
// phrases come out in the same language.
func Say(format string, args ...any) Phrase {
	if false {
		_ = fmt.Sprintf(format, args...) // has go vet check the verbs
	}
	return Phrase{func(l Language) string {
		own := make([]any, len(args))
		for i, a := range args {
			own[i] = a
			if p, ok := a.(Phrase); ok {
				own[i] = p.In(l)
			}
		}
		if len(own) == 0 {
			return strings.ReplaceAll(l.format(format), "%%", "%")
		}
		return fmt.Sprintf(l.format(format), own...)
	}}
}

// Count says how many there are. Both forms have one %s, for the number; languages
// that don't decline are looked up by many.
func Count[N int | int64](n N, one, many string) Phrase {
	return Phrase{func(l Language) string {
		if n == 1 && l == English {
			return fmt.Sprintf(one, "1")
		}
		return fmt.Sprintf(l.format(many), number.Thousands(n))
	}}
}

// Term is a word or few without anything that goes into them, such as a column's
// head.
func Term(english string) Phrase {
	return Phrase{func(l Language) string { return l.format(english) }}
}

// Name is somebody's name, or a figure: the same in every language.
func Name(s string) Phrase { return Phrase{func(Language) string { return s }} }

// Names are names.
func Names(all []string) []Phrase {
	out := make([]Phrase, len(all))
	for i, s := range all {
		out[i] = Name(s)
	}
	return out
}

// List is a list in a sentence: a, b and c.
func List(items []Phrase) Phrase {
	return Phrase{func(l Language) string {
		texts := In(l, items)
		if len(texts) < 2 {
			return strings.Join(texts, "")
		}
		return strings.Join(texts[:len(texts)-1], l.words().comma) + l.words().and + texts[len(texts)-1]
	}}
}

// Series is items one after the other: a, b, c.
func Series(items []Phrase) Phrase {
	return Phrase{func(l Language) string { return strings.Join(In(l, items), l.words().comma) }}
}

// Parts are what a name is made of: a, b, c.
func Parts(items []Phrase) Phrase {
	return Phrase{func(l Language) string { return strings.Join(In(l, items), l.words().part) }}
}

// Either is a choice: a or b or c.
func Either(items []Phrase) Phrase {
	return Phrase{func(l Language) string { return strings.Join(In(l, items), l.words().or) }}
}

// Clauses are parts of a sentence: a; b; c.
func Clauses(items []Phrase) Phrase {
	return Phrase{func(l Language) string { return strings.Join(In(l, items), l.words().semicolon) }}
}

// Sentences are sentences, one after the other. Empty ones leave no gap.
func Sentences(all ...Phrase) Phrase {
	return Phrase{func(l Language) string {
		var texts []string
		for _, p := range all {
			if text := p.In(l); text != "" {
				texts = append(texts, text)
			}
		}
		return strings.Join(texts, l.words().space)
	}}
}

// Capital is p as the beginning of a sentence.
func Capital(p Phrase) Phrase {
	return Phrase{func(l Language) string {
		text := p.In(l)
		if text == "" {
			return ""
		}
		r := []rune(text)
		return strings.ToUpper(string(r[:1])) + string(r[1:])
	}}
}

// In is the phrase in a language.
func (p Phrase) In(l Language) string {
	if p.in == nil {
		return ""
	}
	return p.in(l)
}

// Empty says whether there are no words in it.
func (p Phrase) Empty() bool { return p.In(English) == "" }

// String is the phrase in English.
func (p Phrase) String() string { return p.In(English) }

// In is all of them in a language.
func In(l Language, all []Phrase) []string {
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = p.In(l)
	}
	return out
}
