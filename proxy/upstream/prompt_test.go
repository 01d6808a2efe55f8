package upstream

import (
	"fmt"
	"reflect"
	"testing"

	"paceline/batcher"
	"paceline/sglang"
)

func keyOfPrompt(p *Prompt) batcher.MergeKey { return mergeKey(p, p.key(), p.prefix()) }

// mergeKeyText is a string that is equal for merge keys that are equal.
func mergeKeyText(p *Prompt) string { return fmt.Sprintf("%+v", keyOfPrompt(p)) }

var none = fmt.Sprintf("%+v", batcher.MergeKey{})

func TestOnlyWhatMustHaveTheSameAnswerHasOneMergeKey(t *testing.T) {
	hot, cold, three := float32(0.7), float32(0), 3
	priority := int32(1)
	base := func() Prompt {
		return Prompt{Request: sglang.Request{RID: sglang.NewRID(), Text: "ab"}}
	}
	same := map[string]func(*Prompt){
		"another rid":                func(*Prompt) {},
		"greedy, which it is anyway": func(p *Prompt) { p.Request.Sampling.Temperature = &cold },
	}
	for name, change := range same {
		p := base()
		change(&p)
		if mergeKeyText(&p) != mergeKeyText(new(base())) {
			t.Errorf("%s: another merge key", name)
		}
	}
	different := map[string]func(*Prompt){
		"text":         func(p *Prompt) { p.Request.Text = "ac" },
		"ids":          func(p *Prompt) { p.Request.Text, p.Request.InputIDs = "", []int32{1} },
		"new tokens":   func(p *Prompt) { p.Request.MaxNewTokens = 1 },
		"salt":         func(p *Prompt) { p.Request.CacheSalt = "s" },
		"adapter":      func(p *Prompt) { p.LoRA = "l" },
		"owner":        func(p *Prompt) { p.owner = "o" },
		"priority":     func(p *Prompt) { p.Priority = &priority },
		"logprobs":     func(p *Prompt) { p.Request.Logprobs = &sglang.LogprobOptions{} },
		"their start":  func(p *Prompt) { p.Request.Logprobs = &sglang.LogprobOptions{PromptStart: &three} },
		"their number": func(p *Prompt) { p.Request.Logprobs = &sglang.LogprobOptions{TopK: 3} },
		"their ids": func(p *Prompt) {
			p.Request.Logprobs = &sglang.LogprobOptions{PromptStart: &three, TokenIDs: []int32{3}}
		},
		"their ids in SGLang's own words": func(p *Prompt) {
			p.Request.KeepRaw, p.Request.Logprobs = true, &sglang.LogprobOptions{TokenIDs: []int32{3}}
		},
		"bias": func(p *Prompt) {
			p.Request.MaxNewTokens, p.Request.Sampling.LogitBias = 1, map[int32]float32{3: 1}
		},
		"another bias": func(p *Prompt) {
			p.Request.MaxNewTokens, p.Request.Sampling.LogitBias = 1, map[int32]float32{3: 2}
		},
		"sampling that has no effect at 0":  func(p *Prompt) { p.Request.Sampling.TopP = &hot },
		"a temperature that has none there": func(p *Prompt) { p.Request.Sampling.Temperature = &hot },
		"raw sampling that SGLang refuses":  func(p *Prompt) { p.Request.Sampling.Raw = []byte(`{"max_new_tokens":0,"top_p":0}`) },
		"raw sampling":                      func(p *Prompt) { p.Request.Sampling.Raw = []byte(`{"max_new_tokens":0}`) },
		"text and salt that run together":   func(p *Prompt) { p.Request.Text, p.Request.CacheSalt = "b", "a" },
	}
	seen := map[string]string{mergeKeyText(new(base())): "the first"}
	for name, change := range different {
		p := base()
		change(&p)
		id := mergeKeyText(&p)
		if other, taken := seen[id]; taken {
			t.Errorf("%s has the merge key of %s", name, other)
		}
		seen[id] = name
	}
	sampled := base()
	sampled.Request.MaxNewTokens, sampled.Request.Sampling.Temperature = 1, &hot
	if mergeKeyText(&sampled) != none {
		t.Error("a sampled token has a merge key")
	}
	greedy, plain := base(), base()
	greedy.Request.MaxNewTokens, greedy.Request.Sampling.Temperature = 1, &cold
	plain.Request.MaxNewTokens = 1
	if mergeKeyText(&greedy) != mergeKeyText(&plain) {
		t.Error("greedy said and greedy by default differ")
	}
}

func TestLongPromptsThatDifferAnywhereHaveIdentitiesOfTheirOwn(t *testing.T) {
	seen, hashes := map[string]string{}, map[uint64]bool{}
	add := func(what string, p Prompt) {
		id := mergeKeyText(&p)
		if other, taken := seen[id]; taken {
			t.Errorf("%s has the merge key of %s", what, other)
		}
		seen[id] = what
		if h := keyOfPrompt(&p).Hash; hashes[h] {
			t.Errorf("%s has the hash of another", what)
		} else {
			hashes[h] = true
		}
		start := 3
		p.Request.Logprobs = &sglang.LogprobOptions{PromptStart: &start} // has no prefix
		if id := mergeKeyText(&p); id == none || seen[id] != "" {
			t.Errorf("%s with log probabilities has the merge key of %q", what, seen[id])
		}
	}
	for _, at := range []int{0, 255, 256, 999, 1000, 2000} { // of 1,000
		text, ids := make([]byte, 1000), make([]int32, 1000)
		if at < 1000 {
			text[at], ids[at] = 1, 1
		}
		if at == 2000 {
			text, ids = text[:999], ids[:999]
		}
		add(fmt.Sprint("text ", at), Prompt{Request: sglang.Request{Text: string(text)}})
		add(fmt.Sprint("ids ", at), Prompt{Request: sglang.Request{InputIDs: ids}})
	}
}

func TestTheLengthOfATextFollowsWhatSGLangCounts(t *testing.T) {
	var l textLength
	text := string(make([]byte, 900))
	if got := l.tokens(text); got != 225 {
		t.Errorf("at first %d, want 225", got)
	}
	for range 200 {
		l.learn(text, 300)
	}
	if got := l.tokens(text); got < 299 || got > 301 {
		t.Errorf("after 200 answers %d, want 300", got)
	}
}

func BenchmarkMergeKey(b *testing.B) {
	p := Prompt{Request: sglang.Request{Text: string(make([]byte, 8<<10))}}
	names := p.prefix()
	b.ReportAllocs()
	for b.Loop() {
		mergeKey(&p, "", names)
	}
}

func TestEverySamplingParameterTellsPromptsApart(t *testing.T) {
	plain := Prompt{Request: sglang.Request{Text: "a"}}
	of := reflect.TypeFor[sglang.Sampling]()
	for i := range of.NumField() {
		name := of.Field(i).Name
		p := plain
		field := reflect.ValueOf(&p.Request.Sampling).Elem().Field(i)
		switch field.Kind() {
		case reflect.Map:
			field.Set(reflect.ValueOf(map[int32]float32{3: 1}))
		case reflect.Pointer:
			value := reflect.New(field.Type().Elem())
			if value.Elem().CanFloat() {
				value.Elem().SetFloat(0.5) // 0 is the temperature that is sent anyway
			}
			field.Set(value)
		case reflect.Slice:
			field.SetBytes([]byte(`{"max_new_tokens":0}`))
		default:
			t.Fatalf("%s is of a kind that this test does not know", name)
		}
		if mergeKeyText(&p) == mergeKeyText(&plain) {
			t.Errorf("a prompt with %s may get the answer of one without: see appendOptions", name)
		}
	}
}
