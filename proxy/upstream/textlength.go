package upstream

import (
	"math"
	"sync/atomic"

	"paceline/sglang"
)

// textLength estimates how many tokens a text has. It starts at 4 bytes a token,
// which counts a little too many for prompts of coding agents, and follows what
// SGLang counts. The zero value is ready; it is safe for concurrent use.
type textLength struct {
	bytesPerToken atomic.Uint64 // bits of a float64; 0: nothing learned yet
}

const (
	firstBytesPerToken = 4
	learning           = 0.05 // weight of one answer: about twenty are remembered
)

// tokens is the exact length of a prompt of ids, and the estimated one of a text.
func (l *textLength) tokens(r *sglang.Request) int {
	if len(r.InputIDs) > 0 {
		return len(r.InputIDs)
	}
	return int(math.Ceil(float64(len(r.Text)) / l.ratio()))
}

// learn takes SGLang's count of a text. Concurrent answers may overwrite one
// another's lesson, which does no harm.
func (l *textLength) learn(r *sglang.Request, tokens int) {
	if r.Text == "" || tokens <= 0 {
		return
	}
	old := l.ratio()
	l.bytesPerToken.Store(math.Float64bits(old + learning*(float64(len(r.Text))/float64(tokens)-old)))
}

func (l *textLength) ratio() float64 {
	if bits := l.bytesPerToken.Load(); bits != 0 {
		return math.Float64frombits(bits)
	}
	return firstBytesPerToken
}
