package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// maxFileBytes is the max size of a file. Qwen's has 11 MB.
const maxFileBytes = 128 << 20

// Load reads a tokenizer.json. It refuses a file that needs a step which this package does
// not do exactly. The error names the step.
func Load(path string) (*Tokenizer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("%s: is longer than %d bytes", path, maxFileBytes)
	}
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// file is the part of a tokenizer.json that matters.
type file struct {
	Added []struct {
		ID         uint32 `json:"id"`
		Content    string `json:"content"`
		SingleWord bool   `json:"single_word"`
		LeftStrip  bool   `json:"lstrip"`
		RightStrip bool   `json:"rstrip"`
		Normalized bool   `json:"normalized"`
	} `json:"added_tokens"`
	Normalizer    *step `json:"normalizer"`
	PreTokenizer  *step `json:"pre_tokenizer"`
	PostProcessor *step `json:"post_processor"`
	Decoder       *step `json:"decoder"`
	Truncation    any   `json:"truncation"`
	Padding       any   `json:"padding"`
	Model         model `json:"model"`
}

type step struct {
	Type          string `json:"type"`
	PreTokenizers []step `json:"pretokenizers"`
	Pattern       struct {
		Regex string `json:"Regex"`
	} `json:"pattern"`
	Behavior       string `json:"behavior"`
	Invert         bool   `json:"invert"`
	AddPrefixSpace bool   `json:"add_prefix_space"`
	UseRegex       *bool  `json:"use_regex"` // true if absent
}

type model struct {
	Type         string            `json:"type"`
	Dropout      *float64          `json:"dropout"`
	Prefix       string            `json:"continuing_subword_prefix"`
	Suffix       string            `json:"end_of_word_suffix"`
	ByteFallback bool              `json:"byte_fallback"`
	IgnoreMerges bool              `json:"ignore_merges"`
	Vocab        map[string]uint32 `json:"vocab"`
	Merges       []merge           `json:"merges"`
}

// merge is ["a", "b"] in newer files and "a b" in older ones.
type merge [2]string

// UnmarshalJSON implements json.Unmarshaler.
func (m *merge) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[2]string)(m))
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	left, right, ok := strings.Cut(s, " ")
	if !ok {
		return errors.New("model.merges: expected two tokens with a space between them")
	}
	*m = merge{left, right}
	return nil
}

// parse parses the contents of a file.
func parse(data []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("not a tokenizer.json: %w", err)
	}
	for _, c := range []struct {
		ok   bool
		want string
	}{
		{f.Model.Type == "BPE", "model.type BPE"},
		{f.Model.Dropout == nil, "no model.dropout"},
		{f.Model.Prefix == "" && f.Model.Suffix == "", "no model.continuing_subword_prefix or end_of_word_suffix"},
		{!f.Model.ByteFallback && !f.Model.IgnoreMerges, "neither model.byte_fallback nor ignore_merges"},
		{f.Normalizer != nil && f.Normalizer.Type == "NFC", "the normalizer NFC"},
		{f.PreTokenizer.cutsAsQwen(), "Qwen's pre_tokenizer: its split pattern, then bytes"},
		{f.PostProcessor == nil || f.PostProcessor.Type == "ByteLevel", "no post_processor that adds tokens"},
		{f.Decoder == nil || f.Decoder.Type == "ByteLevel", "the decoder ByteLevel"},
		{f.Truncation == nil && f.Padding == nil, "no truncation or padding"},
	} {
		if !c.ok {
			return nil, errors.New("not a tokenizer of the Qwen2 to Qwen3 family: expected " + c.want)
		}
	}
	return build(&f)
}

func (s *step) cutsAsQwen() bool {
	if s == nil || s.Type != "Sequence" || len(s.PreTokenizers) != 2 {
		return false
	}
	split, bytes := s.PreTokenizers[0], s.PreTokenizers[1]
	return split.Type == "Split" && split.Pattern.Regex == splitPattern && split.Behavior == "Isolated" && !split.Invert &&
		bytes.Type == "ByteLevel" && !bytes.AddPrefixSpace && bytes.UseRegex != nil && !*bytes.UseRegex
}

// maxVocabulary bounds ids; real vocabularies have up to 300,000.
const maxVocabulary = 1 << 22

func build(f *file) (*Tokenizer, error) {
	texts, err := f.texts()
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{plain: len(f.Model.Vocab)}
	var all strings.Builder
	for _, text := range texts {
		all.WriteString(text)
		t.ends = append(t.ends, uint32(all.Len()))
	}
	t.text = all.String()
	for b := range 256 {
		id, ok := f.Model.Vocab[string(byteRunes[b])]
		if !ok {
			return nil, fmt.Errorf("model.vocab: byte %#02x is missing", b)
		}
		t.byteIDs[b] = id
	}
	if err := t.addMerges(f.Model); err != nil {
		return nil, err
	}
	var added []string
	for _, a := range f.Added {
		added = append(added, a.Content)
		if t.start = f.Added[0].Content[0]; a.Content[0] != t.start {
			return nil, fmt.Errorf("added_tokens: %q: expected it to begin as the others do, with %q", a.Content, t.start)
		}
	}
	if t.added, err = newTrie(added); err != nil {
		return nil, err
	}
	for _, a := range f.Added {
		t.added.add(a.Content, a.ID)
	}
	return t, t.addPieces(f.Model, texts)
}

// addPieces finds the tokens that their own text merges to, and puts them into the trie.
// Others are never made: the order of merges leads elsewhere.
func (t *Tokenizer) addPieces(m model, texts []string) error {
	t.pieces = make(map[string]uint32, len(m.Vocab))
	for _, id := range t.byteIDs {
		t.pieces[texts[id]] = id
	}
	for rank, pair := range m.Merges {
		left, right := texts[m.Vocab[pair[0]]], texts[m.Vocab[pair[1]]]
		l, ok1 := t.pieces[left]
		r, ok2 := t.pieces[right]
		if ok1 && ok2 && t.apart(l, r, uint32(rank)) {
			t.pieces[left+right] = m.Vocab[pair[0]+pair[1]]
		}
	}
	var err error
	if t.trie, err = newTrie(slices.Collect(maps.Keys(t.pieces))); err != nil {
		return err
	}
	for text, id := range t.pieces {
		t.trie.add(text, id)
	}
	for text, id := range t.pieces {
		t.made[id].prefix = t.trie.longest(text[:len(text)-1])
	}
	return nil
}

// texts returns the bytes of each token, by id; "" for unused ids.
func (f *file) texts() ([]string, error) {
	size := uint32(0)
	for text, id := range f.Model.Vocab {
		if id >= maxVocabulary {
			return nil, fmt.Errorf("model.vocab: %q has the id %d, expected less than %d", text, id, maxVocabulary)
		}
		size = max(size, id+1)
	}
	for _, a := range f.Added {
		switch {
		case a.Content == "":
			return nil, fmt.Errorf("added_tokens: %d is empty", a.ID)
		case a.ID >= maxVocabulary:
			return nil, fmt.Errorf("added_tokens: %q has the id %d, expected less than %d", a.Content, a.ID, maxVocabulary)
		case a.SingleWord || a.LeftStrip || a.RightStrip || a.Normalized:
			return nil, fmt.Errorf("added_tokens: %q: expected none of single_word, lstrip, rstrip and normalized", a.Content)
		}
		size = max(size, a.ID+1)
	}
	texts := make([]string, size)
	for text, id := range f.Model.Vocab {
		raw, ok := bytesOf(text)
		if !ok {
			return nil, fmt.Errorf("model.vocab: token %d is not written in byte-level characters", id)
		}
		if texts[id] != "" {
			return nil, fmt.Errorf("model.vocab: two tokens have the id %d", id)
		}
		texts[id] = raw
	}
	for _, a := range f.Added {
		texts[a.ID] = a.Content
	}
	return texts, nil
}

func (t *Tokenizer) addMerges(m model) error {
	t.pairs = newPairs(len(m.Merges))
	t.made = make([]made, len(t.ends))
	ready := make([]bool, len(t.ends)) // a byte, or made by a merge so far
	for _, id := range t.byteIDs {
		ready[id] = true
	}
	for rank, pair := range m.Merges {
		left, ok1 := m.Vocab[pair[0]]
		right, ok2 := m.Vocab[pair[1]]
		id, ok3 := m.Vocab[pair[0]+pair[1]]
		if !ok1 || !ok2 || !ok3 {
			return fmt.Errorf("model.merges[%d]: a token of it is not in model.vocab", rank)
		}
		if same := t.pairs.find(left, right); same.rank != never {
			return fmt.Errorf("model.merges[%d]: the same as merges[%d]", rank, same.rank)
		}
		if !ready[left] || !ready[right] || ready[id] {
			return fmt.Errorf("model.merges[%d]: expected parts that are made before, and a token that is not", rank)
		}
		ready[id], t.made[id] = true, made{left: left, right: right, rank: uint32(rank) + 1}
		t.pairs.add(left, right, merged{uint32(rank), id})
	}
	for a, left := range t.byteIDs {
		for b, right := range t.byteIDs {
			t.pairs.bytes[a<<8|b] = t.pairs.find(left, right)
		}
	}
	return nil
}

// byteRunes maps bytes to the characters that stand for them in the file: printable bytes
// to themselves, the others to U+0100 and up.
var byteRunes = func() (runes [256]rune) {
	next := rune(256)
	for b := range runes {
		switch {
		case b >= '!' && b <= '~', b >= 0xa1 && b <= 0xac, b >= 0xae:
			runes[b] = rune(b)
		default:
			runes[b] = next
			next++
		}
	}
	return runes
}()

var runeBytes = func() map[rune]byte {
	m := make(map[rune]byte, 256)
	for b, r := range byteRunes {
		m[r] = byte(b)
	}
	return m
}()

func bytesOf(text string) (string, bool) {
	raw := make([]byte, 0, len(text))
	for _, r := range text {
		b, ok := runeBytes[r]
		if !ok {
			return "", false
		}
		raw = append(raw, b)
	}
	return string(raw), true
}
