package trajectory

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"paceline/tokenizer"
)

const mooncake = `{"timestamp": 27482, "input_length": 1100, "output_length": 52, "hash_ids": [46, 47, 2353]}

{"timestamp": 27482.5, "input_length": 700, "output_length": 26, "hash_ids": [46, 48], "more": {"x": 1}}
{"timestamp": 1482, "input_length": 600, "output_length": 1}
`

func TestATraceIsReadInTheOrderOfItsTimes(t *testing.T) {
	all, err := readTrace(strings.NewReader(mooncake), "t", 9)
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	if all[0].At != 0 || all[0].Line != 4 || all[1].At != 26*time.Second || all[2].At != 26*time.Second+500*time.Microsecond ||
		all[1].InputTokens != 1100 || len(all[1].Blocks) != 3 {
		t.Errorf("%+v", all)
	}
	if few, err := readTrace(strings.NewReader(mooncake), "t", 2); err != nil || len(few) != 2 || few[0].InputTokens != 1100 {
		t.Error(few, err)
	}
}

func TestWhatIsWrongInATraceIsNamedWithItsLine(t *testing.T) {
	const fine = `{"timestamp": 1, "input_length": 1}` + "\n"
	for text, want := range map[string]string{
		"":                                      "t: no requests",
		"\n{":                                   "t: line 2: expected one JSON object",
		"[]":                                    "t: line 1: expected one JSON object, found array",
		`{"timestamp": 1}`:                      "t: line 1: input_length is missing",
		`{"input_length": 1}`:                   "t: line 1: timestamp is missing",
		`{"timestamp": -1, "input_length": 1}`:  "t: line 1: timestamp",
		`{"timestamp": 1, "input_length": 0}`:   "t: line 1: input_length: expected 1 to",
		`{"timestamp": 1, "input_length": 1.5}`: "t: line 1: input_length: expected a whole number",
		`{"timestamp": 1, "input_length": 512, "hash_ids": [1, 2]}`: "t: line 1: hash_ids: expected at most 1 for 512 tokens",
		`{"timestamp": 1, "input_length": 512, "hash_ids": [-1]}`:   "t: line 1: hash_ids",
		fine + `{"timestamp": 1e17, "input_length": 1}`:             "t: line 2: timestamp: expected milliseconds, within",
	} {
		if _, err := readTrace(strings.NewReader(text), "t", 9); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// The law that a replay's cached share rests on: prompts begin alike as far as their
// first blocks have the same names, and no further than a chance word.
func TestPromptsBeginAlikeAsTheirBlocksDo(t *testing.T) {
	var s Synthesis
	rapid.Check(t, func(t *rapid.T) {
		request := rapid.Custom(func(t *rapid.T) Recorded {
			tokens := rapid.IntRange(1, 4*BlockTokens).Draw(t, "tokens")
			blocks := (tokens + BlockTokens - 1) / BlockTokens
			return Recorded{
				Line:        rapid.IntRange(1, 1000).Draw(t, "line"),
				InputTokens: tokens,
				Blocks:      rapid.SliceOfN(rapid.Uint64Range(0, 2), 0, blocks).Draw(t, "blocks"),
			}
		})
		a, b := request.Draw(t, "a"), request.Draw(t, "b")
		wordsA, wordsB := strings.Fields(s.Prompt(a)), strings.Fields(s.Prompt(b))
		if len(wordsA) != a.InputTokens || len(wordsB) != b.InputTokens {
			t.Fatalf("%d and %d words, want %d and %d", len(wordsA), len(wordsB), a.InputTokens, b.InputTokens)
		}
		alike := 0
		for alike < min(len(a.Blocks), len(b.Blocks)) && a.Blocks[alike] == b.Blocks[alike] {
			alike++
		}
		shared := 0
		for shared < min(len(wordsA), len(wordsB)) && wordsA[shared] == wordsB[shared] {
			shared++
		}
		alikeWords := min(alike*BlockTokens, len(wordsA), len(wordsB))
		if shared < alikeWords || a.Line != b.Line && shared > alikeWords+8 {
			t.Fatalf("%d words alike, want %d", shared, alikeWords)
		}
	})
}

func TestSynthesisGivesTheSameBytesEverywhere(t *testing.T) {
	all, err := readTrace(strings.NewReader(mooncake), "t", 9)
	if err != nil {
		t.Fatal(err)
	}
	var s Synthesis
	hash := sha256.New()
	for _, r := range all {
		hash.Write([]byte(s.Prompt(r) + "\n"))
	}
	const want = "62f738ed0365221963af9fa07bf4d714e7c15fb579fc1f4e8da425f78268ecc4"
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}

func TestReferenceOfEachWordIsOneTokenOfQwens(t *testing.T) {
	path := os.Getenv("PACELINE_TEST_TOKENIZER")
	if path == "" {
		t.Skip("PACELINE_TEST_TOKENIZER does not name a tokenizer.json of the Qwen family")
	}
	qwen, err := tokenizer.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range texts().tokenWords {
		if n := len(qwen.Encode(" " + w)); n != 1 {
			t.Errorf("%s is %d tokens", w, n)
		}
	}
	var s Synthesis
	if n := len(qwen.Encode(s.Prompt(Recorded{InputTokens: 3000, Blocks: []uint64{1, 2}}))); n != 3000 {
		t.Errorf("%d tokens, want 3000", n)
	}
}

// FuzzReadTrace: any bytes are refused in words, or give requests in order that can be
// made into prompts.
func FuzzReadTrace(f *testing.F) {
	f.Add([]byte(mooncake))
	f.Add([]byte(`{"timestamp": 1e300, "input_length": 99999999}`))
	f.Add([]byte(`{"timestamp": 1, "input_length": 1, "hash_ids": [18446744073709551615]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := readTrace(strings.NewReader(string(data)), "t", 20)
		if err != nil {
			if len(err.Error()) > 300 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		var s Synthesis
		for i, r := range all {
			if r.At < 0 || i > 0 && r.At < all[i-1].At || r.InputTokens < 1 {
				t.Fatalf("%+v", r)
			}
			r.InputTokens = min(r.InputTokens, 2000)
			if n := strings.Count(s.Prompt(r), " "); n != r.InputTokens {
				t.Errorf("%d words, want %d", n, r.InputTokens)
			}
		}
	})
}
