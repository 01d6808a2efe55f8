package server

import (
	"fmt"
	"testing"

	"paceline/batcher"
	"paceline/sglang"
)

func keyOfPrompt(n identities, p *prompt) batcher.MergeKey { return n.of(p, batchKey(p), p.prefix()) }

// identityOf is a string that is equal for merge keys that are equal.
func identityOf(n identities, p *prompt) string { return fmt.Sprintf("%+v", keyOfPrompt(n, p)) }

var none = fmt.Sprintf("%+v", batcher.MergeKey{})

func TestOnlyWhatMustHaveTheSameAnswerHasOneIdentity(t *testing.T) {
	hot, cold, three := float32(0.7), float32(0), 3
	priority := int32(1)
	base := func() prompt {
		return prompt{request: sglang.Request{RID: sglang.NewRID(), Text: "ab"}}
	}
	n := newIdentities()
	same := map[string]func(*prompt){
		"another rid":                       func(*prompt) {},
		"sampling that has no effect at 0":  func(p *prompt) { p.request.Sampling.TopP = &hot },
		"a temperature that has none there": func(p *prompt) { p.request.Sampling.Temperature = &hot },
	}
	for name, change := range same {
		p := base()
		change(&p)
		if identityOf(n, &p) != identityOf(n, new(base())) {
			t.Errorf("%s: another identity", name)
		}
	}
	different := map[string]func(*prompt){
		"text":         func(p *prompt) { p.request.Text = "ac" },
		"ids":          func(p *prompt) { p.request.Text, p.request.InputIDs = "", []int32{1} },
		"new tokens":   func(p *prompt) { p.request.MaxNewTokens = 1 },
		"salt":         func(p *prompt) { p.request.CacheSalt = "s" },
		"adapter":      func(p *prompt) { p.lora = "l" },
		"priority":     func(p *prompt) { p.priority = &priority },
		"logprobs":     func(p *prompt) { p.request.Logprobs = &sglang.LogprobOptions{} },
		"their start":  func(p *prompt) { p.request.Logprobs = &sglang.LogprobOptions{PromptStart: &three} },
		"their number": func(p *prompt) { p.request.Logprobs = &sglang.LogprobOptions{TopK: 3} },
		"their ids":    func(p *prompt) { p.request.Logprobs = &sglang.LogprobOptions{TokenIDs: []int32{3}} },
		"bias": func(p *prompt) {
			p.request.MaxNewTokens, p.request.Sampling.LogitBias = 1, map[int32]float32{3: 1}
		},
		"another bias": func(p *prompt) {
			p.request.MaxNewTokens, p.request.Sampling.LogitBias = 1, map[int32]float32{3: 2}
		},
		"text and salt that run together": func(p *prompt) { p.request.Text, p.request.CacheSalt = "b", "a" },
	}
	seen := map[string]string{identityOf(n, new(base())): "the first"}
	for name, change := range different {
		p := base()
		change(&p)
		id := identityOf(n, &p)
		if other, taken := seen[id]; taken {
			t.Errorf("%s has the identity of %s", name, other)
		}
		seen[id] = name
	}
	sampled := base()
	sampled.request.MaxNewTokens, sampled.request.Sampling.Temperature = 1, &hot
	if identityOf(n, &sampled) != none {
		t.Error("a sampled token has an identity")
	}
	greedy, plain := base(), base()
	greedy.request.MaxNewTokens, greedy.request.Sampling.Temperature = 1, &cold
	plain.request.MaxNewTokens = 1
	if identityOf(n, &greedy) != identityOf(n, &plain) {
		t.Error("greedy said and greedy by default differ")
	}
}

func TestLongPromptsThatDifferAnywhereHaveIdentitiesOfTheirOwn(t *testing.T) {
	n := newIdentities()
	seen, hashes := map[string]string{}, map[uint64]bool{}
	add := func(what string, p prompt) {
		id := identityOf(n, &p)
		if other, taken := seen[id]; taken {
			t.Errorf("%s has the identity of %s", what, other)
		}
		seen[id] = what
		if h := keyOfPrompt(n, &p).Hash; hashes[h] {
			t.Errorf("%s has the hash of another", what)
		} else {
			hashes[h] = true
		}
		start := 3
		p.request.Logprobs = &sglang.LogprobOptions{PromptStart: &start} // has no prefix
		if id := identityOf(n, &p); id == none || seen[id] != "" {
			t.Errorf("%s with log probabilities has the identity of %q", what, seen[id])
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
		add(fmt.Sprint("text ", at), prompt{request: sglang.Request{Text: string(text)}})
		add(fmt.Sprint("ids ", at), prompt{request: sglang.Request{InputIDs: ids}})
	}
}

func TestTheLengthOfATextFollowsWhatSGLangCounts(t *testing.T) {
	var l lengths
	text := sglang.Request{Text: string(make([]byte, 900))}
	if got := l.tokens(&text); got != 225 {
		t.Errorf("at first %d, want 225", got)
	}
	for range 200 {
		l.learn(&text, 300)
	}
	if got := l.tokens(&text); got < 299 || got > 301 {
		t.Errorf("after 200 answers %d, want 300", got)
	}
	if got := l.tokens(&sglang.Request{InputIDs: make([]int32, 7)}); got != 7 {
		t.Errorf("ids: %d", got)
	}
}

func BenchmarkIdentity(b *testing.B) {
	n := newIdentities()
	p := prompt{request: sglang.Request{Text: string(make([]byte, 8<<10))}}
	names := p.prefix()
	b.ReportAllocs()
	for b.Loop() {
		n.of(&p, "", names)
	}
}
