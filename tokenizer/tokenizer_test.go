package tokenizer

import (
	"encoding/json"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// smallFile is a tokenizer.json of the family with all bytes, a few merges and
// two added tokens.
func smallFile(change func(map[string]any)) []byte {
	vocab := map[string]int{}
	for b, r := range byteRunes {
		vocab[string(r)] = b
	}
	var merges []string
	for _, m := range []string{
		"d e", "de f", "Ġ Ġ", "ĠĠ ĠĠ", "e f", "s e", "se l", "sel f", "i n", "Ġ in", "o n", "l l", "in g", "a a", "aa aa", "Ċ Ċ", "Ã " +
			"©", "r e",
		"' re", "' ll",
	} {
		merges = append(merges, m)
		vocab[strings.ReplaceAll(m, " ", "")] = len(vocab)
	}
	f := map[string]any{
		"normalizer": map[string]any{"type": "NFC"},
		"pre_tokenizer": map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Split", "pattern": map[string]any{"Regex": splitPattern}, "behavior": "Isolated", "invert": false},
			map[string]any{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
		}},
		"model": map[string]any{"type": "BPE", "vocab": vocab, "merges": merges},
		"added_tokens": []any{
			map[string]any{"id": 300, "content": "<|im_end|>"}, map[string]any{"id": 301, "content": "<|im_end|>>"},
		},
	}
	if change != nil {
		change(f)
	}
	data, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return data
}

func small(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := parse(smallFile(nil))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestTextIsCutAsThePatternSays(t *testing.T) {
	for text, want := range map[string][]string{
		"def add(a, b):\n    return a": {"def", " add", "(a", ",", " b", "):\n", "   ", " return", " a"},
		"I'm, we'LL 'ſo don't":         {"I", "'m", ",", " we", "'LL", " '", "ſo", " don", "'t"},
		"'ſx":                          {"'ſ", "x"},
		"x = 123":                      {"x", " =", " ", "1", "2", "3"},
		" \n \r\n  y":                  {" \n \r\n", " ", " y"},
		"a \t":                         {"a", " \t"},
		"a !!\r\n\n b":                 {"a", " !!\r\n\n", " b"},
		"\tif\u00a0中文":                 {"\tif", "\u00a0中文"},
		"²½Ⅷ":                          {"²", "½", "Ⅷ"},
		"  !":                          {" ", " !"},
	} {
		var got []string
		for rest := text; rest != ""; {
			n := pieceLen(rest)
			got, rest = append(got, rest[:n]), rest[n:]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestPairsMergeInTheOrderOfTheFile(t *testing.T) {
	tok := small(t)
	for text, want := range map[string][]string{
		"def":                 {"def"},
		"self":                {"self"},
		"    x":               {"  ", " ", " ", "x"},
		"     x":              {"    ", " ", "x"},
		"aaaaaaa":             {"aaaa", "aa", "a"},
		"in<|im_end|>>on":     {"in", "<|im_end|>>", "on"},
		"<|im_end|":           {"<", "|", "i", "m", "_", "e", "n", "d", "|"},
		"e\u0301":             {"é"},
		"we're \xffing":       {"w", "e", "'re", " ", "\xef", "\xbf", "\xbd", "ing"},
		"edef":                {"e", "def"},
		"\n\n\n":              {"\n\n", "\n"},
		"don't":               {"d", "on", "'", "t"},
		"<|im_end|><|im_end|": {"<|im_end|>", "<", "|", "i", "m", "_", "e", "n", "d", "|"},
	} {
		var got []string
		for _, id := range tok.Encode(text) {
			got = append(got, tok.token(uint32(id)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestFilesOfOtherTokenizersAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(map[string]any)
		want   string
	}{
		"another split": {func(f map[string]any) {
			f["pre_tokenizer"].(map[string]any)["pretokenizers"].([]any)[0].(map[string]any)["pattern"] = map[string]any{"Regex": `\p{L}+`}
		}, "split pattern"},
		"no NFC":          {func(f map[string]any) { f["normalizer"] = nil }, "NFC"},
		"a begin token":   {func(f map[string]any) { f["post_processor"] = map[string]any{"type": "TemplateProcessing"} }, "post_processor"},
		"unigram":         {func(f map[string]any) { f["model"].(map[string]any)["type"] = "Unigram" }, "model.type BPE"},
		"a missing byte":  {func(f map[string]any) { delete(f["model"].(map[string]any)["vocab"].(map[string]int), "A") }, "byte 0x41"},
		"an unknown pair": {func(f map[string]any) { f["model"].(map[string]any)["merges"] = []string{"x y"} }, "model.merges[0]"},
		"a pair twice":    {func(f map[string]any) { f["model"].(map[string]any)["merges"] = []string{"d e", "d e"} }, "the same as merges[0]"},
		"a token made twice": {func(f map[string]any) {
			m := f["model"].(map[string]any)
			m["vocab"].(map[string]int)["def"] = 900
			m["merges"] = []string{"d e", "e f", "de f", "d ef"}
		}, "model.merges[3]"},
		"a part made later": {func(f map[string]any) { f["model"].(map[string]any)["merges"] = []string{"de f", "d e"} }, "model.merges[0]"},
		"no pair":           {func(f map[string]any) { f["model"].(map[string]any)["merges"] = []string{"de"} }, "model.merges"},
		"a huge id":         {func(f map[string]any) { f["model"].(map[string]any)["vocab"].(map[string]int)["A"] = 1 << 30 }, "model.vocab"},
		"stripping": {func(f map[string]any) {
			f["added_tokens"] = []any{map[string]any{"id": 300, "content": "<s>", "lstrip": true}}
		}, "lstrip"},
		"an empty token": {func(f map[string]any) { f["added_tokens"] = []any{map[string]any{"id": 300}} }, "empty"},
	} {
		if _, err := parse(smallFile(c.change)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to name %s", name, err, c.want)
		}
	}
	if _, err := parse([]byte("{")); err == nil || !strings.Contains(err.Error(), "not a tokenizer.json") {
		t.Error(err)
	}
	if _, err := Load("none.json"); err == nil {
		t.Error("a file that does not exist was read")
	}
}

// decode is the text of ids.
func (t *Tokenizer) decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(t.token(uint32(id)))
	}
	return b.String()
}

func TestEncodingKeepsNothingAndAllocatesNothing(t *testing.T) {
	tok := small(t)
	text := strings.Repeat("def self(in, on):\n    don't <|im_end|> é", 20)
	dst := tok.Encode(text)
	if n := testing.AllocsPerRun(100, func() { dst = tok.appendEncode(dst[:0], text) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzRoundTrip: the text of a text's ids is its normal form, added tokens apart;
// and all ways of merging agree.
func FuzzRoundTrip(f *testing.F) {
	for _, s := range append(edges(), strings.Repeat("e\u0301\u0323", 40), strings.Repeat("ab", 50)) {
		f.Add(s)
	}
	tok := small(f)
	if path := qwenPath(); path != "" {
		tok = qwen(f)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids := tok.Encode(text)
		got := tok.decode(ids)
		if want := normalApart(tok, string([]rune(text))); got != want {
			t.Fatalf("%q: got %q, want %q", text, got, want)
		}
		for rest := got; rest != ""; {
			n := pieceLen(rest)
			agree(t, tok, rest[:n])
			rest = rest[n:]
		}
	})
}

// mergePlainly merges a piece as BPE is defined: the pair of the lowest rank, the leftmost
// among equals, until none merges.
func mergePlainly(tok *Tokenizer, piece string) []int32 {
	var ids []int32
	for i := range len(piece) {
		ids = append(ids, int32(tok.byteIDs[piece[i]]))
	}
	for {
		best, at := merged{rank: never}, 0
		for i := range len(ids) - 1 {
			if m := tok.pairs.find(uint32(ids[i]), uint32(ids[i+1])); m.rank < best.rank {
				best, at = m, i
			}
		}
		if best.rank == never {
			return ids
		}
		ids = slices.Delete(ids, at+1, at+2)
		ids[at] = int32(best.id)
	}
}

// agree checks both ways of merging a piece.
func agree(t *testing.T, tok *Tokenizer, piece string) {
	t.Helper()
	want := mergePlainly(tok, piece)
	if got := tok.merge(nil, piece, new(scratch)); !slices.Equal(got, want) {
		t.Fatalf("%q: merge gives %v, want %v", piece, got, want)
	}
	if got := tok.mergeLong([]int32{7}, piece, new(scratch)); !slices.Equal(got[1:], want) {
		t.Fatalf("%q: mergeLong gives %v, want %v", piece, got[1:], want)
	}
}

// Merges of few letters make pairs that depend on what stands far away.
func TestBothWaysOfMergingAreThatOfTheDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		merges, vocab := []string{}, []string{"a", "b", "c"}
		for len(merges) < 40 {
			left, right := vocab[rng.IntN(len(vocab))], vocab[rng.IntN(len(vocab))]
			if !slices.Contains(vocab, left+right) {
				vocab, merges = append(vocab, left+right), append(merges, left+" "+right)
			}
		}
		tok, err := parse(smallFile(func(f map[string]any) {
			m := f["model"].(map[string]any)
			m["merges"] = merges
			for i, token := range vocab[3:] {
				m["vocab"].(map[string]int)[token] = 1000 + i
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			piece := make([]byte, 1+rng.IntN(200))
			for i := range piece {
				piece[i] = "aaabc"[rng.IntN(5)]
			}
			agree(t, tok, string(piece))
		}
	}
	if qwenPath() != "" {
		for _, piece := range longPieces() {
			agree(t, qwen(t), piece[:min(len(piece), 400)])
		}
	}
}

// steps is how many tokens mergeLong places for a piece, those that it takes back too.
func steps(tok *Tokenizer, piece string) int {
	s := new(scratch)
	n := len(tok.mergeLong(nil, piece, s))
	for _, word := range s.dead {
		n += bits.OnesCount64(word)
	}
	return n
}

func TestTwiceTheTextIsTwiceTheWork(t *testing.T) {
	tok := small(t)
	if qwenPath() != "" {
		tok = qwen(t)
	}
	for _, unit := range hostileUnits {
		const n = 100_000
		once, twice := steps(tok, strings.Repeat(unit, n)), steps(tok, strings.Repeat(unit, 2*n))
		if once > n*len(unit)+100 || twice > 2*once+100 {
			t.Errorf("%q: %d steps, %d for twice the text", unit, once, twice)
		}
	}
}

// hostileUnits make long pieces when they are repeated.
var hostileUnits = []string{"a", "z", " ", "\t", "\n", "=", "-", "中", "好", "😀", "é", "ab", "abcdefghij", "中好", " \n"}

// normalApart is the normal form of what stands between added tokens.
func normalApart(tok *Tokenizer, text string) string {
	var b strings.Builder
	for text != "" {
		at, found := tok.findAdded(text)
		plain := text[:at]
		if n := norm.NFC.String(plain); strings.Count(n, joiner) == strings.Count(plain, joiner) {
			plain = n
		} else {
			plain = normalUnbounded(plain)
		}
		b.WriteString(plain)
		if found == never {
			break
		}
		b.WriteString(tok.token(found))
		text = text[at+len(tok.token(found)):]
	}
	return b.String()
}

// FuzzParse checks that no file causes a panic, and that an accepted tokenizer encodes.
func FuzzParse(f *testing.F) {
	f.Add(smallFile(nil))
	f.Add([]byte(`{"model":{"type":"BPE"}}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		tok, err := parse(data)
		if err != nil {
			return
		}
		tok.decode(tok.Encode("def f(x):\n\treturn x"))
	})
}

func TestMarksInARowAreNotParted(t *testing.T) {
	text := "e" + strings.Repeat("\u0301", 100)
	if got := normal(text); utf8.RuneCountInString(got) != 100 || strings.Contains(got, joiner) {
		t.Errorf("%+q", got)
	}
}

func repeated(unit string) func() []string {
	return func() []string { return []string{strings.Repeat(unit, 8<<20/len(unit))} }
}

// BenchmarkEncode is bytes a second on one core.
func BenchmarkEncode(b *testing.B) {
	tok := qwen(b)
	for _, c := range []struct {
		name  string
		texts func() []string
	}{
		{"statements", func() []string { return statements(b) }},
		{"trajectories", func() []string { return stringsOf(b, sharedData(b, "r2egym_trajectories_15.jsonl")) }},
		{"no words", longPieces},
		{"8 MiB of a letter", repeated("a")},
		{"8 MiB of a rare letter", repeated("ʒ")},
		{"8 MiB of spaces", repeated(" ")},
		{"8 MiB of digits", repeated("7")},
		{"8 MiB of CJK", repeated("中")},
		{"8 MiB of newlines", repeated("\n")},
		{"8 MiB of emoji", repeated("😀")},
		{"8 MiB of a sign", repeated("-")},
		{"8 MiB of random letters", func() []string {
			rng, text := rand.New(rand.NewPCG(9, 10)), make([]byte, 8<<20)
			for i := range text {
				text[i] = byte('a' + rng.IntN(26))
			}
			return []string{string(text)}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			texts := c.texts()
			bytes, tokens := 0, 0
			var dst []int32
			for _, text := range texts {
				dst = tok.appendEncode(dst[:0], text)
				bytes, tokens = bytes+len(text), tokens+len(dst)
			}
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			for b.Loop() {
				for _, text := range texts {
					dst = tok.appendEncode(dst[:0], text)
				}
			}
			b.ReportMetric(float64(bytes)/float64(tokens), "bytes/token")
		})
	}
}

// statements are the texts of the 500 problems.
func statements(t testing.TB) []string {
	t.Helper()
	var all []string
	for _, s := range stringsOf(t, sharedData(t, "swe_verified_500.jsonl")) {
		if len(s) > 100 {
			all = append(all, s)
		}
	}
	return all
}

// BenchmarkLoad reports the memory that a tokenizer keeps.
func BenchmarkLoad(b *testing.B) {
	path := qwenPath()
	if path == "" {
		b.Skip("PACELINE_TEST_TOKENIZER is not set")
	}
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		tok, err := Load(path)
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(tok)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-kept")
}
