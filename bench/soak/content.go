package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// writer makes the content of one request. The same seed makes the same request.
type writer struct {
	*rand.Rand
	at time.Duration // since the beginning
}

var words = strings.Fields(`def return value limit state answer request token prefix batch queue order leader follower cache
	model prompt score label item list text time second byte error retry drain limit client server proxy`)

// text returns n words.
func (w *writer) text(n int) string { return textOf(w.Rand, n) }

func textOf(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte(' ')
	}
	return b.String()
}

// state returns what several requests of these seconds begin with: 200 to 800 words.
func (w *writer) state() string {
	r := w.shared()
	return textOf(r, 200+r.IntN(600))
}

// stateIDs is state as token ids.
func (w *writer) stateIDs() []int32 {
	r := w.shared()
	return idsOf(r, 200+r.IntN(600))
}

// shared returns the source of one of four states of the current five seconds, or of an
// earlier one.
func (w *writer) shared() *rand.Rand {
	n := max(0, int(w.at/(5*time.Second))-w.IntN(2)*w.IntN(20))
	return rand.New(rand.NewPCG(uint64(n), w.Uint64N(4))) //nolint:gosec // content
}

// ids returns n token ids.
func (w *writer) ids(n int) []int32 { return idsOf(w.Rand, n) }

// vocabulary is that of the simulator.
const vocabulary = 152_064

func idsOf(r *rand.Rand, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = r.Int32N(vocabulary)
	}
	return ids
}

// labels returns a few label tokens.
func (w *writer) labels() []int32 { return w.ids(2 + w.IntN(3)) }

// tooLong is a text of more tokens than the context has, and of fewer bytes than it might.
func tooLong() string { return strings.Repeat("7", 4500) }

// object is a JSON object.
type object map[string]any

func (o object) body() []byte {
	body, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("%v: %v", o, err)) // numbers, texts and lists of them
	}
	return body
}
