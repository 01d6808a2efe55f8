package phrase

import (
	"fmt"
	"strings"
)

// Language is a language that reports are written in.
type Language string

// The languages.
const (
	English Language = "en"
	Chinese Language = "zh" // simplified
)

// Named finds a language by its code. An error says what was expected.
func Named(code string) (Language, error) {
	switch l := Language(strings.ToLower(code)); l {
	case English, Chinese:
		return l, nil
	}
	return "", fmt.Errorf("must be en or zh, got %q", code)
}

// Tag is what HTML calls the language.
func (l Language) Tag() string {
	if l == Chinese {
		return "zh-Hans"
	}
	return string(l)
}

// Translated says whether there is a translation for an English format.
func (l Language) Translated(format string) bool {
	_, ok := chinese[format]
	return ok || l == English
}

// format is the language's format for the English one.
func (l Language) format(english string) string {
	if l == Chinese {
		if text, ok := chinese[english]; ok {
			return text
		}
	}
	return english
}

// words are what holds phrases together.
type words struct{ comma, part, and, or, semicolon, space string }

func (l Language) words() words {
	if l == Chinese {
		return words{"、", "，", " 和 ", " 或 ", "；", ""}
	}
	return words{", ", ", ", " and ", " or ", "; ", " "}
}
