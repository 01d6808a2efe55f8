package tokenizer

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// sample is texts to compare.
type sample struct {
	name  string
	texts func(testing.TB) []string
}

func samples(tok *Tokenizer) []sample {
	return []sample{
		{"statements", func(t testing.TB) []string { return stringsOf(t, sharedData(t, "swe_verified_500.jsonl")) }},
		{"trajectories", func(t testing.TB) []string { return stringsOf(t, sharedData(t, "r2egym_trajectories_15.jsonl")) }},
		{"prompts", func(t testing.TB) []string {
			var all []string
			for _, name := range []string{"system.txt", "instance_apr2025_flat.txt", "instance_r2egym_later.txt"} {
				all = append(all, string(sharedData(t, "prompts/"+name)))
			}
			return all
		}},
		{"edges", func(testing.TB) []string { return edges() }},
		{"every character", func(testing.TB) []string { return everyCharacter() }},
		{"the vocabulary", func(testing.TB) []string { return vocabulary(tok) }},
		{"random text", func(testing.TB) []string { return randomTexts(20_000) }},
		{"random bytes", func(testing.TB) []string { return randomBytes(5_000) }},
		{"long pieces", func(testing.TB) []string { return longPieces() }},
	}
}

// stringsOf is every string in lines of JSON, each apart.
func stringsOf(t testing.TB, data []byte) []string {
	t.Helper()
	var all []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			all = append(all, v)
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	for line := range bytes.Lines(data) {
		var v any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		walk(v)
	}
	return all
}

func edges() []string {
	return []string{
		"", " ", "  ", "   x", "\n", "\r\n", " \n", "\n ", " \n ", "x \n y", "\t\tx", "a\r\rb", "\n\n\nx", " \u00a0x", "\u2028\u2029", "\u0085a",
		"don't", "DON'T", "we'LL", "'ſ", "'s", "'ſx", "''s", "'re've'm'd'll", "x'ſt", "'rE", "'K", " 's", "'S1",
		"123456", "1 2", "٣٤٥", "Ⅷ", "²³½", "x1y2", "१२३",
		"!!!", " !!!\n\n", "a!\r\n b", "...\n", " -> ", "!a", "#def", "_x", "\u0301a", "a\u0301", "e\u0301e\u0301", "a\u0323\u0307", "\u0345",
		"가", "ᄀ" + "ᅡ", "각", "한국어", "\u212b", "\u2126", "\ufb01", "ﬆ'ﬆ", "ö\u0308", "\u0344", "\u0958", "𝐀𝟏", "👍🏽👨‍👩‍👧", "日本語のテキスト", "Ünïcödé",
		"<|im_start|>user\nhi<|im_end|>", "<|im_start|", "<|im_end|><|im_end|>", "<<|endoftext|>>", "<think></think>", "<tool_call>{}</tool_call>", "< |im_end|>", "<|im_END|>", "<|im_end|>\u0338", "e<|im_end|>\u0301",
		"\x00\x01\x7f", "\ufeffx", "\ufffd", "\U0010ffff", "a\u200bb", "a\u00adb", "x\u180ey", "\u0e33", "ก็", "\u1680", "\u3000x", "\u202fy",
	}
}

func everyCharacter() []string {
	var all []string
	for r := rune(1); r <= unicode.MaxRune; r++ {
		if utf8.ValidRune(r) && unicode.Is(unicode.C, r) && r > 0x3134f && r < 0xe0000 {
			continue // nothing is assigned there
		}
		if utf8.ValidRune(r) {
			all = append(all, string(r)+"a"+string(r)+" "+string(r)+"\n")
		}
		if r == 0x3ffff {
			r = 0xdffff
		}
		if r == 0xe01ff {
			break // private use from here on
		}
	}
	return all
}

func vocabulary(tok *Tokenizer) []string {
	var all []string
	for id := range uint32(len(tok.ends)) {
		all = append(all, tok.token(id), "x"+tok.token(id)+tok.token(id))
	}
	for i, s := range all {
		all[i] = strings.ToValidUTF8(s, "\ufffd")
	}
	return all
}

func randomTexts(n int) []string {
	alphabet := []rune("aAbBsStTmMlLeErRvVdD'' \t\n\r\n  .,!-_=(){}#*/\\\"01239éÉ\u0301\u0308ſßİıﬁ中文가각각のд٣½²\u00a0\u2028\u3000👍🏽\u200d<|>")
	more := []string{"<|im_end|>", "<think>", "'ll", "'ve", "    ", "\r\n", "def ", "self.", "return"}
	rng := rand.New(rand.NewPCG(1, 2))
	all := make([]string, n)
	for i := range all {
		var b strings.Builder
		for range rng.IntN(60) {
			if rng.IntN(8) == 0 {
				b.WriteString(more[rng.IntN(len(more))])
			} else {
				b.WriteRune(alphabet[rng.IntN(len(alphabet))])
			}
		}
		all[i] = b.String()
	}
	return all
}

// randomBytes is bytes as they come, each that is no UTF-8 as U+FFFD: so they
// travel in JSON.
func randomBytes(n int) []string {
	rng := rand.New(rand.NewPCG(3, 4))
	all := make([]string, n)
	for i := range all {
		raw := make([]byte, rng.IntN(400))
		for k := range raw {
			raw[k] = byte(rng.Uint32())
		}
		all[i] = string([]rune(string(raw)))
	}
	return all
}

func longPieces() []string {
	rng := rand.New(rand.NewPCG(5, 6))
	var all []string
	for _, s := range []string{"a", " ", "\n", "ab", "=", "-", "!", "é", "中", "abcdefghij", "\u0301", "0"} {
		for _, n := range []int{maxShort - 1, maxShort, maxShort + 1, 1000, 20_000} {
			all = append(all, strings.Repeat(s, n/len(s)+1))
		}
	}
	for range 300 {
		word := make([]byte, 100+rng.IntN(400))
		for k := range word {
			word[k] = byte('a' + rng.IntN(26))
		}
		all = append(all, string(word))
	}
	marks := []rune("\u0301\u0308\u0323\u0338\u0345\u05b0\u0f71\u0f72\u0344\u034f")
	for range 300 {
		word := []rune("eao가ᄀ中\u0915\u03b1")[rng.IntN(8):][:1]
		for range 20 + rng.IntN(100) {
			word = append(word, marks[rng.IntN(len(marks))])
			if rng.IntN(20) == 0 {
				word = append(word, []rune("eᅡᆨ\u093c")[rng.IntN(4)])
			}
		}
		all = append(all, string(word))
	}
	return all
}
