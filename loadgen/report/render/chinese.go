package render

import (
	"regexp"
	"strings"
	"sync"
)

// stored is a sentence that results.json holds in English.
type stored struct {
	english *regexp.Regexp
	chinese string // with %s for each of its parts
}

// storedSentences reads zh.stored.txt.
var storedSentences = sync.OnceValue(func() (all []stored) {
	text, err := files.ReadFile("zh.stored.txt")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, pair := range strings.Split(strings.TrimSpace(string(text)), "\n\n")[1:] {
		english, chinese, _ := strings.Cut(pair, "\n")
		all = append(all, stored{regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(english), "%s", "(.+?)") + "$"), chinese})
	}
	return all
})

// fromEnglish translates a stored sentence. It returns a sentence without a translation unchanged.
func (l *Language) fromEnglish(english string) string {
	english = cell(english)
	if l.Code != "zh" {
		return english
	}
	for _, s := range storedSentences() {
		if m := s.english.FindStringSubmatch(english); m != nil {
			text := s.chinese
			for _, part := range m[1:] {
				text = strings.Replace(text, "%s", l.fromEnglish(part), 1)
			}
			return text
		}
	}
	if first, rest, several := strings.Cut(english, "; "); several {
		return l.fromEnglish(first) + l.semicolon + l.fromEnglish(rest)
	}
	return english
}
